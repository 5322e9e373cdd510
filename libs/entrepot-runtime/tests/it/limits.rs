use std::time::{Duration, Instant};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use entrepot_runtime::serve::{RequestBodyError, ServeOptions};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use crate::support::{DEADLINE, start};

const SHORT: Duration = Duration::from_millis(200);

fn router() -> Router {
    let upload = async |body: Body| match body.collect().await {
        Ok(whole) => (StatusCode::OK, whole.to_bytes().len().to_string()),
        Err(error) => {
            let error = error.into_inner();
            let stalled = error.downcast_ref().is_some_and(|e| matches!(e, RequestBodyError::Stalled(_)));
            (if stalled { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST }, error.to_string())
        }
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/late", get(|| async { tokio::time::sleep(SHORT * 2).await }))
        .route("/large", get(|| async { Bytes::from(vec![0; 64 << 20]) }))
        .route("/upload", post(upload))
}

/// hyper's own header timeout does nothing unless a timer is set, and cannot tell an idle connection from a slow head.
#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let options = ServeOptions { header_timeout: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    for start in ["", "P", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut client = server.connect().await;
        client.send(start).await;
        let begun = Instant::now();
        client.rest().await;
        assert!(begun.elapsed() < DEADLINE / 4, "{start:?} was kept for {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_but_a_second_slow_head_does_not() {
    let options = ServeOptions { header_timeout: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.body, b"hello");
        assert!(client.stays_open(SHORT * 3).await);
        client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(client.answer().await.body, b"3");
        assert!(client.stays_open(SHORT * 3).await);
    }
    client.send("GET / HT").await;
    assert!(!client.stays_open(DEADLINE).await);
}

/// The start of the second head comes with the first request and waits as long as that takes to answer.
#[tokio::test]
async fn a_pipelined_head_is_not_timed_while_the_request_before_it_is_served() {
    let options = ServeOptions { header_timeout: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    client.send("Host: a\r\n\r\n").await;
    assert_eq!(client.answer().await.body, b"hello");
}

#[tokio::test]
async fn a_head_that_drips_is_cut() {
    let options = ServeOptions { header_timeout: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nX-Drip: ").await;
    let mut tick = tokio::time::interval(SHORT / 10);
    let begun = Instant::now();
    while client.tcp.write_all(b"x").await.is_ok() {
        assert!(begun.elapsed() < DEADLINE / 4);
        tick.tick().await;
    }
}

#[tokio::test]
async fn an_idle_connection_ends_after_the_keep_alive_time() {
    let options = ServeOptions { keep_alive: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    assert_eq!(client.get("/").await.body, b"hello");
    assert!(!client.stays_open(DEADLINE / 4).await);
}

#[tokio::test]
async fn a_body_that_stops_or_drips_is_cut() {
    let options = ServeOptions { body_stall: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
    assert_eq!(client.answer().await.status, 408);
    assert_eq!(client.rest().await, b"", "a connection whose body is unread cannot be used again");

    let mut client = server.connect().await;
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
    let (mut read, mut write) = client.tcp.into_split();
    let drip = tokio::spawn(async move {
        let mut tick = tokio::time::interval(SHORT / 10);
        while write.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
    });
    let mut answer = [0; 12];
    tokio::time::timeout(DEADLINE / 4, tokio::io::AsyncReadExt::read_exact(&mut read, &mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    drip.abort();
}

#[tokio::test]
async fn a_slow_but_steady_body_is_taken() {
    let options = ServeOptions { body_stall: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 40960\r\n\r\n").await;
    let mut tick = tokio::time::interval(SHORT / 4);
    for _ in 0..20 {
        client.tcp.write_all(&[0; 2048]).await.unwrap();
        tick.tick().await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"40960".as_slice()));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let options = ServeOptions { write_stall: SHORT, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.drain.start();
    // The connection is the only thing that holds the drain open.
    let drained = tokio::time::timeout(DEADLINE / 4, server.drain.drive()).await.unwrap();
    assert_eq!(drained, entrepot_runtime::shutdown::Drained::Clean);
    assert!(client.rest().await.len() < 64 << 20);
}

#[tokio::test]
async fn heads_have_a_largest_size() {
    let server = start(router(), ServeOptions::default());
    let mut client = server.connect().await;
    let long = "x".repeat(30 << 10);
    client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 200);
    let longer = "x".repeat(200 << 10);
    let _cut_while_sending =
        client.tcp.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {longer}\r\n\r\n").as_bytes()).await;
    let rest = client.rest().await;
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let options = ServeOptions { max_connections: 1, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut first = server.connect().await;
    assert_eq!(first.get("/").await.body, b"hello");
    let mut second = server.connect().await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(second.stays_open(SHORT).await);
    drop(first);
    assert_eq!(second.answer().await.body, b"hello");
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_refused_upload_gets_the_refusal() {
    let router = Router::new().route("/", post(|| async { (StatusCode::UNAUTHORIZED, "log in first") }));
    let server = start(router, ServeOptions::default());
    for _ in 0..10 {
        let mut client = server.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n").await;
        client.tcp.write_all(&vec![0; 8 << 20]).await.unwrap();
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_slice()), (401, b"log in first".as_slice()));
    }
}

/// Rapid reset (CVE-2023-44487): requests that are taken back as soon as they are sent cost the client nothing.
#[tokio::test]
async fn a_flood_of_resets_ends_its_connection() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let options = ServeOptions { h2_resets: 20, ..ServeOptions::default() };
    let server = start(router(), options);
    let mut client = server.connect().await;
    client.tcp.write_all(PREFACE).await.unwrap();
    // HEADERS with `:method GET`, `:scheme http`, `:path /` of the static table, then RST_STREAM with CANCEL.
    let flood: Vec<u8> = (0..20_000_u32)
        .flat_map(|number| {
            let stream = (2 * number + 1).to_be_bytes();
            let headers = [&[0, 0, 3, 1, 5][..], &stream, &[0x82, 0x86, 0x84]].concat();
            [headers, [&[0, 0, 4, 3, 0][..], &stream, &[0, 0, 0, 8]].concat()].concat()
        })
        .collect();
    let _cut_while_sending = client.tcp.write_all(&flood).await;
    let rest = client.rest().await;
    assert!(rest.windows(9).any(|frame| frame[3] == 7), "no GOAWAY");
    assert_eq!(server.connect().await.get("/").await.body, b"hello");
}

/// RUSTSEC-2024-0332: a head in endless CONTINUATION frames.
#[tokio::test]
async fn a_flood_of_continuations_ends_its_connection() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let server = start(router(), ServeOptions::default());
    let mut client = server.connect().await;
    client.tcp.write_all(PREFACE).await.unwrap();
    client.tcp.write_all(&[0, 0, 3, 1, 0, 0, 0, 0, 1, 0x82, 0x86, 0x84]).await.unwrap();
    // `x: aaaa…` as a literal, again and again.
    let value = [vec![0, 1, b'x', 100], vec![b'a'; 100]].concat();
    let frame = [&[0, 0, 104, 9, 0, 0, 0, 0, 1][..], &value].concat();
    let begun = Instant::now();
    while client.tcp.write_all(&frame).await.is_ok() {
        assert!(begun.elapsed() < DEADLINE, "still taken");
    }
}
