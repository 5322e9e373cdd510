//! Several replicas of a peer: who gets a call, and what becomes of it when a replica fails.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use entrepot_core::ErrorKind;
use entrepot_core::error::Classify;
use entrepot_core::ports::blobs::{BlobStore, WriterPosition};
use entrepot_core::{Algorithm, Page, StorageKey};
use entrepot_proto::client::{BlobStoreGrpcClient, Connection, GarbageQueueGrpcClient, Resolve};
use entrepot_runtime::shutdown::DrainConfig;
use futures_util::future::{BoxFuture, join_all};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::net::TcpListener;

use crate::replicas::{Behaviour, DEADLINE, Replica, call_until, client, closed, config, once, repeatable};

/// Names that the test decides about.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<SocketAddr>>>);

impl Names {
    fn set(&self, name: &str, replicas: &[&Replica]) {
        let addresses = replicas.iter().map(|replica| replica.address).collect();
        self.0.lock().unwrap().insert(name.to_owned(), addresses);
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let found = self.0.lock().unwrap().get(host).cloned();
        async move { found.ok_or_else(|| io::Error::other("no such name")) }.boxed()
    }
}

/// Callers that go on until they are told to stop; gives how many calls there were, and what failed.
async fn load(client: Arc<GarbageQueueGrpcClient>, stop: Arc<AtomicBool>, may_repeat: bool) -> (usize, Vec<String>) {
    let callers = (0..8).map(|_| async {
        let (mut calls, mut failures) = (0, Vec::new());
        while !stop.load(SeqCst) {
            let result = if may_repeat { repeatable(&client).await } else { once(&client).await };
            calls += 1;
            failures.extend(result.err().map(|error| format!("{error:?}")));
        }
        (calls, failures)
    });
    let all = join_all(callers).await;
    (all.iter().map(|(calls, _)| calls).sum(), all.into_iter().flat_map(|(_, failures)| failures).collect())
}

/// Calls until fifty in a row have gone elsewhere.
async fn left_alone(client: &GarbageQueueGrpcClient, replica: &Replica) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        replica.take_calls();
        for _ in 0..50 {
            repeatable(client).await.unwrap();
        }
        if replica.calls() == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "it still gets calls");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_counts_for_each_of_its_addresses_and_follows_them() {
    let [a, b, c] = std::array::from_fn(|_| Replica::start());
    let names = Arc::new(Names::default());
    names.set("index", &[&a, &b]);
    let mut config = config(["http://index:5100".parse().unwrap()]);
    config.resolver = names.clone();
    let client = client(&config);
    call_until(&client, "both get calls", || a.calls() > 0 && b.calls() > 0).await;
    assert_eq!(c.calls(), 0);

    names.set("index", &[&b, &c]);
    call_until(&client, "the new one gets calls", || c.calls() > 0).await;
    left_alone(&client, &a).await;
    // A name server that forgets us changes nothing.
    names.0.lock().unwrap().clear();
    b.take_calls();
    call_until(&client, "they are still known", || b.calls() > 50).await;
}

/// `localhost` has two addresses on most machines, of which one is listened on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_the_system_is_resolved() {
    let replica = Replica::start();
    let client = client(&config([format!("http://localhost:{}", replica.address.port()).parse().unwrap()]));
    for _ in 0..50 {
        once(&client).await.unwrap();
    }
    assert_eq!(replica.calls(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_where_fewer_are_under_way() {
    let [quick, slow] = std::array::from_fn(|_| Replica::start());
    slow.behave(Behaviour::Slowly);
    let client = Arc::new(client(&config([quick.endpoint(), slow.endpoint()])));
    call_until(&client, "both get calls", || quick.calls() > 0 && slow.calls() > 0).await;
    let _warm_up = (quick.take_calls(), slow.take_calls());
    let stop = Arc::new(AtomicBool::new(false));
    let callers = tokio::spawn(load(client, stop.clone(), true));
    crate::poll("enough calls", || quick.calls() + slow.calls() > 1000).await;
    stop.store(true, SeqCst);
    assert_eq!(callers.await.unwrap().1, Vec::<String>::new());
    assert!(quick.calls() > 2 * slow.calls(), "{} and {}", quick.calls(), slow.calls());
}

/// The first calls, before anything is known about either, and all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_cannot_be_reached_is_never_noticed() {
    let alive = Replica::start();
    let dead = format!("http://{}", closed()).parse().unwrap();
    let client = client(&config([dead, alive.endpoint()]));
    for _ in 0..200 {
        once(&client).await.unwrap();
    }
    assert_eq!(alive.calls(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_under_load_costs_no_call_that_may_be_repeated() {
    let [mut a, b] = std::array::from_fn(|_| Replica::start());
    let client = Arc::new(client(&config([a.endpoint(), b.endpoint()])));
    let stop = Arc::new(AtomicBool::new(false));
    let callers = tokio::spawn(load(client.clone(), stop.clone(), true));
    for round in 1..=3 {
        crate::poll("both get calls", || a.calls() > 100 && b.take_calls() > 0).await;
        let address = a.address;
        a.kill();
        let killed = Instant::now();
        b.take_calls();
        crate::poll("the other goes on", || b.calls() > 500).await;
        a = crate::poll_some("the port is free again", || {
            std::net::TcpListener::bind(address).ok()?;
            Some(Replica::at(address, DrainConfig::IMMEDIATE, None))
        })
        .await;
        let back = killed.elapsed();
        crate::poll("it is found again", || a.calls() > 0).await;
        assert!(killed.elapsed() < back + Duration::from_secs(3), "round {round}");
    }
    stop.store(true, SeqCst);
    let (calls, failures) = callers.await.unwrap();
    assert_eq!(failures, Vec::<String>::new(), "of {calls} calls");
}

/// Nothing may be made twice, so nothing may be lost either: a draining peer says what it did not take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_drains_costs_no_call_at_all() {
    let grace = DrainConfig { grace: Duration::from_millis(500), timeout: DEADLINE };
    for drain in [grace, DrainConfig::IMMEDIATE] {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut a = Replica::at(anywhere, drain, None);
        let b = Replica::start();
        let client = Arc::new(client(&config([a.endpoint(), b.endpoint()])));
        let stop = Arc::new(AtomicBool::new(false));
        let callers = tokio::spawn(load(client.clone(), stop.clone(), false));
        for _ in 0..3 {
            crate::poll("both get calls", || a.calls() > 100 && b.take_calls() > 0).await;
            a.drain();
            let ended = a.drain.clone();
            tokio::time::timeout(DEADLINE, ended.ended()).await.unwrap();
            let address = a.address;
            let total = a.calls();
            b.take_calls();
            crate::poll("the other goes on", || b.calls() > 500).await;
            assert_eq!(a.calls(), total);
            a.kill();
            a = crate::poll_some("the port is free again", || {
                std::net::TcpListener::bind(address).ok()?;
                Some(Replica::at(address, drain, None))
            })
            .await;
        }
        stop.store(true, SeqCst);
        let (calls, failures) = callers.await.unwrap();
        assert_eq!(failures, Vec::<String>::new(), "of {calls} calls");
    }
}

/// A peer that takes no stream but those of health checks; counts the others.
async fn refusing() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, refused) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = refused.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(tcp).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if request.uri().path().starts_with("/grpc.health.v1.Health/") {
                        let answer = http::Response::builder().header("grpc-status", "12").body(()).unwrap();
                        respond.send_response(answer, true).unwrap();
                    } else {
                        counter.fetch_add(1, SeqCst);
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                    }
                }
            });
        }
    });
    (address, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_refused_unseen_goes_elsewhere_whatever_its_method() {
    let (address, refused) = refusing().await;
    let other = Replica::start();
    let client = client(&config([format!("http://{address}").parse().unwrap(), other.endpoint()]));
    let mut calls = 0;
    while refused.load(SeqCst) < 20 {
        once(&client).await.unwrap();
        calls += 1;
    }
    assert_eq!(other.calls(), calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_not_ready_gets_calls_only_when_nobody_else_takes_them() {
    let [a, mut b] = std::array::from_fn(|_| Replica::start());
    let mut config = config([a.endpoint(), b.endpoint()]);
    config.health_interval = Duration::from_millis(20);
    let client = client(&config);
    call_until(&client, "both get calls", || a.calls() > 0 && b.calls() > 0).await;
    a.condition.not_ready("the database is gone");
    let told = Instant::now();
    left_alone(&client, &a).await;
    assert!(told.elapsed() < Duration::from_secs(1));
    // When all of them say so, a refusal by one that is there is still the best answer.
    b.condition.not_ready("the database is gone");
    let before = a.calls();
    call_until(&client, "all are asked", || a.calls() > before).await;
    b.kill();
    let before = a.calls();
    call_until(&client, "it is better than nobody", || a.calls() > before).await;
    a.condition.ready();
    // That the other is gone may be noticed only now.
    repeatable(&client).await.unwrap();
}

/// It accepts what comes and answers nothing, not even the health check: as a machine without power does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hangs_is_left_by_calls_that_may_be_repeated() {
    let alive = Replica::start();
    let pipe = crate::pipe::Pipe::to(Replica::start()).await;
    let hanging = format!("http://{}", pipe.address).parse().unwrap();
    let mut config = config([hanging, alive.endpoint()]);
    config.health_interval = Duration::from_millis(300);
    let client = Arc::new(client(&config));
    call_until(&client, "both get calls", || pipe.replica.calls() > 0 && alive.calls() > 0).await;
    pipe.stall();
    let stalled = Instant::now();
    let calls = join_all((0..8).map(|_| repeatable(&client))).await;
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    // One check is under way at most, the next one fails after an interval.
    assert!(stalled.elapsed() < Duration::from_secs(2), "{:?}", stalled.elapsed());
    let quick = Instant::now();
    for _ in 0..50 {
        once(&client).await.unwrap();
    }
    assert!(quick.elapsed() < Duration::from_secs(1), "nobody goes there any more");
    pipe.go_on();
    pipe.replica.take_calls();
    call_until(&client, "it is tried again", || pipe.replica.calls() > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_be_repeated_is_repeated_and_only_twice() {
    let replicas: [Replica; 4] = std::array::from_fn(|_| Replica::start());
    let client = client(&config(replicas.iter().map(Replica::endpoint)));
    call_until(&client, "all get calls", || replicas.iter().all(|replica| replica.calls() > 0)).await;
    let take = || replicas.iter().map(Replica::take_calls).collect::<Vec<_>>();
    let set = |behaviour| replicas.iter().for_each(|replica| replica.behave(behaviour));
    set(Behaviour::Unavailable);

    take();
    assert_eq!(once(&client).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(take().iter().sum::<usize>(), 1);
    assert_eq!(repeatable(&client).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let calls = take();
    assert_eq!(calls.iter().sum::<usize>(), 3, "two retries");
    assert!(calls.iter().all(|calls| *calls <= 1), "each elsewhere: {calls:?}");

    // The budget: ten at first, of which two are spent, and a tenth of the calls.
    for _ in 0..100 {
        repeatable(&client).await.unwrap_err();
    }
    let retries = take().iter().sum::<usize>() - 100;
    assert!((10..=20).contains(&retries), "{retries} retries");
    set(Behaviour::Answer);
    repeatable(&client).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_stops_working_when_its_caller_has_given_up() {
    let replica = Replica::start();
    replica.behave(Behaviour::Hang);
    // The peer hears of the deadline from the call itself: the connection below swallows everything afterwards.
    let pipe = crate::pipe::Pipe::to(replica).await;
    let mut config = config([format!("http://{}", pipe.address).parse().unwrap()]);
    config.deadline = Duration::from_millis(300);
    let client = client(&config);
    let call = tokio::spawn(async move { once(&client).await });
    crate::poll("the call has arrived", || pipe.replica.calls() == 1).await;
    pipe.stall();
    let mut dropped = pipe.replica.backend.dropped.subscribe();
    tokio::time::timeout(DEADLINE, dropped.wait_for(|dropped| *dropped == 1)).await.unwrap().unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(format!("{error:?}").contains("no answer within 300ms"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_waited_out_and_a_long_outage_is_told_soon_and_its_end_seen_by_the_next_call() {
    let address = closed();
    let mut config = config([format!("http://{address}").parse().unwrap()]);
    config.connect_timeout = Duration::from_millis(700);
    let client = Arc::new(client(&config));
    let early = tokio::spawn({
        let client = client.clone();
        async move { once(&client).await }
    });
    let mut replica = Replica::at(address, DrainConfig::IMMEDIATE, None);
    early.await.unwrap().unwrap();

    replica.kill();
    crate::poll_async("the outage is told", async || repeatable(&client).await.is_err()).await;
    let asked = Instant::now();
    for answer in futures_util::future::join_all((0..100).map(|_| once(&client))).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(asked.elapsed() < Duration::from_millis(700), "{:?}", asked.elapsed());
    let _again = Replica::at(address, DrainConfig::IMMEDIATE, None);
    once(&client).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_goes_to_a_replica_that_can_be_reached_and_is_read_once() {
    let alive = Replica::start();
    let dead = format!("http://{}", closed()).parse().unwrap();
    let blobs = BlobStoreGrpcClient::new(&Connection::open(&config([dead, alive.endpoint()])).unwrap());
    let read = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let counter = read.clone();
        let body = stream::iter(0..3).map(move |_| {
            counter.fetch_add(1, SeqCst);
            Ok(bytes::Bytes::from_static(b"chunk"))
        });
        let position = WriterPosition {
            key: StorageKey::random(),
            algorithm: Algorithm::Sha256,
            epoch: 1,
            offset: 0,
            state: bytes::Bytes::new(),
        };
        // The replica offers no blob store and says so, which only one that was reached can.
        let error = blobs.append(position, body.boxed()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
    }
    assert!(read.load(SeqCst) <= 60, "a body was read twice");
    assert_eq!(blobs.list(Page::default()).await.unwrap_err().kind(), ErrorKind::Internal);
}
