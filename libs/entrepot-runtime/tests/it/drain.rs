use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use entrepot_runtime::{
    serve::ServeOptions,
    shutdown::{Drain, DrainConfig, Drained, Signals},
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use crate::support::{DEADLINE, TestServer, collect, eventually, request, start_with};

/// A handler that says it has begun and waits to be let go.
#[derive(Clone)]
struct Gate {
    begun: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

fn gated(drain: DrainConfig) -> (TestServer, Gate) {
    let gate = Gate { begun: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) };
    let wait = async |State(gate): State<Gate>| {
        gate.begun.add_permits(1);
        gate.open.acquire().await.unwrap().forget();
        "done"
    };
    let router = Router::new().route("/", get(|| async { "hello" })).route("/wait", get(wait)).with_state(gate.clone());
    (start_with(router, ServeOptions::default(), drain, None), gate)
}

#[tokio::test]
async fn requests_in_flight_finish_and_nothing_on_its_way_is_lost() {
    let (server, gate) = gated(DrainConfig::IMMEDIATE);
    let mut idle = server.connect().await;
    idle.get("/").await;
    let mut idle_to_the_end = server.connect().await;
    idle_to_the_end.get("/").await;
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.begun.acquire().await.unwrap().forget();

    server.drain.start();
    let drain = server.drain.clone();
    let drive = tokio::spawn(async move { drain.drive().await });
    assert_eq!(silent.rest().await, b"");
    eventually("the listener is closed", async || TcpStream::connect(server.address).await.is_err()).await;
    let last = idle.get("/").await;
    assert!(last.head.contains("connection: close"), "{}", last.head);
    assert_eq!(idle.rest().await, b"");
    assert!(!drive.is_finished());

    gate.open.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!(answer.body, b"done");
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert_eq!(busy.rest().await, b"");
    assert_eq!(timeout(DEADLINE, drive).await.unwrap().unwrap(), Drained::Clean);
    assert_eq!(idle_to_the_end.rest().await, b"");
    timeout(DEADLINE, server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn http2_streams_in_flight_finish_before_the_connection_goes_away() {
    let (server, gate) = gated(DrainConfig::IMMEDIATE);
    let (mut send, connection) = server.connect_h2().await;
    let response = tokio::spawn(send.send_request(request(server.address, "/wait")));
    gate.begun.acquire().await.unwrap().forget();
    server.drain.start();
    let drain = server.drain.clone();
    let drive = tokio::spawn(async move { drain.drive().await });
    let mut another = send.clone();
    let path = request(server.address, "/");
    eventually("new streams are refused", async || another.send_request(path.clone()).await.is_err()).await;
    gate.open.add_permits(1);
    assert_eq!(collect(timeout(DEADLINE, response).await.unwrap().unwrap().unwrap()).await, "done");
    timeout(DEADLINE, connection).await.unwrap().unwrap().unwrap();
    assert_eq!(timeout(DEADLINE, drive).await.unwrap().unwrap(), Drained::Clean);
}

#[tokio::test]
async fn the_drain_timeout_cuts_what_does_not_finish() {
    let config = DrainConfig { grace: Duration::ZERO, timeout: Duration::from_millis(100) };
    let (server, gate) = gated(config);
    let mut busy = server.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.begun.acquire().await.unwrap().forget();
    server.drain.start();
    assert_eq!(timeout(DEADLINE, server.drain.drive()).await.unwrap(), Drained::TimedOut { held: 1 });
    assert_eq!(busy.rest().await, b"");
    timeout(DEADLINE, server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_are_accepted_during_the_grace_period() {
    let config = DrainConfig { grace: DEADLINE, timeout: DEADLINE };
    let (server, _gate) = gated(config);
    server.drain.start();
    let drain = server.drain.clone();
    let drive = tokio::spawn(async move { drain.drive().await });
    timeout(DEADLINE, server.drain.draining()).await.unwrap();
    assert!(server.drain.is_draining());
    assert_eq!(server.connect().await.get("/").await.body, b"hello");
    drive.abort();
}

#[tokio::test]
async fn a_termination_signal_starts_the_drain() {
    let drain = Drain::new(DrainConfig::IMMEDIATE);
    let signals = Signals::install().unwrap();
    let watch = tokio::spawn(signals.watch(drain.clone()));
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    timeout(DEADLINE, drain.draining()).await.unwrap();
    watch.abort();
}

/// A client that keeps its connection would meet a closed one at the end of the grace period.
#[tokio::test]
async fn while_draining_each_answer_sends_its_client_elsewhere() {
    let config = DrainConfig { grace: DEADLINE, timeout: DEADLINE };
    let (server, gate) = gated(config);
    let mut kept = server.connect().await;
    assert!(!kept.get("/").await.head.contains("connection: close"));
    let mut busy = server.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.begun.acquire().await.unwrap().forget();

    server.drain.start();
    assert!(kept.get("/").await.head.contains("connection: close"));
    assert_eq!(kept.rest().await, b"");
    gate.open.add_permits(1);
    assert!(busy.answer().await.head.contains("connection: close"), "also one that began before");
    let (mut send, _connection) = server.connect_h2().await;
    let answer = send.send_request(request(server.address, "/")).await.unwrap();
    assert!(!answer.headers().contains_key("connection"), "HTTP/2 knows no such header");
    assert_eq!(collect(answer).await, "hello");
}
