//! A writer of one multipart upload.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::Inner;
use super::bucket::Begun;
use super::buffer::Filling;
use super::fault::Fault;
use super::notes::{Notes, Part, StoredTail, Tail, TailName};
use super::piece::{PIECE, SMALL};
use super::plan::MAX_PARTS;
use super::session::Ticket;
use crate::{Durability, ObjectError, ObjectKey, ObjectRead, ObjectWriter, WriterState};

/// Sends parts while the caller goes on, and keeps what is too little for a part.
pub(super) struct S3Writer {
    inner: Arc<Inner>,
    key: ObjectKey,
    ticket: Ticket,
    offset: u64,
    upload: Option<Arc<str>>,
    /// Whether this writer began the upload and no durable checkpoint names it.
    upload_is_new: bool,
    /// In order; a part under way has its place.
    parts: Vec<Option<Part>>,
    filling: Filling,
    /// Whether it has had room for a part, it or a writer before it: from then on it waits for more as long as that takes,
    /// for what was taken from the client would be lost.
    is_let_in: bool,
    sending: JoinSet<Result<(usize, Part), Fault>>,
    slots: Arc<Semaphore>,
    /// The stored tail of the last durable state.
    tail: Option<TailName>,
}

impl std::fmt::Debug for S3Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Writer").field("key", &self.key).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl S3Writer {
    /// Goes on where `notes` end.
    pub(super) async fn resume(
        inner: Arc<Inner>,
        key: ObjectKey,
        ticket: Ticket,
        notes: Notes,
    ) -> Result<Self, ObjectError> {
        let offset = notes.offset();
        let Notes { upload, parts, tail, .. } = notes;
        let mut writer = Self {
            slots: Arc::new(Semaphore::new(inner.parallel_parts)),
            inner,
            key,
            ticket,
            offset: parts.iter().map(|part| u64::from(part.size)).sum(),
            upload: upload.map(Into::into),
            upload_is_new: false,
            parts: parts.into_iter().map(Some).collect(),
            filling: Filling::default(),
            is_let_in: offset > 0,
            sending: JoinSet::new(),
            tail: None,
        };
        match tail {
            Tail::None => {}
            Tail::Inline(payload) => {
                for piece in payload.pieces() {
                    writer.push(piece).await?;
                }
            }
            Tail::Stored(stored) => writer.read_tail(&stored, offset).await?,
        }
        Ok(writer)
    }

    /// Takes back the bytes that were stored because they were too few for a part; with them the upload ends at `end`.
    async fn read_tail(&mut self, stored: &StoredTail, end: u64) -> Result<(), ObjectError> {
        if stored.size as usize > SMALL {
            self.make_room(stored.size as usize).await?;
        }
        let mut tail = self.inner.open_tail(&self.key, stored, end).await?;
        while let Some(bytes) = tail.next().await.map_err(|fault| fault.at("read the tail of", &self.key))? {
            self.push(&bytes).await?;
        }
        self.tail = Some(stored.name);
        Ok(())
    }

    /// Copies `bytes`, and sends every part that gets full or for which there is no more memory.
    async fn push(&mut self, mut bytes: &[u8]) -> Result<(), ObjectError> {
        while !bytes.is_empty() {
            let whole = self.inner.plan.size(self.parts.len());
            if self.filling.space() == 0 {
                self.make_room(self.filling.len() + 1).await?;
            }
            let most = self.filling.space().min(whole.saturating_sub(self.filling.len()));
            let (now, later) = bytes.split_at(bytes.len().min(most));
            self.filling.push(now);
            self.offset += now.len() as u64;
            bytes = later;
            if self.filling.len() >= whole || self.is_cut_short() {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Has room for `bytes` of the next part: a first piece if they may be all, or else as much as S3 takes at least.
    async fn make_room(&mut self, bytes: usize) -> Result<(), ObjectError> {
        if bytes <= PIECE
            && self.parts.is_empty()
            && let Some(first) = self.inner.budget.first_piece()
        {
            self.filling.enter(first);
            return Ok(());
        }
        let (budget, bytes) = (&self.inner.budget, self.inner.plan.least(self.parts.len()));
        let room = if self.is_let_in { Some(budget.room(bytes).await) } else { budget.first_room(bytes).await };
        let Some(room) = room else {
            return Err(ObjectError::Busy { action: "find memory to write", key: self.key.clone() });
        };
        // It may have been a long wait.
        self.ticket.check()?;
        self.is_let_in = true;
        self.filling.enter(room);
        Ok(())
    }

    /// Whether the part is large enough for S3, and its memory wanted by others.
    fn is_cut_short(&mut self) -> bool {
        let least = self.inner.plan.least(self.parts.len());
        self.filling.len() >= least && self.filling.space() == 0 && !self.filling.grow(&self.inner.budget)
    }

    /// Sends what is being filled as the next part, in the background.
    async fn send_part(&mut self) -> Result<(), ObjectError> {
        let index = self.parts.len();
        if index == MAX_PARTS {
            let source = std::io::Error::other("an object of S3 has at most 10,000 parts");
            return Err(ObjectError::NoSpace { key: self.key.clone(), source });
        }
        let upload = self.upload().await?;
        let slot = self.slot().await?;
        let underway = self.ticket.begin().await?;
        let (inner, key, payload) = (Arc::clone(&self.inner), self.key.clone(), self.filling.take());
        self.parts.push(None);
        self.sending.spawn(async move {
            let part = inner.bucket.send_part(key.as_str(), &upload, index + 1, &payload).await?;
            drop((slot, underway));
            Ok((index, part))
        });
        Ok(())
    }

    /// The multipart upload, begun if it has not been.
    async fn upload(&mut self) -> Result<Arc<str>, ObjectError> {
        if let Some(upload) = &self.upload {
            return Ok(Arc::clone(upload));
        }
        let underway = self.ticket.begin().await?;
        let begun = self.inner.bucket.create(self.key.as_str()).await;
        if !matches!(begun, Ok(Begun { tries: 1, .. })) {
            self.ticket.suspect_stray();
        }
        let id: Arc<str> = begun.map_err(|f| self.failed(f))?.id.into();
        drop(underway);
        (self.upload, self.upload_is_new) = (Some(Arc::clone(&id)), true);
        Ok(id)
    }

    /// The right to send one part; takes note of those that have arrived meanwhile.
    async fn slot(&mut self) -> Result<OwnedSemaphorePermit, ObjectError> {
        loop {
            while let Some(done) = self.sending.try_join_next() {
                self.arrived(done)?;
            }
            match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(slot) => return Ok(slot),
                Err(_) => self.one_arrives().await?,
            }
        }
    }

    /// Waits until no part is under way.
    async fn all_arrive(&mut self) -> Result<(), ObjectError> {
        while !self.sending.is_empty() {
            self.one_arrives().await?;
        }
        Ok(())
    }

    async fn one_arrives(&mut self) -> Result<(), ObjectError> {
        match self.sending.join_next().await {
            Some(done) => self.arrived(done),
            None => Ok(()),
        }
    }

    fn arrived(
        &mut self,
        done: Result<Result<(usize, Part), Fault>, tokio::task::JoinError>,
    ) -> Result<(), ObjectError> {
        match done {
            Ok(Ok((index, part))) => {
                self.parts[index] = Some(part);
                Ok(())
            }
            Ok(Err(fault)) => Err(self.failed(fault)),
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(self.failed(Fault::Outage(std::io::Error::other(cancelled)))),
            },
        }
    }

    /// Stores what is too little for a part under a name of its own.
    async fn store_tail(&mut self) -> Result<Tail, ObjectError> {
        let underway = self.ticket.begin().await?;
        let payload = self.filling.share();
        let name = TailName { epoch: self.ticket.epoch(), nonce: rand::random() };
        self.inner.put_tail(&self.key, name, &payload).await.map_err(|f| self.failed(f))?;
        drop(underway);
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Ok(Tail::Stored(StoredTail { name, size, crc: payload.crc() }))
    }

    fn failed(&self, fault: Fault) -> ObjectError {
        match fault {
            // Sealed, or aborted, by somebody who came after.
            Fault::NoUpload | Fault::Missing => {
                ObjectError::Discarded { key: self.key.clone(), offset: self.offset, source: None }
            }
            other => other.at("write", &self.key),
        }
    }
}

#[async_trait]
impl ObjectWriter for S3Writer {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), ObjectError> {
        self.ticket.check()?;
        for chunk in chunks {
            self.push(&chunk).await?;
        }
        Ok(())
    }

    async fn checkpoint(&mut self, durability: Durability) -> Result<WriterState, ObjectError> {
        self.ticket.check()?;
        let durable = durability == Durability::Durable;
        // The last part may have any size.
        let is_a_part = match durable {
            true => self.filling.len() >= self.inner.plan.least(self.parts.len()),
            false => self.filling.len() > 0 && self.upload.is_some(),
        };
        if is_a_part {
            self.send_part().await?;
        }
        self.all_arrive().await?;
        let tail = match (self.filling.len(), durable) {
            (0, _) => Tail::None,
            (_, true) => self.store_tail().await?,
            // In the same memory, and with its room: a seal follows.
            (_, false) => Tail::Inline(self.filling.take()),
        };
        let superseded = self.tail;
        if durable {
            self.upload_is_new = false;
            self.tail = match &tail {
                Tail::Stored(stored) => Some(stored.name),
                Tail::None | Tail::Inline(_) => None,
            };
        }
        let upload = self.upload.as_deref().map(ToOwned::to_owned);
        let notes = Notes { upload, parts: self.parts.iter().flatten().cloned().collect(), tail, superseded };
        self.ticket.check()?;
        Ok(WriterState { offset: self.offset, driver: notes.encode() })
    }

    async fn read_back(&mut self) -> Result<ObjectRead, ObjectError> {
        self.ticket.check()?;
        if self.parts.is_empty() {
            Ok(ObjectRead::Bytes(self.filling.copy()))
        } else {
            Err(ObjectError::Unreadable { key: self.key.clone() })
        }
    }

    async fn take_back(mut self: Box<Self>) -> Result<(), ObjectError> {
        self.sending.shutdown().await;
        self.ticket.check()?;
        // Parts beyond the last checkpoint of an older upload are overwritten by the next writer, or dropped with it.
        match &self.upload {
            Some(upload) if self.upload_is_new => {
                self.inner.bucket.drop_upload(self.key.as_str(), upload).await.map_err(|f| self.failed(f))
            }
            _ => Ok(()),
        }
    }
}
