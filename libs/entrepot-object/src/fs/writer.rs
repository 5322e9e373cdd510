//! A writer of one file.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::file::UploadFile;
use super::session::{Session, Turn};
use super::{Inner, blocking, layout};
use crate::{Durability, ObjectError, ObjectRead, ObjectWriter, WriterState};

/// Appends to one upload file as long as its turn lasts.
#[derive(Debug)]
pub(super) struct FsWriter {
    inner: Arc<Inner>,
    session: Arc<Session>,
    turn: Turn,
    file: Arc<UploadFile>,
    offset: u64,
    /// Everything before is on its way to the disk.
    pushed: u64,
    _permit: OwnedSemaphorePermit,
}

impl FsWriter {
    pub(super) fn new(
        inner: Arc<Inner>,
        session: Arc<Session>,
        turn: Turn,
        file: UploadFile,
        offset: u64,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { inner, session, turn, file: Arc::new(file), offset, pushed: offset, _permit: permit }
    }
}

#[async_trait]
impl ObjectWriter for FsWriter {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), ObjectError> {
        let upload = self.session.lock_open(self.turn, self.offset).await?;
        let (inner, session, file) = (Arc::clone(&self.inner), Arc::clone(&self.session), Arc::clone(&self.file));
        let (from, pushed) = (self.offset, self.pushed);
        let (offset, pushed) = blocking("write", self.session.key.to_string(), move || {
            let to = file
                .write(&inner.disk, from, &chunks)
                .map_err(|e| inner.roll_back(&session, &upload, file.cached(), e))?;
            Ok((to, file.start_writeback(pushed, to)))
        })
        .await?;
        (self.offset, self.pushed) = (offset, pushed);
        Ok(())
    }

    async fn checkpoint(&mut self, durability: Durability) -> Result<WriterState, ObjectError> {
        let upload = self.session.lock_open(self.turn, self.offset).await?;
        if durability == Durability::Durable {
            let (inner, session, file) = (Arc::clone(&self.inner), Arc::clone(&self.session), Arc::clone(&self.file));
            let offset = self.offset;
            blocking("flush", self.session.key.to_string(), move || {
                inner.flush(&session, upload, file.cached(), offset)
            })
            .await?;
        }
        Ok(layout::state_at(self.offset))
    }

    async fn read_back(&mut self) -> Result<ObjectRead, ObjectError> {
        let _upload = self.session.lock_open(self.turn, self.offset).await?;
        let file = self.file.cached().try_clone().map_err(|e| ObjectError::from_io("open", &self.session.key, e))?;
        Ok(ObjectRead::File { file: Arc::new(file), size: self.offset })
    }

    async fn take_back(self: Box<Self>) -> Result<(), ObjectError> {
        let upload = self.session.lock_open(self.turn, self.offset).await?;
        blocking("truncate", self.session.key.to_string(), move || {
            self.inner.take_back(&self.session, upload, self.file.cached())
        })
        .await
    }
}
