use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::{RepositoryName, UploadId};
use entrepot_sql::{Param, Transaction, Tx, params};

use super::session::{self, FoundEpoch, State};
use crate::error::Failure;

/// Takes a session over for an append: from now on an older request of it can record nothing.
///
/// A session being completed is refused: a chunk that arrived then would change bytes after their digest was checked.
/// Once nobody can be completing it any more it goes on where it was saved, and that completion can record nothing.
pub(crate) struct BeginAppend {
    pub(crate) repository: RepositoryName,
    pub(crate) id: UploadId,
    pub(crate) offset: Option<u64>,
    pub(crate) found: FoundEpoch,
}

#[async_trait]
impl Transaction for BeginAppend {
    type Output = WriterPosition;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<WriterPosition, Failure> {
        let mut session = session::hold_of(tx, &self.repository, self.id).await?;
        match session.state {
            State::Open => {}
            State::Finalizing if session::is_deserted(tx, self.id).await? => {}
            State::Finalizing => return Err(IndexError::UploadBusy.into()),
            State::Done | State::Dead => return Err(IndexError::UploadUnknown.into()),
        }
        session.check_offset(self.offset)?;
        self.found.check(&session)?;
        session.epoch += 1;
        tx.execute(
            "UPDATE upload SET state = 'open', epoch = $2, digest = NULL, updated_at = {now} WHERE id = $1",
            params![&self.id.to_string(), Param::unsigned(session.epoch)?],
        )
        .await?;
        Ok(session.position())
    }
}
