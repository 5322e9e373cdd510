//! A small blocking HTTP/1.1 client, written by hand so that a suite can also send what no library would.
//!
//! One connection per request: a cut connection then belongs to exactly one request, which the kill suite
//! relies on.

mod auth;
mod connection;
mod response;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};

pub use connection::Connection;
pub use response::{Response, Streaming, Unexpected};

/// Longest silence on a connection before a request is given up.
pub const SILENCE: Duration = Duration::from_secs(60);

/// A user of the registry.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Name.
    pub user: String,
    /// Password in the clear.
    pub password: String,
}

/// What a request carries.
pub enum Body<'a> {
    /// Nothing; POST, PUT and PATCH say `Content-Length: 0`.
    Empty,
    /// All of it, with its length.
    Bytes(&'a [u8]),
    /// As much as the reader gives, in chunks, with no length told.
    Chunked(&'a mut dyn Read),
    /// Exactly this many bytes of the reader, with the length told.
    Sized(u64, &'a mut dyn Read),
}

/// A request in the making.
pub struct Request<'a> {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Body<'a>,
}

impl<'a> Request<'a> {
    /// `path` is the request target, as it stands on the request line.
    #[must_use]
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Body::Empty }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }
}

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    authority: String,
    tls: Option<Arc<rustls::ClientConfig>>,
    credentials: Option<Credentials>,
    /// The last `Authorization` that was accepted.
    authorization: Arc<Mutex<Option<String>>>,
}

impl Client {
    /// `authority` is `host:port`; with `tls` the connection is encrypted.
    #[must_use]
    pub fn new(authority: &str, tls: Option<Arc<rustls::ClientConfig>>, credentials: Option<Credentials>) -> Self {
        Self { authority: authority.to_owned(), tls, credentials, authorization: Arc::default() }
    }

    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a connection for bytes of the caller's own making.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(&self.authority, self.tls.clone(), SILENCE)
    }

    /// Sends a request and reads the whole response. Answers one authentication challenge, unless the
    /// body was a stream, which cannot be sent twice.
    ///
    /// # Errors
    /// When the connection fails or the response is malformed; a refusal is a response, not an error.
    pub fn send(&self, request: Request<'_>) -> Result<Response> {
        self.stream(request)?.read()
    }

    /// Like [`Client::send`], but leaves the body to be read. Follows one redirect of a GET, as clients do for
    /// blobs that lie elsewhere; their credentials stay here.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn stream(&self, request: Request<'_>) -> Result<Streaming> {
        let get = request.method == "GET";
        let response = self.answered(request)?;
        match response.header("location") {
            Some(location) if get && response.status() == 307 && location.contains("://") => {
                let (authority, path) = address(location);
                let elsewhere = Self::new(authority, None, None);
                elsewhere.exchange(&mut Request::new("GET", path), None)
            }
            _ => Ok(response),
        }
    }

    /// Where a GET of `path` is redirected to, without going there.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn redirect_of(&self, path: &str) -> Result<Option<String>> {
        let response = self.answered(Request::new("GET", path))?;
        Ok(response.header("location").filter(|_| response.status() == 307).map(str::to_owned))
    }

    /// The answer, after authentication if that was asked for.
    fn answered(&self, mut request: Request<'_>) -> Result<Streaming> {
        let authorization = self.authorization();
        let response = self.exchange(&mut request, authorization.as_deref())?;
        let replayable = matches!(request.body, Body::Empty | Body::Bytes(_));
        match &self.credentials {
            Some(credentials) if response.status() == 401 && replayable => {
                let challenge = response.header("www-authenticate").unwrap_or_default();
                let answer = auth::answer(self, challenge, credentials)?;
                *self.lock() = Some(answer.clone());
                self.exchange(&mut request, Some(&answer))
            }
            _ => Ok(response),
        }
    }

    fn exchange(&self, request: &mut Request<'_>, authorization: Option<&str>) -> Result<Streaming> {
        let mut connection = self.connect()?;
        let sent = send_request(&mut connection, &self.authority, request, authorization);
        // A server may answer and close before it has read the whole body: its answer says more than
        // our failed write.
        let received = Streaming::receive(connection, request.method == "HEAD");
        match (sent, received) {
            (_, Ok(response)) => Ok(response),
            (Err(error), Err(_)) => Err(error),
            (Ok(()), Err(error)) => Err(error),
        }
        .with_context(|| format!("{} {}", request.method, request.path))
    }

    fn authorization(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.authorization.lock().expect("the lock is held for assignments only, which do not panic")
    }
}

/// Authority and path of an absolute URL.
fn address(url: &str) -> (&str, String) {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (rest, "/".to_owned()),
    }
}

fn send_request(
    connection: &mut Connection,
    authority: &str,
    request: &mut Request<'_>,
    authorization: Option<&str>,
) -> Result<()> {
    let mut head =
        format!("{} {} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n", request.method, request.path);
    let mut header = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    for (name, value) in &request.headers {
        header(name, value);
    }
    if let Some(value) = authorization {
        header("Authorization", value);
    }
    match &request.body {
        Body::Empty if ["GET", "HEAD", "DELETE"].contains(&request.method) => {}
        Body::Empty => header("Content-Length", "0"),
        Body::Bytes(bytes) => header("Content-Length", &bytes.len().to_string()),
        Body::Sized(len, _) => header("Content-Length", &len.to_string()),
        Body::Chunked(_) => header("Transfer-Encoding", "chunked"),
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes())?;
    match &mut request.body {
        Body::Empty => {}
        Body::Bytes(bytes) => connection.write_all(bytes)?,
        Body::Sized(len, reader) => {
            std::io::copy(&mut reader.take(*len), connection)?;
        }
        Body::Chunked(reader) => send_chunks(connection, *reader)?,
    }
    connection.flush()?;
    Ok(())
}

fn send_chunks(connection: &mut Connection, reader: &mut dyn Read) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            connection.write_all(b"0\r\n\r\n")?;
            return Ok(());
        }
        connection.write_all(format!("{count:x}\r\n").as_bytes())?;
        connection.write_all(&buffer[..count])?;
        connection.write_all(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests;
