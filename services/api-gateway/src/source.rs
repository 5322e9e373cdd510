//! Where blob bytes come from: an open file, memory, or a URL of blob-store's data port or of S3.

mod client;
mod download;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use entrepot_core::StorageKey;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::ports::{BlobError, BlobStore};
use entrepot_runtime::sendfile::{FileBody, FileSender};

pub(crate) use self::client::DataClient;
pub(crate) use self::download::Download;

/// An object that can be read, and asked for again when what is known of it has become too old.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) key: StorageKey,
    pub(crate) source: BlobSource,
    pub(crate) store: Arc<dyn BlobStore>,
}

impl Object {
    pub(crate) fn size(&self) -> u64 {
        self.source.size()
    }

    /// A fresh URL for one that storage no longer takes.
    async fn renew(&mut self) -> Result<(), BlobError> {
        let size = self.size();
        let source = self.store.open(self.key).await?;
        if source.size() != size {
            return Err(BlobError::Internal(format!("{} has {} bytes, not {size}", self.key, source.size()).into()));
        }
        self.source = source;
        Ok(())
    }
}

impl DataClient {
    /// A body with exactly the bytes `range` of `object`.
    pub(crate) async fn read(
        &self,
        object: &Object,
        range: Range<u64>,
        sender: Option<&FileSender>,
    ) -> Result<Body, BlobError> {
        match &object.source {
            BlobSource::File { file, .. } => {
                let body =
                    FileBody::new(sender, file.clone(), range).map_err(|error| BlobError::Internal(Box::new(error)))?;
                Ok(Body::new(body))
            }
            BlobSource::Memory(bytes) => Ok(Body::from(slice(bytes, range))),
            BlobSource::Url { .. } if range.is_empty() => Ok(Body::empty()),
            BlobSource::Url { .. } => {
                Ok(Body::from_stream(Download::begin(self.clone(), object.clone(), range).await?.into_stream()))
            }
        }
    }
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    // Ranges were cut to the size of these very bytes.
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end))
}
