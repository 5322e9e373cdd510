use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::{RepositoryName, UploadId};
use entrepot_sql::{Transaction, Tx, params};

use super::orphan;
use super::session::{self, State};
use crate::error::Failure;

/// Gives a session back: open again at its saved offset, or over, with its key garbage.
pub(crate) struct ReleaseUpload {
    pub(crate) repository: RepositoryName,
    pub(crate) id: UploadId,
    pub(crate) epoch: Option<u64>,
    pub(crate) keep: bool,
}

#[async_trait]
impl Transaction for ReleaseUpload {
    type Output = ();
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<(), Failure> {
        let session = session::hold_of(tx, &self.repository, self.id).await?;
        if matches!(session.state, State::Done | State::Dead) {
            return Err(IndexError::UploadUnknown.into());
        }
        if self.epoch.is_some_and(|epoch| epoch != session.epoch) {
            return Ok(());
        }
        let id = self.id.to_string();
        if self.keep {
            tx.execute("UPDATE upload SET state = 'open', updated_at = {now} WHERE id = $1", params![&id]).await?;
            return Ok(());
        }
        session::kill(tx, &id).await?;
        orphan::enqueue(tx, session.key, orphan::Reason::Cancelled).await?;
        Ok(())
    }
}
