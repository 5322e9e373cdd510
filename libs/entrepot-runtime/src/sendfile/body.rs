use std::{
    fs::File,
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

use super::{
    FileSender,
    stream::{CHUNK, PreadStream, pread_stream},
};

/// A response body of one range of a file, sent in the cheapest way its connection offers.
///
/// Its size is exact, so the response gets a `Content-Length`.
#[derive(Debug)]
pub struct FileBody(Way);

#[derive(Debug)]
enum Way {
    Sent(Option<Bytes>),
    Read(PreadStream),
}

impl FileBody {
    /// The bytes `range` of `file`; `sender` comes from the request's extensions and is `None` over TLS and HTTP/2.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter than the range; otherwise what the kernel said.
    pub fn new(sender: Option<&FileSender>, file: Arc<File>, range: Range<u64>) -> io::Result<Self> {
        if file.metadata()?.len() < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A file system that cannot map, or too many mappings, is no reason to fail.
        let mapped = sender.and_then(|sender| sender.bytes(file.clone(), range.clone()).ok());
        Ok(Self(match mapped {
            Some(bytes) => Way::Sent((!bytes.is_empty()).then_some(bytes)),
            None => Way::Read(pread_stream(file, range, CHUNK)),
        }))
    }

    fn remaining(&self) -> u64 {
        match &self.0 {
            Way::Sent(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Way::Read(stream) => stream.remaining(),
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let chunk = match &mut self.0 {
            Way::Sent(bytes) => bytes.take().map(Ok),
            Way::Read(stream) => ready!(Pin::new(stream).poll_next(cx)),
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}
