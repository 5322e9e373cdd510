//! Signing keys.

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_sql::{SqlError, Transaction, Tx, params};

use crate::keys::plan;

/// A signing key as stored.
pub(crate) struct StoredKey {
    pub(crate) id: String,
    /// Never shown.
    pub(crate) pkcs8: Bytes,
}

/// Brings the keys to where their ages say they should be; answers them with the one that signs first.
pub(crate) struct RotateKeys {
    /// A new key, used where one is due.
    pub(crate) fresh_id: String,
    pub(crate) fresh_pkcs8: Vec<u8>,
}

#[async_trait]
impl Transaction for RotateKeys {
    type Output = Vec<StoredKey>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<StoredKey>, SqlError> {
        // Only then are the keys read: locks on them would not show one that another replica is about to add.
        tx.query_one("SELECT id FROM auth_signing_turn WHERE id = 1 {update}", &[]).await?;
        let sql = "SELECT id, pkcs8, {now} - created_at AS age FROM auth_signing_key ORDER BY created_at DESC, id";
        let rows = tx.query(sql, &[]).await?;
        let ages = rows.iter().map(|row| row.get("age")).collect::<Result<Vec<i64>, _>>()?;
        let plan = plan(&ages);
        let mut keys = Vec::with_capacity(rows.len() + 1);
        if plan.add {
            let sql = "INSERT INTO auth_signing_key (id, pkcs8, created_at) VALUES ($1, $2, {now})";
            tx.execute(sql, params![&self.fresh_id, &self.fresh_pkcs8]).await?;
            keys.push(StoredKey { id: self.fresh_id.clone(), pkcs8: self.fresh_pkcs8.clone().into() });
        }
        for (position, row) in rows.iter().enumerate() {
            let key = StoredKey { id: row.get("id")?, pkcs8: row.get("pkcs8")? };
            if position >= plan.keep {
                tx.execute("DELETE FROM auth_signing_key WHERE id = $1", params![&key.id]).await?;
            } else if position == plan.signs {
                keys.insert(0, key);
            } else {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}
