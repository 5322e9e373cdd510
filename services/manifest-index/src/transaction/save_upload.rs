use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::UploadId;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_sql::{Param, Transaction, Tx, params};

use super::orphan;
use super::session::{self, Session, State};
use crate::error::Failure;

/// Records an append, if the session still stands where the append began.
pub(crate) struct SaveUpload {
    pub(crate) id: UploadId,
    pub(crate) before: WriterPosition,
    pub(crate) offset: u64,
    pub(crate) state: Bytes,
}

#[async_trait]
impl Transaction for SaveUpload {
    /// A refusal is an output, not an error, where the transaction has changed something all the same.
    type Output = Result<(), IndexError>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, Failure> {
        let Some(session) = session::hold(tx, self.id).await? else { return Ok(Err(IndexError::UploadUnknown)) };
        match session.state {
            State::Open => {}
            State::Finalizing => return Ok(Err(IndexError::UploadBusy)),
            State::Done => return Ok(Err(IndexError::UploadUnknown)),
            State::Dead => {
                // The append may have written after the key was deleted.
                orphan::enqueue(tx, session.key, orphan::Reason::Cancelled).await?;
                return Ok(Err(IndexError::UploadUnknown));
            }
        }
        if self.is_repeated(&session) {
            return Ok(Ok(()));
        }
        if session.epoch != self.before.epoch || session.size != self.before.offset {
            return Ok(Err(IndexError::UploadBusy));
        }
        tx.execute(
            "UPDATE upload SET size = $2, writer_state = $3, updated_at = {now} WHERE id = $1",
            params![&self.id.to_string(), Param::unsigned(self.offset)?, &self.state],
        )
        .await?;
        Ok(Ok(()))
    }
}

impl SaveUpload {
    /// The same save has taken effect before, and its answer was lost.
    fn is_repeated(&self, session: &Session) -> bool {
        session.epoch == self.before.epoch && session.size == self.offset && session.writer_state == self.state
    }
}
