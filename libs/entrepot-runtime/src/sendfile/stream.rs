use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

/// Bytes per chunk that suit TLS and HTTP/2: two of them fill a stream's window half.
pub(super) const CHUNK: usize = 256 << 10;

/// A range of a file as chunks, for connections that cannot send files themselves.
///
/// Chunks in the page cache are read at once; others on the blocking pool, one read at a time and none ahead, so that
/// the stream holds at most the chunk being sent and the one being read, and stops when dropped. A chunk's buffer is
/// used again once the connection has let go of it.
#[derive(Debug)]
pub struct PreadStream {
    file: Arc<File>,
    next: u64,
    end: u64,
    chunk: usize,
    last: Bytes,
    reading: Option<JoinHandle<io::Result<BytesMut>>>,
}

/// Streams `range` of `file` in chunks of `chunk` bytes.
///
/// The stream yields `UnexpectedEof` when the file ends before the range, so that a body made of it is cut short.
pub fn pread_stream(file: Arc<File>, range: Range<u64>, chunk: usize) -> PreadStream {
    PreadStream { file, next: range.start, end: range.end, chunk: chunk.max(1), last: Bytes::new(), reading: None }
}

impl PreadStream {
    /// Bytes not yet yielded.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }

    /// A buffer of the next chunk's length; a fresh one is zeroed, which a used one spares us.
    fn buffer(&mut self) -> BytesMut {
        let length = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(self.chunk);
        match std::mem::take(&mut self.last).try_into_mut() {
            Ok(mut used) if used.len() >= length => {
                used.truncate(length);
                used
            }
            _ => BytesMut::zeroed(length),
        }
    }

    fn yielded(&mut self, chunk: BytesMut) -> Bytes {
        let chunk = chunk.freeze();
        self.next += chunk.len() as u64;
        self.last = chunk.clone();
        chunk
    }
}

impl Stream for PreadStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.reading.is_none() {
            if self.remaining() == 0 {
                return Poll::Ready(None);
            }
            let mut buffer = self.buffer();
            if let Some(count) = read_cached(&self.file, &mut buffer, self.next) {
                buffer.truncate(count);
                let chunk = self.yielded(buffer);
                return Poll::Ready(Some(Ok(chunk)));
            }
            let (file, offset) = (self.file.clone(), self.next);
            self.reading = Some(tokio::task::spawn_blocking(move || {
                file.read_exact_at(&mut buffer, offset)?;
                Ok(buffer)
            }));
        }
        let Some(reading) = self.reading.as_mut() else {
            return Poll::Ready(None);
        };
        let joined = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        match joined.map_err(io::Error::other).flatten() {
            Ok(buffer) => Poll::Ready(Some(Ok(self.yielded(buffer)))),
            Err(error) => {
                self.next = self.end;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

/// Reads what is in the page cache; `None` when nothing is, at the end of the file, or where the kernel cannot tell.
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    let mut slices = [IoSliceMut::new(buffer)];
    rustix::io::preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT).ok().filter(|count| *count > 0)
}
