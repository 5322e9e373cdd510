//! A Redis that is configured and not there, or not one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_redis::{Redis, RedisConfig};
use futures_util::{FutureExt, StreamExt};

fn config(url: String) -> RedisConfig {
    RedisConfig { url, command_timeout: Duration::from_millis(100), namespace: "test".into() }
}

#[test]
fn urls_that_cannot_be_are_refused_without_telling_them() {
    for url in ["", "redis", "http://127.0.0.1:6379", "redis://:secret@", "redis+unix:///tmp/x", "unix:///tmp/x"] {
        let error = Redis::new(&config(url.into())).err().unwrap_or_else(|| panic!("{url:?} was accepted"));
        assert!(!error.to_string().contains("secret"));
    }
    for url in ["redis://127.0.0.1", "redis://:secret@redis.test:6380/3", "rediss://user:secret@redis.test"] {
        assert!(Redis::new(&config(url.into())).is_ok(), "{url}");
    }
    assert!(!format!("{:?}", config("redis://:secret@redis.test".into())).contains("secret"));
}

/// Nobody waits, and within the process all goes on.
async fn works_alone(url: String) {
    let redis = Redis::new(&config(url)).unwrap();
    let notices = redis.notices();
    let mut stream = notices.subscribe();
    let running = tokio::spawn(redis.clone().run());
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    while started.elapsed() < Duration::from_millis(700) {
        let asked = Instant::now();
        for _ in 0..100 {
            notices.publish(Notice::GarbageQueued);
        }
        assert_eq!(stream.next().now_or_never().flatten(), Some(Notice::GarbageQueued));
        while stream.next().now_or_never().is_some() {}
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(longest < Duration::from_millis(200), "{longest:?}");
    assert!(!*redis.connected().borrow());
    assert!(!redis.publish_once(&Notice::RightsChanged).await);
    running.abort();
}

#[tokio::test]
async fn nothing_listens() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    works_alone(format!("redis://{free}")).await;
}

#[tokio::test]
async fn it_accepts_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    works_alone(format!("redis://{}", listener.local_addr().unwrap())).await;
}

#[tokio::test]
async fn it_speaks_another_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    works_alone(format!("redis://{address}")).await;
}
