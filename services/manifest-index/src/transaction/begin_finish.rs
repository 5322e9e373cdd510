use async_trait::async_trait;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::uploads::Finish;
use entrepot_core::{Digest, RepositoryName, UploadId};
use entrepot_sql::{Param, Transaction, Tx, params};

use super::locate_blob::located;
use super::session::{self, FoundEpoch, State};
use crate::column;
use crate::error::Failure;

/// Takes a session over for its completion, also from a request that was completing it and may be gone.
pub(crate) struct BeginFinish {
    pub(crate) repository: RepositoryName,
    pub(crate) id: UploadId,
    pub(crate) offset: Option<u64>,
    pub(crate) digest: Digest,
    pub(crate) found: FoundEpoch,
}

#[async_trait]
impl Transaction for BeginFinish {
    type Output = Finish;
    type Error = Failure;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Finish, Failure> {
        let mut session = session::hold_of(tx, &self.repository, self.id).await?;
        match (session.state, session.digest) {
            (State::Open | State::Finalizing, _) => {}
            (State::Done, Some(digest)) if digest == self.digest => return Ok(Finish::Done(digest)),
            (State::Done | State::Dead, _) => return Err(IndexError::UploadUnknown.into()),
        }
        session.check_offset(self.offset)?;
        let digest = column::digest(&self.digest);
        let known =
            tx.query_opt("SELECT size, key FROM blob WHERE digest = $1 AND state = 'live'", params![&digest]).await?;
        let known = known.as_ref().map(located).transpose()?;
        self.found.check(&session)?;
        session.epoch += 1;
        tx.execute(
            "UPDATE upload SET state = 'finalizing', epoch = $2, digest = $3, updated_at = {now} WHERE id = $1",
            params![&self.id.to_string(), Param::unsigned(session.epoch)?, &digest],
        )
        .await?;
        Ok(Finish::Write { position: session.position(), known })
    }
}
