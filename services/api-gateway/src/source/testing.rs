//! Storage that behaves as a test tells it to.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Digest, Page, StorageKey, page::PageOf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Object;

/// What storage does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends so many bytes of the answer and cuts the connection.
    Cut(u64),
    /// Answers with this status line and headers, and nothing else.
    Say(&'static str),
    /// Sends the whole object whatever part was asked for.
    Whole,
    /// Sends a part of the right length from another place.
    Elsewhere,
}

/// An HTTP server with one object. Requests beyond the script are answered as they should be.
pub(crate) struct Storage {
    address: std::net::SocketAddr,
    state: Arc<State>,
}

struct State {
    bytes: Bytes,
    script: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<Range<u64>>>,
    paths: Mutex<Vec<String>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    sent: AtomicU64,
    opened: AtomicUsize,
}

impl Storage {
    pub(crate) async fn start(bytes: Bytes, script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            bytes,
            script: Mutex::new(script.into_iter().collect()),
            requests: Mutex::default(),
            paths: Mutex::default(),
            connections: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            opened: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    state.serve(tcp).await;
                    state.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn object(&self) -> Object {
        let store = Arc::new(Store { address: self.address, state: Arc::clone(&self.state) });
        let source = store.source("old");
        Object { key: StorageKey::random(), source, store }
    }

    /// The ranges that were asked for.
    pub(crate) fn requests(&self) -> Vec<Range<u64>> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The paths that were asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.state.paths.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many connections have ended.
    pub(crate) fn ended(&self) -> usize {
        self.state.ended.load(Ordering::SeqCst)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// How often a URL was signed.
    pub(crate) fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }
}

impl State {
    async fn serve(&self, mut tcp: TcpStream) {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match tcp.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            if self.answer(&mut tcp, &String::from_utf8(head).unwrap().to_ascii_lowercase()).await.is_none() {
                return;
            }
        }
    }

    /// `None` when the connection is to end.
    async fn answer(&self, tcp: &mut TcpStream, head: &str) -> Option<()> {
        let size = self.bytes.len() as u64;
        let asked = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
        let range = match asked.map(|range| range.split_once('-').unwrap()) {
            Some((first, last)) => first.parse().unwrap()..last.parse::<u64>().unwrap() + 1,
            None => 0..size,
        };
        self.requests.lock().unwrap().push(range.clone());
        self.paths.lock().unwrap().push(head.split(' ').nth(1).unwrap().to_owned());
        let act = self.script.lock().unwrap().pop_front();
        if let Some(Act::Say(status)) = act {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            return tcp.write_all(answer.as_bytes()).await.ok();
        }
        let range = match act {
            Some(Act::Whole) => 0..size,
            Some(Act::Elsewhere) => 0..range.end - range.start,
            _ => range,
        };
        let status = if asked.is_none() || matches!(act, Some(Act::Whole)) {
            "200 OK".to_owned()
        } else {
            format!("206 Partial Content\r\nContent-Range: bytes {}-{}/{size}", range.start, range.end - 1)
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", range.end - range.start);
        tcp.write_all(head.as_bytes()).await.ok()?;
        let end = match act {
            Some(Act::Cut(bytes)) => range.end.min(range.start + bytes),
            _ => range.end,
        };
        let body = self.bytes.slice(usize::try_from(range.start).unwrap()..usize::try_from(end).unwrap());
        for chunk in body.chunks(64 << 10) {
            tcp.write_all(chunk).await.ok()?;
            self.sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
        (end == range.end).then_some(())
    }
}

/// Signs URLs of the object.
struct Store {
    address: std::net::SocketAddr,
    state: Arc<State>,
}

impl Store {
    fn source(&self, signature: &str) -> BlobSource {
        BlobSource::Url {
            url: format!("http://{}/object?sig={signature}", self.address),
            size: self.state.bytes.len() as u64,
        }
    }
}

#[async_trait]
impl BlobStore for Store {
    async fn append(&self, _: WriterPosition, _: ByteStream) -> Result<Appended, BlobError> {
        panic!("storage is only read here")
    }

    async fn seal(&self, _: WriterPosition, _: ByteStream, _: Digest) -> Result<u64, BlobError> {
        panic!("storage is only read here")
    }

    async fn open(&self, _: StorageKey) -> Result<BlobSource, BlobError> {
        self.state.opened.fetch_add(1, Ordering::SeqCst);
        Ok(self.source("new"))
    }

    async fn delete(&self, _: StorageKey) -> Result<(), BlobError> {
        panic!("storage is only read here")
    }

    async fn list(&self, _: Page) -> Result<PageOf<StorageKey>, BlobError> {
        panic!("storage is only read here")
    }
}

/// `size` bytes, each saying where it is.
pub(crate) fn bytes(size: u64) -> Bytes {
    (0..size).map(|offset| (offset ^ (offset >> 8) ^ (offset >> 16)).to_le_bytes()[0]).collect()
}
