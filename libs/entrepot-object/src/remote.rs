//! Objects that lie elsewhere.

mod ranges;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::ObjectError;

pub use self::ranges::RangeFrames;

/// Bytes as they arrive.
pub type Frames = BoxStream<'static, io::Result<Bytes>>;

/// Reads bytes of one object from where it lies.
#[async_trait]
pub trait RangeSource: Send + Sync + 'static {
    /// The bytes `range`, which lies within the object and is not empty, in as many frames as they arrive in.
    ///
    /// A stream that ends before the last byte ends with an error.
    async fn read(&self, range: Range<u64>) -> Result<Frames, ObjectError>;
}

/// A sealed object in another process's keeping.
///
/// It may be deleted while it is being read: then the read fails, and a new one finds nothing.
#[derive(Clone)]
pub struct RemoteObject {
    url: String,
    size: u64,
    source: Arc<dyn RangeSource>,
}

impl RemoteObject {
    /// An object of `size` bytes that `source` reads and that anybody reads under `url` for a while.
    pub fn new(url: String, size: u64, source: Arc<dyn RangeSource>) -> Self {
        Self { url, size, source }
    }

    /// URL for GET, whole or one range, by whoever holds it; valid for a limited time.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Bytes of the object.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes `range`, cut to the size of the object.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`] when it was deleted meanwhile.
    pub async fn read(&self, range: Range<u64>) -> Result<Frames, ObjectError> {
        let range = range.start.min(self.size)..range.end.min(self.size);
        if range.is_empty() { Ok(Box::pin(futures_util::stream::empty())) } else { self.source.read(range).await }
    }
}

impl RemoteObject {
    /// Several ranges in the order asked for, each cut to the size of the object.
    ///
    /// Neighbours that are at most `gap` bytes apart are read with one request, and what lies between them is dropped
    /// on the way. Requests follow one another, and no more than a frame is held.
    pub fn read_ranges(&self, wanted: Vec<Range<u64>>, gap: u64) -> RangeFrames {
        ranges::read(self.clone(), wanted, gap)
    }
}

impl fmt::Debug for RemoteObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is a credential.
        f.debug_struct("RemoteObject").field("size", &self.size).finish_non_exhaustive()
    }
}
