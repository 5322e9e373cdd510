//! Responses: the head at once, the body as a reader that knows where it must end.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result};

use super::Connection;

/// Longest head that is read.
const MAX_HEAD: u64 = 256 * 1024;

/// A response whose body is still to be read.
pub struct Streaming {
    status: u16,
    headers: Vec<(String, String)>,
    body: Framed,
}

/// A response read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body, complete: a cut body is an error before there is a response.
    pub body: Vec<u8>,
}

/// An answer that is complete but another than expected, as opposed to no answer.
#[derive(Debug)]
pub struct Unexpected {
    /// What would have been right.
    pub expected: Vec<u16>,
    /// The status code that came.
    pub status: u16,
    /// The body that came with it.
    pub text: String,
    /// When the server asks to try again.
    pub retry_after: Option<String>,
}

impl std::fmt::Display for Unexpected {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "expected {:?}, got {}: {}", self.expected, self.status, self.text)
    }
}

impl std::error::Error for Unexpected {}

/// How the end of a body is told.
enum Framing {
    Length(u64),
    Chunked { left: u64, ended: bool },
    UntilClose,
}

/// A body that fails with `UnexpectedEof` when the connection ends before it does.
pub struct Framed {
    input: BufReader<Connection>,
    framing: Framing,
}

impl Streaming {
    /// Reads status line and headers. `bodiless` is true after a HEAD request.
    ///
    /// # Errors
    /// When the connection ends first or the head is malformed.
    pub fn receive(connection: Connection, bodiless: bool) -> Result<Self> {
        let mut input = BufReader::with_capacity(256 * 1024, connection);
        let (status, headers) = loop {
            let (status, headers) = head(&mut input)?;
            if status >= 200 {
                break (status, headers);
            }
        };
        let find = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let framing = if bodiless || status == 204 || status == 304 {
            Framing::Length(0)
        } else if find("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            Framing::Chunked { left: 0, ended: false }
        } else if let Some(length) = find("content-length") {
            Framing::Length(length.parse().context("reading Content-Length")?)
        } else {
            Framing::UntilClose
        };
        Ok(Self { status, headers, body: Framed { input, framing } })
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header called `name` (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body.
    pub fn body(&mut self) -> &mut Framed {
        &mut self.body
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// When the body is cut.
    pub fn read(mut self) -> Result<Response> {
        let mut body = Vec::new();
        self.body.read_to_end(&mut body).with_context(|| format!("reading the body of a {}", self.status))?;
        Ok(Response { status: self.status, headers: self.headers, body })
    }
}

impl Response {
    /// The first header called `name` (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Fails unless the status is one of `expected`; the error shows the body.
    ///
    /// # Errors
    /// When it is another one.
    pub fn expect(self, expected: &[u16]) -> Result<Self> {
        if !expected.contains(&self.status) {
            let retry_after = self.header("retry-after").map(str::to_owned);
            let (expected, text) = (expected.to_vec(), self.text());
            return Err(Unexpected { expected, status: self.status, text, retry_after }.into());
        }
        Ok(self)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The code of the first OCI error in the body, if it is one.
    #[must_use]
    pub fn error_code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body["errors"][0]["code"].as_str().map(str::to_owned)
    }
}

fn head(input: &mut BufReader<Connection>) -> Result<(u16, Vec<(String, String)>)> {
    let mut input = input.take(MAX_HEAD);
    let status_line = line(&mut input)?;
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
        .with_context(|| format!("not a status line: {status_line:?}"))?;
    let mut headers = Vec::new();
    loop {
        let text = line(&mut input)?;
        if text.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = text.split_once(':').with_context(|| format!("not a header: {text:?}"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn line(input: &mut impl BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    input.read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        let ended = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        return Err(ended).context("the connection ended within the head of the response");
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Read for Framed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Framing::Chunked { left, ended } = &mut self.framing
            && *left == 0
            && !*ended
        {
            *left = chunk_size(&mut self.input)?;
            *ended = *left == 0;
        }
        let left = match &mut self.framing {
            Framing::UntilClose => return self.input.read(buffer),
            Framing::Length(left) | Framing::Chunked { left, .. } => left,
        };
        if *left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let room = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..room])?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        *left -= count as u64;
        if *left == 0 && matches!(self.framing, Framing::Chunked { .. }) {
            blank_line(&mut self.input)?;
        }
        Ok(count)
    }
}

fn chunk_size(input: &mut impl BufRead) -> std::io::Result<u64> {
    let text = line(input).map_err(std::io::Error::other)?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(digits, 16).map_err(std::io::Error::other)?;
    if size == 0 {
        blank_line(input)?;
    }
    Ok(size)
}

fn blank_line(input: &mut impl BufRead) -> std::io::Result<()> {
    match line(input) {
        Ok(text) if text.is_empty() => Ok(()),
        Ok(text) => Err(std::io::Error::other(format!("{text:?} after a chunk"))),
        Err(error) => Err(std::io::Error::other(error)),
    }
}
