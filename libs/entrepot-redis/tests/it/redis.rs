//! Over the Redis at `$ENTREPOT_TEST_REDIS`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use entrepot_core::ports::budget::{BudgetName, BudgetUnit, Limit, RateBudget};
use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_redis::{Redis, RedisConfig};
use entrepot_testkit::contract::notices::{self, NoticePorts};
use entrepot_testkit::proxy::{Mode, Proxy};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn address() -> SocketAddr {
    let url = std::env::var("ENTREPOT_TEST_REDIS").expect("ENTREPOT_TEST_REDIS is the URL of a Redis for tests");
    url.strip_prefix("redis://").and_then(|address| address.parse().ok()).expect("redis://ADDRESS:PORT")
}

/// A name that no other test has.
fn namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst))
}

fn start(address: SocketAddr, namespace: &str) -> Redis {
    let config = RedisConfig {
        url: format!("redis://{address}"),
        command_timeout: Duration::from_millis(200),
        namespace: namespace.to_owned(),
    };
    let redis = Redis::new(&config).unwrap();
    tokio::spawn(redis.clone().run());
    redis
}

async fn until(redis: &Redis, connected: bool) {
    let mut state = redis.connected();
    timeout(PATIENCE, state.wait_for(|now| *now == connected))
        .await
        .unwrap_or_else(|_| panic!("never {connected}"))
        .unwrap();
}

async fn next(stream: &mut BoxStream<'static, Notice>) -> Notice {
    timeout(PATIENCE, stream.next()).await.expect("a notice").unwrap()
}

async fn fresh() -> NoticePorts {
    let namespace = namespace();
    let (one, other) = (start(address(), &namespace), start(address(), &namespace));
    until(&one, true).await;
    until(&other, true).await;
    NoticePorts {
        one: one.notices(),
        other: other.notices(),
        patience: Arc::new(|| Box::pin(tokio::time::sleep(PATIENCE))),
    }
}

#[tokio::test]
async fn contract() {
    notices::all(fresh).await;
}

#[tokio::test]
async fn registries_that_share_a_redis_hear_nothing_of_each_other() {
    let (one, other) = (start(address(), &namespace()), start(address(), &namespace()));
    until(&one, true).await;
    until(&other, true).await;
    let mut stream = other.notices().subscribe();
    one.notices().publish(Notice::RightsChanged);
    other.notices().publish(Notice::GarbageQueued);
    assert_eq!(next(&mut stream).await, Notice::GarbageQueued);
    assert!(timeout(Duration::from_millis(200), stream.next()).await.is_err());
}

/// However the connection ends, it comes back, and whoever listened knows that something may have gone by.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_replaced_and_told_of() {
    let proxy = Proxy::start(address());
    let namespace = namespace();
    let (one, other) = (start(proxy.address(), &namespace), start(address(), &namespace));
    until(&one, true).await;
    until(&other, true).await;
    let mut stream = one.notices().subscribe();
    for how in ["cut", "refused", "stalled"] {
        match how {
            "cut" => proxy.cut(),
            "refused" => proxy.set(Mode::Refuse),
            _ => proxy.set(Mode::Stall),
        }
        if how != "cut" {
            until(&one, false).await;
        }
        let published = Instant::now();
        one.notices().publish(Notice::GarbageQueued);
        assert!(published.elapsed() < Duration::from_millis(50), "{how}: a caller waited");
        other.notices().publish(Notice::RightsChanged);
        proxy.set(Mode::Pass);
        until(&one, true).await;
        let mut heard = Vec::new();
        while !heard.contains(&Notice::Missed) {
            heard.push(next(&mut stream).await);
        }
        // It works again, both ways.
        let mut others = other.notices().subscribe();
        one.notices().publish(Notice::RightsChanged);
        while next(&mut others).await != Notice::RightsChanged {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_is_noticed_by_nobody() {
    let namespace = namespace();
    let (one, other) = (start(address(), &namespace), start(address(), &namespace));
    until(&one, true).await;
    until(&other, true).await;
    let mut stream = other.notices().subscribe();
    for _ in 0..20 {
        flush();
        one.notices().publish(Notice::GarbageQueued);
        assert_eq!(next(&mut stream).await, Notice::GarbageQueued);
    }
}

fn flush() {
    let mut stream = TcpStream::connect(address()).unwrap();
    stream.write_all(b"FLUSHALL\r\n").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
}

#[tokio::test]
async fn one_message_without_a_standing_connection() {
    let namespace = namespace();
    let listener = start(address(), &namespace);
    until(&listener, true).await;
    let mut stream = listener.notices().subscribe();
    let config =
        RedisConfig { url: format!("redis://{}", address()), command_timeout: Duration::from_millis(200), namespace };
    assert!(Redis::new(&config).unwrap().publish_once(&Notice::RightsChanged).await);
    assert_eq!(next(&mut stream).await, Notice::RightsChanged);
}

/// What the processes of a fleet may do together is what one may do alone, and without Redis none is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_shared_and_outlive_redis() {
    let proxy = Proxy::start(address());
    let namespace = namespace();
    let (one, other) = (start(proxy.address(), &namespace), start(proxy.address(), &namespace));
    until(&one, true).await;
    until(&other, true).await;
    let limit = Limit::new(1, 1_000);
    let name = |of: &str| BudgetName::of_tenant(&of.parse().unwrap(), BudgetUnit::Requests);
    // As long as the merges that it takes to meet, and then to hear; on a busy machine perhaps not the first time.
    let merges = || tokio::time::sleep(Duration::from_millis(600));
    let shared = async {
        for attempt in 0.. {
            let name = name(&format!("team{attempt}"));
            for redis in [&one, &other] {
                redis.budgets().take(&name, limit, 1).await.unwrap();
            }
            merges().await;
            one.budgets().take(&name, limit, 900).await.unwrap();
            merges().await;
            if other.budgets().take(&name, limit, 500).await.is_err() {
                break;
            }
        }
    };
    timeout(PATIENCE, shared).await.unwrap();
    proxy.set(Mode::Refuse);
    until(&one, false).await;
    let asked = Instant::now();
    let fresh = name("other");
    for redis in [&one, &other] {
        redis.budgets().take(&fresh, limit, 1_000).await.unwrap();
        redis.budgets().take(&fresh, limit, 1_000).await.unwrap_err();
    }
    assert!(asked.elapsed() < Duration::from_millis(50));
}
