//! One connection, in the clear or encrypted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;

/// Bytes to and from a server.
pub enum Connection {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS, which is bulky.
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Connection {
    /// Connects; `silence` bounds every later read and write.
    pub(super) fn open(authority: &str, tls: Option<Arc<rustls::ClientConfig>>, silence: Duration) -> Result<Self> {
        let tcp = TcpStream::connect(authority).with_context(|| format!("connecting to {authority}"))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(silence))?;
        tcp.set_write_timeout(Some(silence))?;
        let Some(config) = tls else {
            return Ok(Self::Plain(tcp));
        };
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let session = rustls::ClientConnection::new(config, name)?;
        Ok(Self::Tls(Box::new(rustls::StreamOwned::new(session, tcp))))
    }

    /// Changes how long a read waits.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn set_read_timeout(&self, silence: Duration) -> std::io::Result<()> {
        self.tcp().set_read_timeout(Some(silence))
    }

    /// Ends our direction and keeps reading.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn finish_writing(&self) -> std::io::Result<()> {
        self.tcp().shutdown(Shutdown::Write)
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref(),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
