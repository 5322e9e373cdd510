//! What collection of garbage will do: every step locks a row and only then, in another statement, looks who needs it.

use async_trait::async_trait;
use entrepot_core::Digest;
use entrepot_core::ports::IndexError;
use entrepot_sql::{Database, SqlError, Transaction, Tx, params};

use super::board::Answer;

/// Collects what nothing keeps of a digest, as early as the rules allow.
pub(crate) async fn collect(database: Database, digest: Digest) -> Answer<()> {
    let digest = [&[1], digest.raw()].concat();
    let failed = |error: SqlError| IndexError::Internal(Box::new(error));
    database.write(DropLinks(digest.clone())).await.map_err(failed)?;
    database.write(Condemn(digest.clone())).await.map_err(failed)?;
    database.write(Doom(digest)).await.map_err(failed)
}

/// Links whose lease is over and that no manifest needs.
struct DropLinks(Vec<u8>);

#[async_trait]
impl Transaction for DropLinks {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        let links = tx
            .query(
                "SELECT tenant, repository FROM link WHERE digest = $1 AND lease_until < {now}
                 ORDER BY tenant, repository {update}",
                params![&self.0],
            )
            .await?;
        for link in &links {
            let params = params![link.get::<i64>("tenant")?, link.get::<i64>("repository")?, &self.0];
            let sql = "SELECT 1 FROM manifest_blob WHERE tenant = $1 AND repository = $2 AND digest = $3 LIMIT 1";
            if tx.query_opt(sql, params).await?.is_none() {
                tx.execute("DELETE FROM link WHERE tenant = $1 AND repository = $2 AND digest = $3", params).await?;
            }
        }
        Ok(())
    }
}

/// The live blob, if no repository of any tenant links it.
struct Condemn(Vec<u8>);

#[async_trait]
impl Transaction for Condemn {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        let sql = "SELECT id FROM blob WHERE digest = $1 AND state = 'live' {update}";
        let Some(row) = tx.query_opt(sql, params![&self.0]).await? else { return Ok(()) };
        let id: i64 = row.get("id")?;
        if tx.query_opt("SELECT 1 FROM link WHERE blob = $1 LIMIT 1", params![id]).await?.is_none() {
            tx.execute("UPDATE blob SET state = 'condemned', since = {now} WHERE id = $1", params![id]).await?;
        }
        Ok(())
    }
}

/// Condemned blobs, for good.
struct Doom(Vec<u8>);

#[async_trait]
impl Transaction for Doom {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), SqlError> {
        let sql = "SELECT id FROM blob WHERE digest = $1 AND state = 'condemned' ORDER BY id {update}";
        for row in &tx.query(sql, params![&self.0]).await? {
            let id: i64 = row.get("id")?;
            if tx.query_opt("SELECT 1 FROM link WHERE blob = $1 LIMIT 1", params![id]).await?.is_none() {
                tx.execute("UPDATE blob SET state = 'deleting' WHERE id = $1", params![id]).await?;
            }
        }
        Ok(())
    }
}
