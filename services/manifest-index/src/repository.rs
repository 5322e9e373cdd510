//! Names of repositories and the ids that all other rows carry.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use entrepot_core::RepositoryName;
use entrepot_sql::{SqlError, Transaction, Tx, params};

use crate::cache::Generations;

/// Names a repository in every table: the tenant, and a number within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RepositoryId {
    pub(crate) tenant: i64,
    pub(crate) id: i64,
}

/// Finds the id of a name.
pub(crate) async fn find(tx: &mut dyn Tx, name: &RepositoryName) -> Result<Option<RepositoryId>, SqlError> {
    let row = tx
        .query_opt(
            "SELECT repository.tenant, repository.id FROM tenant JOIN repository ON repository.tenant = tenant.id
             WHERE tenant.name = $1 AND repository.name = $2",
            params![name.tenant().as_str(), name.as_str()],
        )
        .await?;
    row.map(|row| Ok(RepositoryId { tenant: row.get("tenant")?, id: row.get("id")? })).transpose()
}

/// Finds the id of a name, or makes the repository.
pub(crate) async fn ensure(tx: &mut dyn Tx, name: &RepositoryName) -> Result<RepositoryId, SqlError> {
    if let Some(found) = find(tx, name).await? {
        return Ok(found);
    }
    let tenant_name = name.tenant();
    tx.execute("INSERT INTO tenant (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", params![tenant_name.as_str()])
        .await?;
    // The lock makes numbers within a tenant unique: two first pushes wait for each other here.
    let tenant = tx.query_one("SELECT id FROM tenant WHERE name = $1 {update}", params![tenant_name.as_str()]).await?;
    let tenant: i64 = tenant.get("id")?;
    tx.execute(
        "INSERT INTO repository (tenant, id, name, created_at)
         SELECT CAST($1 AS {int}), coalesce(max(id), 0) + 1, $2, {now} FROM repository WHERE tenant = $1
         ON CONFLICT (tenant, name) DO NOTHING",
        params![tenant, name.as_str()],
    )
    .await?;
    let made = tx
        .query_one("SELECT id FROM repository WHERE tenant = $1 AND name = $2", params![tenant, name.as_str()])
        .await?;
    Ok(RepositoryId { tenant, id: made.get("id")? })
}

/// [`find`] as a transaction.
pub(crate) struct FindRepository(pub(crate) RepositoryName);

#[async_trait]
impl Transaction for FindRepository {
    type Output = Option<RepositoryId>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, SqlError> {
        find(tx, &self.0).await
    }
}

/// Ids already looked up. Never stale: a name keeps its id, and repositories are not deleted.
pub(crate) struct RepositoryIds(Mutex<Generations<RepositoryName, RepositoryId>>);

impl RepositoryIds {
    /// Room for some ten thousand names.
    const BYTES: usize = 2 << 20;

    pub(crate) fn new() -> Self {
        Self(Mutex::new(Generations::new(Self::BYTES)))
    }

    pub(crate) fn get(&self, name: &RepositoryName) -> Option<RepositoryId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    pub(crate) fn insert(&self, name: &RepositoryName, id: RepositoryId) {
        let bytes = name.as_str().len() + 96;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), id, bytes);
    }
}
