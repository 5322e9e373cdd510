use async_trait::async_trait;
use entrepot_core::{Algorithm, Principal, RepositoryName, StorageKey, UploadId};
use entrepot_sql::{Transaction, Tx, params};

use crate::error::Failure;

/// Opens a session. Its key is in the database before the first byte exists.
pub(crate) struct OpenUpload {
    pub(crate) id: UploadId,
    pub(crate) repository: RepositoryName,
    pub(crate) principal: Principal,
    pub(crate) key: StorageKey,
    pub(crate) algorithm: Algorithm,
}

#[async_trait]
impl Transaction for OpenUpload {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        tx.execute(
            "INSERT INTO upload (id, repository, principal, key, algorithm, state, epoch, size, writer_state, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'open', 0, 0, $6, {now}) ON CONFLICT (id) DO NOTHING",
            params![
                &self.id.to_string(),
                self.repository.as_str(),
                &self.principal.to_string(),
                &self.key.to_string(),
                self.algorithm.as_str(),
                b"",
            ],
        )
        .await?;
        Ok(())
    }
}
