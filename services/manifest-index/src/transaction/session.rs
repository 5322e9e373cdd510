//! Upload sessions as stored.

use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::blobs::WriterPosition;
use entrepot_core::{Algorithm, Digest, Principal, RepositoryName, StorageKey, UploadId};
use entrepot_sql::{Transaction, Tx, params};

use crate::column;
use crate::error::{Failure, Malformed};
use crate::retention::{COMPLETION, milliseconds};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Takes chunks.
    Open,
    /// A request is completing it, with the digest recorded: takes no chunks.
    Finalizing,
    /// Complete; kept so that a repeated completion answers the same.
    Done,
    /// Over without a blob; its key is garbage.
    Dead,
}

/// The row of a session.
pub(super) struct Session {
    pub(super) state: State,
    pub(super) repository: RepositoryName,
    pub(super) key: StorageKey,
    pub(super) algorithm: Algorithm,
    pub(super) epoch: u64,
    pub(super) size: u64,
    pub(super) writer_state: Bytes,
    pub(super) digest: Option<Digest>,
}

impl Session {
    /// What the caller who just took the session over works with.
    pub(super) fn position(self) -> WriterPosition {
        WriterPosition {
            key: self.key,
            algorithm: self.algorithm,
            epoch: self.epoch,
            offset: self.size,
            state: self.writer_state,
        }
    }

    /// Refuses an offset where the upload does not stand.
    pub(super) fn check_offset(&self, offset: Option<u64>) -> Result<(), IndexError> {
        match offset {
            Some(offset) if offset != self.size => Err(IndexError::UploadOffset { offset: self.size }),
            _ => Ok(()),
        }
    }
}

/// What a request that takes a session over found when its body ran first.
#[derive(Default)]
pub(crate) struct FoundEpoch(OnceLock<u64>);

impl FoundEpoch {
    /// Refuses a body that runs again, its commit having got lost, when a newer request has taken the session over since:
    /// an older one must not cut that off. One epoch more says nothing of the kind: it is this request's own.
    pub(super) fn check(&self, session: &Session) -> Result<(), IndexError> {
        let found = *self.0.get_or_init(|| session.epoch);
        if session.epoch > found + 1 { Err(IndexError::UploadBusy) } else { Ok(()) }
    }
}

/// Reads and holds a session, whichever repository it belongs to.
pub(super) async fn hold(tx: &mut dyn Tx, id: UploadId) -> Result<Option<Session>, Failure> {
    let row = tx
        .query_opt(
            "SELECT state, repository, key, algorithm, epoch, size, writer_state, digest FROM upload
             WHERE id = $1 {update}",
            params![&id.to_string()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let state = match row.get("state")? {
        "open" => State::Open,
        "finalizing" => State::Finalizing,
        "done" => State::Done,
        "dead" => State::Dead,
        _ => return Err(Malformed { column: "state" }.into()),
    };
    Ok(Some(Session {
        state,
        repository: column::get_parsed(&row, "repository")?,
        key: column::get_parsed(&row, "key")?,
        algorithm: column::get_parsed(&row, "algorithm")?,
        epoch: row.get("epoch")?,
        size: row.get("size")?,
        writer_state: row.get("writer_state")?,
        digest: column::get_digest_opt(&row, "digest")?,
    }))
}

/// [`hold`] for a session of `repository`; with another repository it is unknown.
pub(super) async fn hold_of(tx: &mut dyn Tx, repository: &RepositoryName, id: UploadId) -> Result<Session, Failure> {
    let session = hold(tx, id).await?.filter(|session| session.repository == *repository);
    Ok(session.ok_or(IndexError::UploadUnknown)?)
}

/// True when a session that is held and being completed has not changed for so long that its completion is given up.
pub(super) async fn is_deserted(tx: &mut dyn Tx, id: UploadId) -> Result<bool, entrepot_sql::SqlError> {
    let row = tx
        .query_opt(
            "SELECT id FROM upload WHERE id = $1 AND updated_at < {now} - $2",
            params![&id.to_string(), milliseconds(COMPLETION)],
        )
        .await?;
    Ok(row.is_some())
}

/// Who opened a session.
pub(crate) struct UploadOwner {
    pub(crate) repository: RepositoryName,
    pub(crate) id: UploadId,
}

#[async_trait]
impl Transaction for UploadOwner {
    type Output = Principal;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Principal, Failure> {
        let row = tx
            .query_opt(
                "SELECT principal FROM upload WHERE id = $1 AND repository = $2",
                params![&self.id.to_string(), self.repository.as_str()],
            )
            .await?;
        column::get_parsed(&row.ok_or(IndexError::UploadUnknown)?, "principal")
    }
}

/// How many bytes of a running session are acknowledged.
pub(crate) struct UploadStatus {
    pub(crate) repository: RepositoryName,
    pub(crate) id: UploadId,
}

#[async_trait]
impl Transaction for UploadStatus {
    type Output = u64;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<u64, Failure> {
        let row = tx
            .query_opt(
                "SELECT size FROM upload WHERE id = $1 AND repository = $2 AND state IN ('open', 'finalizing')",
                params![&self.id.to_string(), self.repository.as_str()],
            )
            .await?;
        Ok(row.ok_or(IndexError::UploadUnknown)?.get("size")?)
    }
}

/// Ends a session that is held. Nothing that began before can record anything any more.
pub(super) async fn kill(tx: &mut dyn Tx, id: &str) -> Result<(), entrepot_sql::SqlError> {
    tx.execute(
        "UPDATE upload SET state = 'dead', epoch = epoch + 1, writer_state = $2, updated_at = {now} WHERE id = $1",
        params![id, b""],
    )
    .await?;
    Ok(())
}
