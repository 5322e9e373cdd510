use std::net::SocketAddr;

use axum::{Extension, Router, body::Body, routing::get};
use bytes::Bytes;
use entrepot_runtime::{
    listen,
    sendfile::FileSender,
    serve::{Peer, ServeOptions},
};
use http::StatusCode;

use crate::support::{collect, request, start};

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", axum::routing::post(|body: Bytes| async move { body }))
        .route("/peer", get(|peer: Extension<Peer>| async move { peer.address.to_string() }))
        .route("/sender", get(|sender: Option<Extension<FileSender>>| async move { sender.is_some().to_string() }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .route(
            "/broken",
            get(|| async {
                Body::from_stream(futures_util::stream::poll_fn(
                    |_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> { panic!("in a body, on purpose") },
                ))
            }),
        )
}

#[tokio::test]
async fn http1_keeps_connections_and_takes_pipelined_requests() {
    let server = start(router(), ServeOptions::default());
    let mut client = server.connect().await;
    assert_eq!(client.get("/").await.body, b"hello");
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(client.answer().await.body, b"hello");
    assert_eq!(client.answer().await.body, b"abc");
}

#[tokio::test]
async fn http2_works_by_prior_knowledge() {
    let server = start(router(), ServeOptions::default());
    let (mut send, _connection) = server.connect_h2().await;
    let response = send.send_request(request(server.address, "/")).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(collect(response).await, "hello");
}

#[tokio::test]
async fn a_first_byte_that_could_be_either_protocol_waits_for_the_next() {
    let server = start(router(), ServeOptions::default());
    let mut client = server.connect().await;
    client.tcp.set_nodelay(true).unwrap();
    for part in ["P", "O", "ST /echo HTTP/1.1\r\nHost: a\r\n", "Content-Length: 2\r\n\r\nok"] {
        client.send(part).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.body, b"ok");
}

#[tokio::test]
async fn requests_know_their_peer_and_whether_files_can_be_sent() {
    let server = start(router(), ServeOptions::default());
    let mut client = server.connect().await;
    let own = client.tcp.local_addr().unwrap().to_string();
    assert_eq!(client.get("/peer").await.body, own.as_bytes());
    assert_eq!(client.get("/sender").await.body, b"true");
    let (mut send, _connection) = server.connect_h2().await;
    let response = send.send_request(request(server.address, "/sender")).await.unwrap();
    assert_eq!(collect(response).await, "false");
}

#[tokio::test]
async fn a_panic_is_one_requests_trouble() {
    let server = start(router(), ServeOptions::default());
    let mut client = server.connect().await;
    let answer = client.get("/panic").await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::INTERNAL_SERVER_ERROR.as_u16(), 0));
    assert_eq!(client.get("/").await.body, b"hello");
    client.send("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!client.rest().await.ends_with(b"0\r\n\r\n"), "a broken body must not look complete");
    assert_eq!(server.connect().await.get("/").await.body, b"hello");
}

#[tokio::test]
async fn uploads_arrive_in_large_and_bounded_chunks() {
    use axum::body::HttpBody as _;
    let largest = async |body: Body| {
        let (mut body, mut largest) = (body, 0);
        let mut read = async || std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        while let Some(frame) = read().await {
            largest = largest.max(frame.unwrap().into_data().map_or(0, |data| data.len()));
        }
        largest.to_string()
    };
    let router = Router::new().route("/", axum::routing::put(largest));
    let server = start(router, ServeOptions::default());
    let mut client = server.connect().await;
    let body = vec![7_u8; 64 << 20];
    client.send(&format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    tokio::io::AsyncWriteExt::write_all(&mut client.tcp, &body).await.unwrap();
    let largest: usize = String::from_utf8(client.answer().await.body).unwrap().parse().unwrap();
    // hyper reads on while the buffer is not full, into one that has twice the size at most.
    let buffer = ServeOptions::default().read_buffer.as_usize();
    assert!((buffer..=2 * buffer).contains(&largest), "largest chunk was {largest} bytes");
}

#[tokio::test]
async fn both_families_listen_on_one_port() {
    let dual = listen::bind(&["[::]:0".parse().unwrap()]).unwrap();
    let port = dual[0].local_addr().unwrap().port();
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    drop(dual);
    let both: [SocketAddr; 2] = [([0, 0, 0, 0], port).into(), format!("[::]:{port}").parse().unwrap()];
    let listeners = listen::bind(&both).unwrap();
    assert_eq!(listeners.len(), 2);
    let taken = listen::bind(&[listeners[0].local_addr().unwrap()]).unwrap_err();
    assert_eq!(taken.to_string(), format!("cannot listen on 0.0.0.0:{port}"));
}
