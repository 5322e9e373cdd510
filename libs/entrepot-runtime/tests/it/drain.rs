use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use entrepot_runtime::{
    serve::ServeOptions,
    shutdown::{Drain, DrainConfig, Drained, Signals},
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use crate::support::{DEADLINE, TestServer, collect, connect_h2, eventually, request, start_with};

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
    (start_with(router, ServeOptions { h2_leave_early: true, ..ServeOptions::default() }, drain, None), gate)
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

/// GOAWAY ends a connection after the requests that are on it, before the listeners close.
#[tokio::test]
async fn while_draining_http2_clients_are_sent_elsewhere() {
    let config = DrainConfig { grace: DEADLINE * 10, timeout: DEADLINE };
    let (server, gate) = gated(config);
    let (mut send, connection) = server.connect_h2().await;
    let waits = tokio::spawn(send.send_request(request(server.address, "/wait")));
    gate.begun.acquire().await.unwrap().forget();
    let (silent, silent_connection) = server.connect_h2().await;

    server.drain.start();
    let mut another = send.clone();
    let path = request(server.address, "/");
    eventually("no new streams", async || another.send_request(path.clone()).await.is_err()).await;
    gate.open.add_permits(1);
    assert_eq!(collect(timeout(DEADLINE, waits).await.unwrap().unwrap().unwrap()).await, "done");
    timeout(DEADLINE, connection).await.unwrap().unwrap().unwrap();

    // Where nothing was asked yet there is an answer first, however late the client comes.
    let (late, late_connection) = server.connect_h2().await;
    for (mut send, connection) in [(silent, silent_connection), (late, late_connection)] {
        assert_eq!(collect(send.send_request(request(server.address, "/")).await.unwrap()).await, "hello");
        timeout(DEADLINE, connection).await.unwrap().unwrap().unwrap();
    }
}

/// A client that opens a connection when the last one has gone away, as all do, loses nothing.
#[tokio::test]
async fn no_request_is_cut_by_going_away() {
    let config = DrainConfig { grace: DEADLINE * 10, timeout: DEADLINE };
    let (server, _gate) = gated(config);
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(asks(server.address, Arc::clone(&answered)))).collect();
    let mut connections = Vec::new();
    eventually("a load", async || answered.load(Ordering::Relaxed) > 100).await;
    server.drain.start();
    for client in clients {
        connections.push(timeout(DEADLINE, client).await.unwrap().unwrap());
    }
    assert!(connections.iter().all(|number| *number > 1), "nobody was sent away: {connections:?}");
}

/// Asks 200 times; gives the number of connections it took.
async fn asks(address: SocketAddr, answered: Arc<AtomicUsize>) -> u32 {
    let (mut connections, mut connection) = (0, None);
    for _ in 0..200 {
        loop {
            if connection.is_none() {
                connection = Some(connect_h2(address).await.0);
                connections += 1;
            }
            let mut send = connection.clone().unwrap();
            match send.try_send_request(request(address, "/")).await {
                Ok(answer) => {
                    assert_eq!(collect(answer).await, "hello");
                    answered.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(mut unsent) => {
                    assert!(unsent.take_message().is_some(), "cut: {unsent:?}");
                    connection = None;
                }
            }
        }
    }
    connections
}

/// A caller that asks each replica for its health knows which to leave, and may have no other.
#[tokio::test]
async fn others_keep_their_http2_connection_until_listeners_close() {
    let config = DrainConfig { grace: DEADLINE * 10, timeout: DEADLINE };
    let router = Router::new().route("/", get(|| async { "hello" }));
    let server = start_with(router, ServeOptions::default(), config, None);
    let (mut send, _connection) = server.connect_h2().await;
    server.drain.start();
    for _ in 0..20 {
        assert_eq!(collect(send.send_request(request(server.address, "/")).await.unwrap()).await, "hello");
    }
}
