//! Several gateways with a real Redis, at `$ENTREPOT_TEST_REDIS`, that fails in every way it can.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use entrepot::testing::{TestGateways, TestRegistry, poll};
use entrepot_testkit::builders::content;
use entrepot_testkit::proxy::{Mode, Proxy};

use crate::support::{push_blob, push_image, push_manifest};

/// Far below the five seconds that it takes without Redis.
const AT_ONCE: Duration = Duration::from_secs(1);
const PASSWORD: &str = "correct horse battery";

fn address() -> SocketAddr {
    let url = std::env::var("ENTREPOT_TEST_REDIS").expect("ENTREPOT_TEST_REDIS is the URL of a Redis for tests");
    url.strip_prefix("redis://").and_then(|address| address.parse().ok()).expect("redis://ADDRESS:PORT")
}

/// A fleet whose processes reach Redis through `proxy`, under a name that no other test has.
fn fleet(mode: &str, proxy: &Proxy, name: &str) -> TestGateways {
    let url = format!("redis://{}", proxy.address());
    let service = format!("{name}-{}", std::process::id());
    TestGateways::start(mode, &[("redis.url", url.as_str()), ("auth.service", service.as_str())])
}

/// Two gateways that are connected: each has a connection through the proxy.
fn gateways(fleet: &TestGateways, proxy: &Proxy) -> (TestRegistry, TestRegistry) {
    let before = proxy.accepted();
    let pair = (fleet.gateway(), fleet.gateway());
    poll("both gateways to connect to Redis", || (proxy.accepted() >= before + 2).then_some(()));
    pair
}

#[test]
fn a_deletion_counts_elsewhere_at_once() {
    let proxy = Proxy::start(address());
    let fleet = fleet("open", &proxy, "deletion");
    let (one, other) = gateways(&fleet, &proxy);
    // Notices before the subscription works are lost: one that arrives shows that it does.
    poll("notices to arrive", || {
        let probe = content("probe");
        push_blob(&one, "app", &probe);
        let target = format!("/v2/app/blobs/{}", probe.digest);
        other.get(&target).expect(200);
        one.delete(&target).expect(202);
        let deleted = Instant::now();
        while other.get(&target).status != 404 {
            if deleted.elapsed() > AT_ONCE {
                return None;
            }
        }
        Some(())
    });
    let manifest = push_image(&one, "app", "v1", "image");
    let target = format!("/v2/app/manifests/{}", manifest.digest);
    other.get(&target).expect(200);
    one.delete(&target).expect(202);
    let deleted = Instant::now();
    while other.get(&target).status != 404 {
        assert!(deleted.elapsed() < AT_ONCE, "the deletion was not told of");
    }
}

#[test]
fn a_change_of_rights_counts_at_once() {
    let proxy = Proxy::start(address());
    let fleet = fleet("managed", &proxy, "rights");
    let (one, other) = gateways(&fleet, &proxy);
    let service = format!("rights-{}", std::process::id());
    let token = |gateway: &TestRegistry| {
        let target = format!("/token?service={service}&scope=repository:team/app:pull");
        let answer = gateway.call("GET", &target).basic("alice", PASSWORD).send().expect(200).json();
        answer["token"].as_str().unwrap().to_owned()
    };
    fleet.admin(async |admin| admin.add_user("alice", PASSWORD).await.unwrap());
    poll("a change to count at once", || {
        fleet.admin(async |admin| admin.grant("alice", "team/*", "pull").await.unwrap());
        let old = token(&one);
        let list = |gateway: &TestRegistry| gateway.call("GET", "/v2/").bearer(&old).send().status;
        poll("the token to be good", || (list(&one) == 200 && list(&other) == 200).then_some(()));
        fleet.admin(async |admin| {
            admin.revoke("alice", "team/*").await.unwrap();
            publish_rights(&service).await;
        });
        let changed = Instant::now();
        while list(&one) != 401 || list(&other) != 401 {
            if changed.elapsed() > AT_ONCE / 2 {
                return None;
            }
        }
        Some(())
    });
}

async fn publish_rights(service: &str) {
    let config = entrepot_redis::RedisConfig {
        url: format!("redis://{}", address()),
        command_timeout: Duration::from_millis(500),
        namespace: service.to_owned(),
    };
    let redis = entrepot_redis::Redis::new(&config).unwrap();
    assert!(redis.publish_once(&entrepot_core::ports::notices::Notice::RightsChanged).await);
}

/// Redis is killed, comes back, stalls and is flushed, all the time; nobody gets a wrong answer, or none.
#[test]
fn a_redis_that_fails_in_every_way_costs_no_answer() {
    let proxy = Proxy::start(address());
    let fleet = fleet("open", &proxy, "faults");
    let (one, other) = gateways(&fleet, &proxy);
    let images: Vec<_> = (0..2).map(|n| push_image(&one, "app", "seed", &format!("image {n}"))).collect();
    let done = AtomicBool::new(false);
    let waits = std::thread::scope(|scope| {
        let faults = scope.spawn(|| {
            for round in 0..12 {
                match round % 4 {
                    0 => proxy.set(Mode::Refuse),
                    1 => proxy.set(Mode::Stall),
                    2 => proxy.cut(),
                    _ => flush(),
                }
                std::thread::park_timeout(Duration::from_millis(250));
                proxy.set(Mode::Pass);
                std::thread::park_timeout(Duration::from_millis(150));
            }
            done.store(true, SeqCst);
        });
        let mut waits = Vec::new();
        let mut round = 0;
        while !done.load(SeqCst) {
            let (writer, reader) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
            let manifest = &images[round % images.len()];
            push_manifest(writer, "app", "moving", manifest);
            for _ in 0..5 {
                for target in ["/v2/app/manifests/moving".to_owned(), format!("/v2/app/manifests/{}", manifest.digest)]
                {
                    let asked = Instant::now();
                    assert_eq!(reader.get(&target).expect(200).body, manifest.payload);
                    waits.push(asked.elapsed());
                }
            }
            let blob = content(&format!("blob {round}"));
            push_blob(writer, "app", &blob);
            let target = format!("/v2/app/blobs/{}", blob.digest);
            assert_eq!(reader.get(&target).expect(200).body, blob.bytes);
            writer.delete(&target).expect(202);
            reader.head(&target).expect(404);
            round += 1;
        }
        faults.join().unwrap();
        waits
    });
    // A command's time alone is 100 ms: nobody waited for one. A few may have met a busy machine.
    let slow = waits.iter().filter(|wait| **wait > Duration::from_millis(90)).count();
    assert!(waits.len() > 100 && slow * 100 <= waits.len(), "{slow} of {} waited", waits.len());
}

fn flush() {
    let mut stream = TcpStream::connect(address()).unwrap();
    stream.write_all(b"FLUSHALL\r\n").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
}
