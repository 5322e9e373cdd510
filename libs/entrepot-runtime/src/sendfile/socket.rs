use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::regions::{FileSender, Regions, Source, count_sent};

/// Bytes per call: enough to make the call's cost vanish, few enough that one connection cannot keep the thread for long.
const SLICE: usize = 1 << 20;

/// A TCP connection that sends registered mappings from their files.
pub(crate) struct FileSocket {
    tcp: TcpStream,
    regions: Arc<Regions>,
    /// The file system cannot do it: write the mapped bytes instead.
    unsupported: bool,
}

impl FileSocket {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, regions: Arc::default(), unsupported: false }
    }

    pub(crate) fn sender(&self) -> FileSender {
        FileSender::new(self.regions.clone())
    }

    fn write_by(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            // try_io forgets the readiness on WouldBlock, so that the next round waits.
            let result = self.tcp.try_io(Interest::WRITABLE, || write(&self.tcp).map_err(io::Error::from));
            match result {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_send_file(&self, cx: &mut Context<'_>, source: &Source, length: usize) -> Poll<io::Result<usize>> {
        let sent = ready!(self.write_by(cx, |tcp| {
            let mut offset = source.offset;
            rustix::fs::sendfile(tcp, &*source.file, Some(&mut offset), length.min(SLICE))
        }));
        match sent {
            // The promised length cannot be kept any more; an error cuts the connection.
            Ok(0) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                count_sent(count);
                Poll::Ready(Ok(count))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Sends what precedes a file, held back by the kernel so that it leaves in one packet with the file's first bytes.
    fn poll_send_head(&self, cx: &mut Context<'_>, head: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.write_by(cx, |tcp| {
            rustix::net::sendmsg(
                tcp,
                head,
                &mut SendAncillaryBuffer::default(),
                SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            )
        })
    }
}

impl AsyncRead for FileSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for FileSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().position(|slice| !slice.is_empty()).unwrap_or(0);
        let bufs = &bufs[first..];
        if self.unsupported {
            return Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        }
        let file = bufs.iter().enumerate().find_map(|(index, slice)| Some((index, self.regions.source(slice)?)));
        match file {
            None => Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs),
            Some((0, source)) => match ready!(self.poll_send_file(cx, &source, bufs[0].len())) {
                Err(error) if unsupported(&error) => {
                    self.unsupported = true;
                    Pin::new(&mut self.tcp).poll_write(cx, &bufs[0])
                }
                result => Poll::Ready(result),
            },
            Some((index, _)) => self.poll_send_head(cx, &bufs[..index]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

fn unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}
