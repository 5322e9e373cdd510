//! HTTP/1.1 messages as they pass through: the head is looked at, the body only measured.

use std::io::{Error, ErrorKind, Result};
use std::net::TcpStream;

use crate::tcp;

const BUFFER: usize = 128 << 10;
const MAX_HEAD: usize = 256 << 10;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// A request's or response's head, byte for byte.
pub(super) struct Head {
    bytes: Vec<u8>,
    text: String,
}

impl Head {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_head(&self) -> bool {
        self.text.starts_with("head ")
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.header("expect").is_some()
    }

    pub(super) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.contains("close"))
    }

    /// 100 and the like, after which the real answer comes.
    fn is_interim(&self) -> bool {
        self.text.starts_with("http/1.1 1")
    }

    pub(super) fn framing(&self) -> Framing {
        let bodiless = ["http/1.1 204", "http/1.1 304"].iter().any(|line| self.text.starts_with(line));
        if bodiless {
            return Framing::Length(0);
        }
        if self.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            return Framing::Chunked;
        }
        Framing::Length(self.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then_some(value.trim())
        })
    }
}

/// One direction of a connection.
pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    buffer: Vec<u8>,
    /// Of the buffer, what has come and is not used yet.
    from: usize,
    to: usize,
}

impl<'a> Wire<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self { stream, buffer: vec![0; BUFFER], from: 0, to: 0 }
    }

    /// The next message's head; none when the connection ended before it.
    pub(super) fn head(&mut self) -> Result<Option<Head>> {
        let mut bytes = Vec::new();
        loop {
            if self.from == self.to && !self.fill()? {
                return if bytes.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
            bytes.push(self.buffer[self.from]);
            self.from += 1;
            if bytes.ends_with(b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                return Ok(Some(Head { bytes, text }));
            }
            if bytes.len() > MAX_HEAD {
                return Err(Error::other("a head without end"));
            }
        }
    }

    /// The answer to the request that was sent, interim answers left out.
    pub(super) fn response(&mut self) -> Result<Head> {
        loop {
            let head = self.head()?.ok_or(ErrorKind::UnexpectedEof)?;
            if !head.is_interim() {
                return Ok(head);
            }
        }
    }

    /// Passes a body on.
    pub(super) fn pass(&mut self, to: &TcpStream, framing: &Framing) -> Result<()> {
        match *framing {
            Framing::Length(length) => self.pass_bytes(to, length),
            Framing::Chunked => loop {
                let line = self.line()?;
                tcp::write(to, &line)?;
                let digits: String =
                    line.iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_hexdigit).collect();
                let size = u64::from_str_radix(&digits, 16).map_err(Error::other)?;
                if size == 0 {
                    // Trailers, up to the empty line.
                    loop {
                        let trailer = self.line()?;
                        tcp::write(to, &trailer)?;
                        if trailer == b"\r\n" {
                            return Ok(());
                        }
                    }
                }
                self.pass_bytes(to, size + 2)?;
            },
        }
    }

    /// Passes half of a body on, or what has come of it.
    pub(super) fn pass_some(&mut self, to: &TcpStream, framing: &Framing) -> Result<()> {
        let length = match *framing {
            Framing::Length(length) => length / 2,
            Framing::Chunked => 16,
        };
        self.pass_bytes(to, length)
    }

    fn pass_bytes(&mut self, to: &TcpStream, mut left: u64) -> Result<()> {
        while left > 0 {
            if self.from == self.to && !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let there = self.to - self.from;
            let count = usize::try_from(left).map_or(there, |left| left.min(there));
            tcp::write(to, &self.buffer[self.from..self.from + count])?;
            self.from += count;
            left -= count as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            if self.from == self.to && !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            line.push(self.buffer[self.from]);
            self.from += 1;
        }
        Ok(line)
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> Result<bool> {
        self.from = 0;
        self.to = tcp::read(self.stream, &mut self.buffer)?;
        Ok(self.to > 0)
    }
}
