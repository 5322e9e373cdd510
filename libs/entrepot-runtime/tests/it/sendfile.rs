use std::{
    fs::File,
    io::Write,
    ops::Range,
    sync::{Arc, OnceLock},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use entrepot_runtime::{
    metrics,
    sendfile::{FileBody, FileSender, bytes_sent, pread_stream},
    serve::ServeOptions,
};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, TestServer, collect, eventually, request, start};

const SIZE: usize = (5 << 20) + 3;

/// Bytes that differ at every offset that a page or chunk mix-up would produce.
fn content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..SIZE).map(|_| next()).collect()
    })
}

fn file() -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content()).unwrap();
    Arc::new(file)
}

type Sender = Option<Extension<FileSender>>;

async fn range(State(file): State<Arc<File>>, Path((from, to)): Path<(u64, u64)>, sender: Sender) -> Response {
    let sender = sender.map(|Extension(sender)| sender);
    Body::new(FileBody::new(sender.as_ref(), file, from..to).unwrap()).into_response()
}

/// Text and file ranges in turn, as a multi-range answer has them.
async fn parts(State(file): State<Arc<File>>, Extension(sender): Extension<FileSender>) -> Response {
    let chunks = part_ranges().into_iter().flat_map(move |range| {
        let name = Bytes::from(format!("--{range:?}--"));
        [Ok(name), sender.bytes(file.clone(), range)]
    });
    Body::from_stream(stream::iter(chunks)).into_response()
}

fn part_ranges() -> Vec<Range<u64>> {
    vec![0..1, 4095..4097, 10..10, 1_000_000..3_500_000, SIZE as u64 - 1..SIZE as u64, 0..SIZE as u64]
}

async fn truncated(Extension(sender): Extension<FileSender>) -> Response {
    let file = Arc::new(tempfile::tempfile().unwrap());
    file.set_len(8 << 20).unwrap();
    let bytes = sender.bytes(file.clone(), 0..8 << 20).unwrap();
    file.set_len(3 << 20).unwrap();
    bytes.into_response()
}

fn serve() -> TestServer {
    let router = Router::new()
        .route("/range/{from}/{to}", get(range))
        .route("/parts", get(parts))
        .route("/truncated", get(truncated))
        .with_state(file());
    start(router, ServeOptions::default())
}

fn ranges() -> Vec<Range<usize>> {
    let edges = [0, 1, 4095, 4096, 4097, 65_536, (1 << 20) - 1, (1 << 20) + 1, SIZE - 1, SIZE];
    edges.iter().flat_map(|from| edges.iter().filter(move |to| from <= to).map(move |to| *from..*to)).collect()
}

async fn ask(client: &mut Client, range: &Range<usize>) {
    client.send(&format!("GET /range/{}/{} HTTP/1.1\r\nHost: a\r\n\r\n", range.start, range.end)).await;
}

#[tokio::test]
async fn every_range_arrives_as_it_is_in_the_file_by_sendfile() {
    let server = serve();
    let mut client = server.connect().await;
    let before = bytes_sent();
    let mut total = 0;
    for range in ranges() {
        ask(&mut client, &range).await;
        let answer = client.answer().await;
        assert!(answer.body == content()[range.clone()], "{range:?}");
        total += range.len() as u64;
    }
    assert!(bytes_sent() - before >= total, "sendfile carried {} of {total} bytes", bytes_sent() - before);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = serve();
    let mut client = server.connect().await;
    let ranges: Vec<_> = ranges().into_iter().filter(|range| range.len() < 70_000).collect();
    for range in &ranges {
        ask(&mut client, range).await;
    }
    for range in ranges {
        assert!(client.answer().await.body == content()[range.clone()], "{range:?}");
    }
}

#[tokio::test]
async fn file_ranges_mix_with_other_chunks() {
    let server = serve();
    let mut client = server.connect().await;
    client.send("GET /parts HTTP/1.0\r\n\r\n").await;
    let answer = client.rest().await;
    let expected: Vec<u8> = part_ranges()
        .into_iter()
        .flat_map(|range| {
            let bytes = &content()[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            [format!("--{range:?}--").as_bytes(), bytes].concat()
        })
        .collect();
    assert!(answer.ends_with(&expected));
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte() {
    let server = serve();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client { tcp: socket.connect(server.address).await.unwrap() };
    ask(&mut client, &(0..2 << 20)).await;
    let mut seen = Vec::new();
    let mut buffer = [0; 1500];
    while !seen.ends_with(&content()[(2 << 20) - 64..2 << 20]) {
        let count = client.tcp.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0);
        seen.extend_from_slice(&buffer[..count]);
        tokio::task::yield_now().await;
    }
    assert!(seen.ends_with(&content()[..2 << 20]));
}

#[tokio::test]
async fn a_reader_that_leaves_frees_the_connection() {
    let server = serve();
    for _ in 0..20 {
        let mut client = server.connect().await;
        ask(&mut client, &(0..SIZE)).await;
        client.tcp.read_u8().await.unwrap();
    }
    server.drain.start();
    let drained = tokio::time::timeout(crate::support::DEADLINE, server.drain.drive()).await.unwrap();
    assert_eq!(drained, entrepot_runtime::shutdown::Drained::Clean);
}

#[tokio::test]
async fn a_truncated_file_never_completes_its_answer() {
    let server = serve();
    let mut client = server.connect().await;
    client.send("GET /truncated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.len() < 8 << 20, "{} bytes", answer.len());
    assert!(String::from_utf8_lossy(&answer[..200]).contains("content-length: 8388608"));
}

#[tokio::test]
async fn a_large_file_leaves_nothing_in_this_processs_memory() {
    let large = Arc::new(tempfile::tempfile().unwrap());
    large.set_len(256 << 20).unwrap();
    let server =
        start(Router::new().route("/range/{from}/{to}", get(range)).with_state(large), ServeOptions::default());
    let mut client = server.connect().await;
    client.send("GET /range/0/268435456 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut buffer = vec![0; 64 << 10];
    let before = metrics::resident_bytes().unwrap();
    let (mut peak, mut left) = (before, 256_usize << 20);
    while left > 0 {
        left = left.saturating_sub(client.tcp.read(&mut buffer).await.unwrap());
        peak = peak.max(metrics::resident_bytes().unwrap());
    }
    let grown = (peak - before) >> 20;
    // Tests beside this one hold some tens of MiB.
    assert!(grown < 128, "grew by {grown} MiB");
}

#[tokio::test]
async fn http2_reads_the_file_instead() {
    let server = serve();
    let (mut send, _connection) = server.connect_h2().await;
    for range in ranges().into_iter().filter(|range| range.len() > 60_000) {
        let path = format!("/range/{}/{}", range.start, range.end);
        let response = send.send_request(request(server.address, &path)).await.unwrap();
        assert_eq!(response.headers()["content-length"], range.len().to_string());
        assert!(collect(response).await == content()[range.clone()], "{range:?}");
    }
}

#[tokio::test]
async fn a_stream_of_a_short_file_fails_instead_of_ending() {
    let short = Arc::new(tempfile::tempfile().unwrap());
    (&*short).write_all(&[1; 1000]).unwrap();
    let mut chunks = pread_stream(short.clone(), 0..2000, 600);
    assert_eq!(chunks.next().await.unwrap().unwrap().len(), 600);
    assert_eq!(chunks.next().await.unwrap().unwrap().len(), 400);
    assert_eq!(chunks.next().await.unwrap().unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(chunks.next().await.is_none());
    assert!(FileBody::new(None, short, 0..2000).is_err());
}

#[tokio::test]
async fn a_dropped_connection_leaves_no_mapping() {
    let server = serve();
    let mapped = || {
        std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("(deleted)")).count()
    };
    let mut client = server.connect().await;
    ask(&mut client, &(0..SIZE)).await;
    client.tcp.read_u8().await.unwrap();
    client.tcp.shutdown().await.unwrap();
    drop(client);
    eventually("nothing is mapped", async || mapped() == 0).await;
}
