//! What an HTTP/2 client can withhold: the table of `serve`, line by line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use entrepot_runtime::serve::ServeOptions;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::{Client, DEADLINE, TestServer, collect, request, start};

const SHORT: Duration = Duration::from_millis(200);
/// Before any ping of hyper's own can time out.
const SOON: Duration = Duration::from_secs(5);
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

fn router() -> Router {
    let upload = async |body: Body| match body.collect().await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/late", get(|| async { tokio::time::sleep(SHORT * 3).await }))
        .route("/chunk", get(|| async { Bytes::from(vec![0; 200_000]) }))
        .route("/large", get(|| async { Bytes::from(vec![0; 64 << 20]) }))
        .route("/upload", post(upload))
}

/// Frames of HTTP/2 by hand.
struct Raw(Client);

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    /// A connection whose streams begin with `window`.
    async fn connect(server: &TestServer, window: u32) -> Self {
        let mut raw = Self(server.connect().await);
        raw.0.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.send(4, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()).await;
        raw
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.tcp.write_all(&[&head, payload].concat()).await.unwrap();
    }

    /// GET, the path as a literal.
    async fn get(&mut self, stream: u32, path: &str) {
        let length = u8::try_from(path.len()).unwrap();
        let head = [&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 1, b'a']].concat();
        self.send(1, 5, stream, &head).await;
    }

    async fn frame(&mut self) -> Frame {
        let mut head = [0; 9];
        timeout(DEADLINE, self.0.tcp.read_exact(&mut head)).await.unwrap().unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        timeout(DEADLINE, self.0.tcp.read_exact(&mut payload)).await.unwrap().unwrap();
        Frame { kind: head[3], stream: u32::from_be_bytes(head[5..].try_into().unwrap()), payload }
    }

    /// The next frame of that kind.
    async fn wait_for(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().await;
            if frame.kind == kind {
                return frame;
            }
        }
    }
}

/// Over a long way a push is as fast as its window allows: 2 MiB are 160 Mbit/s at 100 ms.
#[tokio::test]
async fn p42_windows_are_large() {
    let server = start(router(), ServeOptions::default());
    let mut client = Raw::connect(&server, 65_536).await;
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let settings = client.wait_for(SETTINGS).await.payload;
    let window = settings.chunks(6).find(|setting| setting[..2] == [0, 4]).expect("SETTINGS_INITIAL_WINDOW_SIZE");
    assert!(number(&window[2..]) >= 2 << 20, "{window:?}");
    let update = client.wait_for(WINDOW_UPDATE).await;
    assert!(update.stream == 0 && 65_535 + number(&update.payload) >= 16 << 20, "{:?}", update.payload);
}

/// Whether the whole body waits or its last byte only.
#[tokio::test]
async fn a_stream_without_window_is_reset_and_its_connection_lives() {
    let options = ServeOptions { write_stall: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    for (window, path) in
        [(0, "/"), (1, "/"), (0, "/large"), (1, "/large"), (100_000, "/large"), (1, "/chunk"), (199_999, "/chunk")]
    {
        let mut client = Raw::connect(&server, window).await;
        client.get(1, path).await;
        let reset = timeout(SOON, client.wait_for(RST_STREAM)).await;
        assert_eq!(reset.expect(path).stream, 1, "{window} {path}");
        client.send(PING, 0, 0, b"are you?").await;
        while client.wait_for(PING).await.payload != b"are you?" {}
    }
}

/// The memory behind a stream is given back, not the stream alone.
#[tokio::test]
async fn nothing_waits_for_a_stream_that_was_reset() {
    struct Watched {
        bytes: Vec<u8>,
        _held: Arc<()>,
    }
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let held = Arc::new(());
    let router = {
        let held = held.clone();
        Router::new()
            .route("/", get(async move || Bytes::from_owner(Watched { bytes: vec![0; 200_000], _held: held.clone() })))
    };
    let options = ServeOptions { write_stall: SHORT, ..ServeOptions::default() };
    let server = start(router, options);
    for window in [0, 1, 70_000] {
        let mut client = Raw::connect(&server, window).await;
        for stream in [1, 3, 5] {
            client.get(stream, "/").await;
        }
        for _ in 0..3 {
            timeout(SOON, client.wait_for(RST_STREAM)).await.unwrap();
        }
        // One of them is the router's.
        crate::support::eventually("the bytes are given back", async || Arc::strong_count(&held) == 2).await;
    }
}

#[tokio::test]
async fn a_slow_stream_that_takes_something_is_served() {
    let options = ServeOptions { write_stall: SHORT * 2, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = Raw::connect(&server, 65_535).await;
    client.get(1, "/chunk").await;
    let (mut received, mut allowed, begun) = (0, 65_535, Instant::now());
    let mut tick = tokio::time::interval(SHORT);
    tick.tick().await;
    while received < 200_000 {
        received += client.wait_for(DATA).await.payload.len();
        if received == allowed {
            tick.tick().await;
            allowed += 65_535;
            for stream in [0, 1] {
                client.send(8, 0, stream, &65_535_u32.to_be_bytes()).await;
            }
        }
    }
    assert!(begun.elapsed() > SHORT * 2, "the client was to be slow");
}

#[tokio::test]
async fn an_idle_connection_ends_after_the_keep_alive_time() {
    let options = ServeOptions { keep_alive: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let (mut send, connection) = server.connect_h2().await;
    let response = send.send_request(request(server.address, "/late")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "a request in flight is not idle");
    collect(response).await;
    timeout(SOON, connection).await.expect("a connection that answers pings is idle all the same").unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_that_answers_nothing_is_cut() {
    let options = ServeOptions { keep_alive: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let part_of_a_head: &[u8] = &[0x82, 0x86];
    for head in [None, Some(part_of_a_head)] {
        let mut client = Raw::connect(&server, 65_536).await;
        if let Some(head) = head {
            client.send(1, 1, 1, head).await;
        }
        timeout(SOON, client.0.rest()).await.expect("it was to be closed");
    }
}

#[tokio::test]
async fn a_body_that_stops_is_answered() {
    let options = ServeOptions { body_stall: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = Raw::connect(&server, 65_536).await;
    let head = [&[0x83, 0x86, 0x04, 7][..], b"/upload", &[0x01, 1, b'a']].concat();
    client.send(1, 4, 1, &head).await;
    client.send(DATA, 0, 1, b"abc").await;
    let answer = timeout(SOON, client.wait_for(1)).await.unwrap();
    // 408 in the Huffman code of HPACK.
    assert!(answer.payload.windows(3).any(|bytes| bytes == [0x68, 0x0f, 0x7f]), "{:x?}", answer.payload);
}
