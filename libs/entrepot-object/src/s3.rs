//! Objects in a bucket of S3, or of a store that speaks its language.
//!
//! ```text
//! <prefix><key>                              a sealed object, never replaced
//! <prefix><key>, multipart upload            the parts of an unsealed one
//! <prefix>.tails/<key>!<epoch>-<nonce>       what an unsealed upload has beyond its last part
//! ```
//! Any number of processes may work on one bucket; none keeps anything. A [`WriterState`] names the parts of an upload
//! by their ETags, so a part that an old writer sends late makes an object that cannot be completed and never one
//! with other bytes in it. Objects are only ever made where there is none (`If-None-Match: *`), so whoever seals
//! second finds the object of the first.

mod breaker;
mod bucket;
mod buffer;
mod check;
mod fault;
mod listing;
mod notes;
mod options;
mod piece;
mod plan;
mod read;
mod session;
mod tails;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;

use self::bucket::Bucket;
use self::buffer::{Budget, Payload};
pub use self::check::CheckError;
use self::fault::Fault;
use self::notes::{Notes, Tail};
pub use self::options::{S3Credentials, S3Encryption, S3Options};
use self::plan::Plan;
use self::read::S3Object;
use self::session::{Sessions, Ticket};
use self::tails::tail_key;
use self::writer::S3Writer;
use crate::{
    ListQuery, ListScope, ObjectEntry, ObjectError, ObjectKey, ObjectMeta, ObjectRead, ObjectStore, ObjectWriter,
    RemoteObject, WriterState,
};

/// Where tails are. No key starts with a dot, so no key can name one.
const TAILS: &str = ".tails/";

/// Objects in a bucket. Clones of the handle are cheap.
#[derive(Clone, Debug)]
pub struct S3Store {
    inner: Arc<Inner>,
}

/// What writers and readers share.
#[derive(Debug)]
struct Inner {
    bucket: Bucket,
    sessions: Sessions,
    plan: Plan,
    budget: Budget,
    parallel_parts: usize,
}

impl S3Store {
    /// A store over the bucket. Asks nothing of it: see [`check`](Self::check).
    pub async fn new(options: &S3Options) -> Self {
        let bucket = Bucket::new(options.client().await, options);
        Self {
            inner: Arc::new(Inner {
                bucket,
                sessions: Sessions::default(),
                plan: Plan::new(options.part_size),
                budget: Budget::new(options.buffer_memory),
                parallel_parts: options.parallel_parts.max(1),
            }),
        }
    }

    /// Makes sure that the bucket is there, may be used, and does what the driver relies on.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&self) -> Result<(), CheckError> {
        check::run(&self.inner.bucket).await
    }
}

impl Inner {
    /// What became of an upload whose bytes are not where its state says.
    async fn lost(&self, key: &ObjectKey, offset: u64) -> ObjectError {
        match self.bucket.head(key.as_str()).await {
            Ok(_) => ObjectError::AlreadySealed { key: key.clone() },
            Err(Fault::Missing) => ObjectError::Discarded { key: key.clone(), offset, source: None },
            Err(fault) => fault.at("look up", key),
        }
    }

    /// The notes of a state.
    async fn notes(&self, key: &ObjectKey, state: &WriterState) -> Result<Notes, ObjectError> {
        if state.driver.is_empty() {
            return match state.offset {
                0 => Ok(Notes::default()),
                _ => Err(ObjectError::InvalidState { key: key.clone() }),
            };
        }
        let notes = Notes::decode(&state.driver).ok_or_else(|| ObjectError::InvalidState { key: key.clone() })?;
        if notes.offset() == state.offset { Ok(notes) } else { Err(self.lost(key, state.offset).await) }
    }

    /// Makes the object, from parts or in one piece.
    async fn finish(&self, key: &ObjectKey, notes: Notes, tail: Payload) -> Result<(), Fault> {
        let Notes { upload: Some(upload), mut parts, .. } = notes else {
            return self.bucket.put(key.as_str(), &tail).await;
        };
        if tail.len() > 0 {
            parts.push(self.bucket.send_part(key.as_str(), &upload, parts.len() + 1, &tail).await?);
            drop(tail);
        }
        self.bucket.complete(key.as_str(), &upload, &parts).await
    }

    /// Drops every multipart upload and tail of a key.
    async fn sweep(&self, key: &ObjectKey) -> Result<(), Fault> {
        let (uploads, tails) = tokio::join!(self.drop_uploads(key), self.drop_tails(key, u64::MAX));
        uploads.and(tails)
    }

    async fn drop_uploads(&self, key: &ObjectKey) -> Result<(), Fault> {
        // The key itself comes first of all that start with it.
        let page = self.bucket.uploads(key.as_str(), None).await?;
        for upload in page.items.iter().filter(|upload| upload.key == key.as_str()) {
            self.bucket.drop_upload(&upload.key, &upload.id).await?;
        }
        Ok(())
    }

    /// Makes sure that an upload can go on from its notes; of a stored tail that shows when it is read.
    async fn is_there(&self, key: &ObjectKey, notes: &Notes) -> Result<(), ObjectError> {
        let there = match (&notes.upload, &notes.tail) {
            (_, Tail::Stored(_)) => true,
            (Some(upload), _) => {
                self.bucket.has_upload(key.as_str(), upload).await.map_err(|fault| fault.at("look up", key))?
            }
            (None, _) => match self.bucket.head(key.as_str()).await {
                Ok(_) => return Err(ObjectError::AlreadySealed { key: key.clone() }),
                Err(Fault::Missing) => true,
                Err(fault) => return Err(fault.at("look up", key)),
            },
        };
        if there { Ok(()) } else { Err(self.lost(key, notes.offset()).await) }
    }

    /// Ends a seal that made the object, or found one.
    async fn settle(&self, key: &ObjectKey, ticket: &Ticket, size: u64, tails: bool) -> Result<(), ObjectError> {
        let meta = self.bucket.head(key.as_str()).await.map_err(|fault| fault.at("look up", key))?;
        if meta.size != size {
            return Err(ObjectError::AlreadySealed { key: key.clone() });
        }
        // An upload of one request has left nothing, unless it stored a tail, or began a multipart upload twice because
        // the first answer got lost. Its session is over with this, so nobody would look for that later.
        if (tails || ticket.epoch() > 1 || ticket.may_have_strays())
            && let Err(fault) = self.sweep(key).await
        {
            tracing::warn!(object.key = %key, error = ?fault, "what a sealed upload left behind stays until its object is deleted");
        }
        self.sessions.forget(ticket);
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn copies(&self) -> bool {
        true
    }

    async fn open_writer(
        &self,
        key: &ObjectKey,
        epoch: u64,
        resume: &WriterState,
    ) -> Result<Box<dyn ObjectWriter>, ObjectError> {
        let ticket = self.inner.sessions.claim(key, epoch).await?;
        let notes = self.inner.notes(key, resume).await?;
        self.inner.is_there(key, &notes).await?;
        let superseded = notes.superseded;
        let writer = S3Writer::resume(Arc::clone(&self.inner), key.clone(), ticket, notes).await?;
        if let Some(name) = superseded {
            // This state has been kept, or nobody would resume from it.
            let (inner, name) = (Arc::clone(&self.inner), tail_key(key, name));
            tokio::spawn(async move {
                if let Err(fault) = inner.bucket.delete(&name).await {
                    tracing::debug!(object.key = name, error = ?fault, "an old tail stays until its upload ends");
                }
            });
        }
        Ok(Box::new(writer))
    }

    async fn seal(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError> {
        let inner = &self.inner;
        let ticket = inner.sessions.claim(key, epoch).await?;
        // A repeat may know the size alone.
        if state.driver.is_empty() && state.offset > 0 {
            return match inner.settle(key, &ticket, state.offset, false).await {
                Err(ObjectError::NotFound { .. }) => Err(inner.lost(key, state.offset).await),
                other => other,
            };
        }
        let mut notes = inner.notes(key, state).await?;
        let tails = notes.superseded.is_some() || matches!(notes.tail, Tail::Stored(_));
        let tail = inner.tail(key, &notes).await?;
        notes.tail = Tail::None;
        match inner.finish(key, notes, tail).await {
            Ok(()) => inner.settle(key, &ticket, state.offset, tails).await,
            // There is nothing to tell apart about no bytes.
            Err(Fault::Exists) if state.offset == 0 => inner.settle(key, &ticket, 0, tails).await,
            // An object of the same size proves nothing: it may be that of another writer.
            Err(Fault::Exists | Fault::NoUpload | Fault::Missing) => Err(inner.lost(key, state.offset).await),
            Err(Fault::Parts(source)) => {
                Err(ObjectError::Discarded { key: key.clone(), offset: state.offset, source: Some(source) })
            }
            Err(fault) => Err(fault.at("seal", key)),
        }
    }

    async fn abort(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError> {
        let inner = &self.inner;
        let ticket = inner.sessions.claim(key, epoch).await?;
        let failed = |fault: Fault| fault.at("abort", key);
        if epoch == u64::MAX {
            inner.sweep(key).await.map_err(failed)?;
        } else {
            let newer = inner.tails(key).await.map_err(failed)?.iter().any(|name| name.epoch > epoch);
            if newer {
                return Err(ObjectError::Fenced { key: key.clone(), epoch });
            }
            if let Some(upload) = Notes::decode(&state.driver).and_then(|notes| notes.upload) {
                inner.bucket.drop_upload(key.as_str(), &upload).await.map_err(failed)?;
            }
            inner.drop_tails(key, epoch).await.map_err(failed)?;
        }
        inner.sessions.forget(&ticket);
        Ok(())
    }

    async fn open(&self, key: &ObjectKey) -> Result<ObjectRead, ObjectError> {
        let failed = |fault: Fault| fault.at("open", key);
        let meta = self.inner.bucket.head(key.as_str()).await.map_err(failed)?;
        let url = self.inner.bucket.url(key.as_str()).await.map_err(failed)?;
        let source = S3Object { inner: Arc::clone(&self.inner), key: key.clone() };
        Ok(ObjectRead::Remote(RemoteObject::new(url, meta.size, Arc::new(source))))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectMeta, ObjectError> {
        self.inner.bucket.head(key.as_str()).await.map_err(|fault| fault.at("stat", key))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.inner.bucket.delete(key.as_str()).await.map_err(|fault| fault.at("delete", key))
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>, ObjectError> {
        let listed = match query.scope {
            ListScope::Sealed => self.inner.sealed(query).await,
            ListScope::Unsealed => self.inner.unsealed(query).await,
        };
        listed.map_err(|f| ObjectError::Io { action: "list", key: query.prefix.clone(), source: f.into_io() })
    }
}
