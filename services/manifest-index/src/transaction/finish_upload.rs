use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::{Digest, StorageKey, UploadId};
use entrepot_sql::{Param, SqlError, Transaction, Tx, params};

use super::session::{self, Session, State};
use super::{link, orphan, review};
use crate::column;
use crate::error::Failure;
use crate::repository;

/// Completes a session: blob row, link with its lease, session done, all at once.
///
/// Where the digest is live already, that row is used and the bytes just written are garbage: the answer, the work
/// and the time are the same whether or not somebody else had them. Unless that row's bytes are lost: then these replace
/// it for everybody.
pub(crate) struct FinishUpload {
    pub(crate) id: UploadId,
    pub(crate) position: WriterPosition,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) lost: Option<StorageKey>,
}

#[async_trait]
impl Transaction for FinishUpload {
    /// A refusal is an output, not an error, where the transaction has changed something all the same.
    type Output = Result<(), IndexError>;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, Failure> {
        let Some(session) = session::hold(tx, self.id).await? else { return Ok(Err(IndexError::UploadUnknown)) };
        match session.state {
            State::Done if session.digest == Some(self.digest) => return Ok(Ok(())),
            State::Done => return Ok(Err(IndexError::UploadUnknown)),
            State::Dead => {
                // The completion may have written after the key was deleted.
                orphan::enqueue(tx, session.key, orphan::Reason::Cancelled).await?;
                return Ok(Err(IndexError::UploadUnknown));
            }
            State::Open | State::Finalizing if !self.is_current(&session) => return Ok(Err(IndexError::UploadBusy)),
            // Open again, but nobody took it over since: an older request gave back what was not its own any more.
            State::Open | State::Finalizing => {}
        }
        let digest = column::digest(&self.digest);
        let repository = repository::ensure(tx, &session.repository).await?;
        let lost = self.condemn_lost(tx, &digest).await?;
        let blob = self.blob(tx, &digest, session.key).await?;
        if let Some(lost) = lost {
            tx.execute("UPDATE link SET blob = $1 WHERE blob = $2", params![blob, lost]).await?;
            review::enqueue(tx, repository, review::Kind::Blob, &digest).await?;
        }
        link::confirm(tx, repository, &digest, blob).await?;
        tx.execute(
            "UPDATE upload SET state = 'done', size = $2, writer_state = $3, updated_at = {now} WHERE id = $1",
            params![&self.id.to_string(), Param::unsigned(self.size)?, b""],
        )
        .await?;
        Ok(Ok(()))
    }
}

impl FinishUpload {
    /// Nobody took the session over since this completion began.
    fn is_current(&self, session: &Session) -> bool {
        session.epoch == self.position.epoch
            && session.size == self.position.offset
            && session.digest == Some(self.digest)
    }

    /// The row whose bytes are lost, if it still stands for the digest. It stands for nothing from now on.
    async fn condemn_lost(&self, tx: &mut dyn Tx, digest: &[u8]) -> Result<Option<i64>, SqlError> {
        let Some(lost) = self.lost else { return Ok(None) };
        let row = tx
            .query_opt(
                "UPDATE blob SET state = 'condemned', since = {now}
                 WHERE digest = $1 AND key = $2 AND state = 'live' RETURNING id",
                params![digest, &lost.to_string()],
            )
            .await?;
        row.map(|row| row.get("id")).transpose()
    }

    /// The live blob of the digest: the one there is, else one made of this session's bytes.
    async fn blob(&self, tx: &mut dyn Tx, digest: &[u8], key: StorageKey) -> Result<i64, SqlError> {
        loop {
            let id = column::fresh_id();
            let made = tx
                .execute(
                    "INSERT INTO blob (id, digest, key, size, state, since) VALUES ($1, $2, $3, $4, 'live', {now})
                     ON CONFLICT (digest) WHERE state = 'live' DO NOTHING",
                    params![id, digest, &key.to_string(), Param::unsigned(self.size)?],
                )
                .await?;
            if made == 1 {
                return Ok(id);
            }
            let live = tx
                .query_opt("SELECT id FROM blob WHERE digest = $1 AND state = 'live' {share}", params![digest])
                .await?;
            // None where the one that was in the way has been condemned since: then there is room.
            if let Some(live) = live {
                orphan::enqueue(tx, key, orphan::Reason::Duplicate).await?;
                return live.get("id");
            }
        }
    }
}
