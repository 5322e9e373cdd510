//! Reading from S3.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use futures_util::stream;

use super::Inner;
use super::fault::Fault;
use crate::remote::{Frames, RangeSource};
use crate::{ObjectError, ObjectKey};

/// One object of a bucket.
pub(super) struct S3Object {
    pub(super) inner: Arc<Inner>,
    pub(super) key: ObjectKey,
}

#[async_trait]
impl RangeSource for S3Object {
    async fn read(&self, range: Range<u64>) -> Result<Frames, ObjectError> {
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let answer =
            self.inner.bucket.get(self.key.as_str(), Some(header)).await.map_err(|f| f.at("read", &self.key))?;
        let length = range.end - range.start;
        if answer.content_length().and_then(|length| u64::try_from(length).ok()) != Some(length) {
            return Err(Fault::nonsense("another length than asked for").at("read", &self.key));
        }
        Ok(frames(answer.body, length))
    }
}

/// The frames of a body that has exactly `length` bytes, or ends with an error.
fn frames(body: ByteStream, length: u64) -> Frames {
    Box::pin(stream::try_unfold((body, length), |(mut body, left)| async move {
        match body.next().await {
            Some(Ok(frame)) => {
                let left = left.checked_sub(frame.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
                Ok(Some((frame, (body, left))))
            }
            Some(Err(error)) => Err(io::Error::other(error)),
            None if left == 0 => Ok(None),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }))
}
