//! What happens when there is too much to do.

use std::io::{Read, Write};
use std::net::TcpStream;

use entrepot::testing::http::Response;
use entrepot::testing::{TestRegistry, Topology, poll};
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::{Content, ManifestBuilder, content};

use crate::support::{
    assert_blob, completing, image, noise, open_upload, push_blob, push_image, push_manifest, put_manifest,
};

const BOTH: [Topology; 2] = [Topology::Local, Topology::Grpc];

fn registry(topology: Topology, settings: &[(&str, &str)]) -> TestRegistry {
    let builder = TestRegistry::builder(topology).set("limits.queue_timeout", "50ms");
    settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value)).start()
}

/// Opens an upload, begins a chunk of 10 bytes and sends one of them.
fn stall(registry: &TestRegistry, repository: &str) -> TcpStream {
    stall_at(registry, &open_upload(registry, repository))
}

fn stall_at(registry: &TestRegistry, location: &str) -> TcpStream {
    let mut stream = registry.connect();
    write!(stream, "PATCH {location} HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n0").unwrap();
    stream
}

/// A client that reads no more than the first status line of its answers.
fn begin_reading(registry: &TestRegistry, targets: &[&str]) -> TcpStream {
    let mut stream = registry.connect();
    for target in targets {
        write!(stream, "GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[track_caller]
fn assert_limited(answer: &Response, status: u16, limit: &str) {
    let code = if status == 429 { "TOOMANYREQUESTS" } else { "UNAVAILABLE" };
    let error = answer.error(status, code);
    assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
    assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
}

/// Pushes that have begun end well while everything else is refused.
#[test]
fn work_is_refused_in_order() {
    for topology in BOTH {
        let registry = registry(topology, &[("limits.requests", "40")]);
        let (manifest, blobs) = image("under load");
        blobs.iter().for_each(|blob| drop(push_blob(&registry, "own/app", blob)));
        let (pulled, last) = (content("pulled"), content("last"));
        push_blob(&registry, "team/app", &pulled);
        let location = open_upload(&registry, "own/app");
        // Two of each tenant: with all that are here at once, in whatever order they come, a fair share is two.
        let open = |numbers: std::ops::Range<usize>| -> Vec<String> {
            numbers.map(|n| open_upload(&registry, &format!("t{}/app", n / 2))).collect()
        };
        let (first, more) = (open(0..28), open(28..33));
        let start = || registry.post("/v2/late/app/blobs/uploads/");
        let pull = || registry.get(&format!("/v2/team/app/blobs/{}", pulled.digest));
        let look = || registry.get("/v2/look/app/tags/list");

        let mut stalled: Vec<TcpStream> = first.iter().map(|location| stall_at(&registry, location)).collect();
        let refused = poll("no new pushes", || Some(start()).filter(|answer| answer.status == 503));
        assert_limited(&refused, 503, "limits.requests");
        pull().expect(200);
        look().expect(404);

        // No more uploads are opened, but those that are open go on.
        stalled.extend(more.iter().map(|location| stall_at(&registry, location)));
        let mut own = stall_at(&registry, &location);
        let refused = poll("no pulls", || Some(pull()).filter(|answer| answer.status == 503));
        assert_limited(&refused, 503, "limits.requests");
        look().expect(404);
        put_manifest(&registry, "own/app", "v1", &manifest).expect(201);
        own.write_all(b"123456789").unwrap();
        let mut answer = [0; 12];
        own.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 202");
        registry.call("PUT", &completing(&location, &content("0123456789").digest)).send().expect(201);

        for stream in &mut stalled {
            stream.write_all(b"123456789").unwrap();
        }
        poll("room again", || Some(start()).filter(|answer| answer.status == 202));
        push_blob(&registry, "team/app", &last);
        assert_blob(&registry, "team/app", &last.digest, &last.bytes);
    }
}

/// A manifest of megabytes that its reader does not take is as much in memory as a blob.
#[test]
fn large_manifests_are_bytes_in_flight() {
    for topology in BOTH {
        let registry = registry(topology, &[("limits.bytes_in_flight", "6MiB")]);
        let (_, blobs) = image("large");
        blobs.iter().for_each(|blob| drop(push_blob(&registry, "team/app", blob)));
        let large = ManifestBuilder::image(&blobs[0], &blobs[1..]).annotation("fill", &"x".repeat(4_000_000)).build();
        push_manifest(&registry, "team/app", "large", &large);
        push_image(&registry, "team/app", "small", "small");
        let get = |tag: &str| registry.get(&format!("/v2/team/app/manifests/{tag}"));
        assert_eq!(get("large").expect(200).body, large.payload);

        // More of them one after the other than there is room for in the kernel.
        let slow = begin_reading(&registry, &["/v2/team/app/manifests/large"; 8]);
        let refused = poll("no more bytes", || Some(get("large")).filter(|answer| answer.status == 503));
        assert_limited(&refused, 503, "limits.bytes_in_flight");
        get("small").expect(200);
        registry.head("/v2/team/app/manifests/large").expect(200);
        drop(slow);
        poll("room again", || Some(get("large")).filter(|answer| answer.status == 200));
    }
}

/// Ranges out of order are kept in memory until they have been sent.
#[test]
fn ranges_are_charged_by_what_they_keep() {
    let registry = registry(Topology::Grpc, &[("limits.bytes_in_flight", "2MiB")]);
    let bytes = noise(32 << 20);
    let blob = Content { digest: Digest::of(Algorithm::Sha256, &bytes), bytes };
    push_blob(&registry, "team/app", &blob);
    let target = format!("/v2/team/app/blobs/{}", blob.digest);
    let get = |range: &str| registry.call("GET", &target).header("range", range).send();
    let backwards = "bytes=900000-999999,500000-899999,0-499999,9900000-9999999,9500000-9899999,9000000-9499999";
    get(backwards).expect(206);

    let _slow = begin_reading(&registry, &[&target]);
    let refused = poll("no more bytes", || Some(get(backwards)).filter(|answer| answer.status == 503));
    assert_limited(&refused, 503, "limits.bytes_in_flight");
    get("bytes=0-499999,500000-899999,900000-999999").expect(206);
    get("bytes=900000-999999").expect(206);
}

#[test]
fn a_tenant_reaches_its_limit_alone() {
    for topology in BOTH {
        let registry = registry(topology, &[("limits.tenant_requests", "2")]);
        let _stalled = [stall(&registry, "busy/a"), stall(&registry, "busy/b")];
        let look = || registry.get("/v2/busy/c/tags/list");
        let refused = poll("the tenant to be busy", || Some(look()).filter(|answer| answer.status == 429));
        assert_limited(&refused, 429, "tenant busy is at its limit of requests in flight (limits.tenant_requests)");
        registry.get("/v2/calm/app/tags/list").expect(404);
        registry.get("/v2/").expect(200);
    }
}

#[test]
fn a_request_waits_for_its_turn() {
    for topology in BOTH {
        let registry = registry(topology, &[("limits.tenant_requests", "1"), ("limits.queue_timeout", "10s")]);
        let mut stalled = stall(&registry, "busy/a");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| registry.get("/v2/busy/c/tags/list").expect(404));
            stalled.write_all(b"123456789").unwrap();
            waits.join().unwrap();
        });
    }
}

/// The token endpoint is a way in, too.
#[test]
fn tokens_are_look_ups() {
    for topology in BOTH {
        let registry = registry(topology, &[("limits.requests", "4")]);
        registry.get("/token?service=entrepot").expect(200);
        let locations: Vec<String> = (0..3).map(|n| open_upload(&registry, &format!("t{n}/app"))).collect();
        let _stalled: Vec<TcpStream> = locations.iter().map(|location| stall_at(&registry, location)).collect();
        let token = || registry.get("/token?service=entrepot");
        let refused = poll("no tokens", || Some(token()).filter(|answer| answer.status == 503));
        assert_limited(&refused, 503, "limits.requests");
    }
}

#[test]
fn a_rate_is_spent_by_its_tenant_and_not_by_pushes_under_way() {
    for topology in BOTH {
        let settings = [("limits.tenant_requests_per_second", "1"), ("limits.burst", "5s")];
        let registry = registry(topology, &settings);
        let upload = open_upload(&registry, "team/app");
        let look = || registry.get("/v2/team/app/tags/list");
        let refused = poll("the rate to be spent", || Some(look()).filter(|answer| answer.status == 429));
        assert_limited(&refused, 429, "tenant/team/requests: 1 a second (limits.tenant_requests_per_second)");
        registry.get("/v2/other/app/tags/list").expect(404);
        for _ in 0..10 {
            registry.get(&upload).expect(204);
        }
        registry.call("PUT", &completing(&upload, &content("all").digest)).body("all").send().expect(201);
        poll("the rate to come back", || Some(look()).filter(|answer| answer.status == 200 || answer.status == 404));
    }
}

#[test]
fn bytes_have_a_rate() {
    for topology in BOTH {
        let settings = [("limits.tenant_bytes_per_second", "1000"), ("limits.burst", "1s")];
        let registry = registry(topology, &settings);
        let blob = content(&"x".repeat(600));
        push_blob(&registry, "team/app", &blob);
        let pull = || registry.get(&format!("/v2/team/app/blobs/{}", blob.digest));
        let refused = poll("the rate to be spent", || Some(pull()).filter(|answer| answer.status == 429));
        assert_limited(&refused, 429, "tenant/team/bytes: 1000 a second (limits.tenant_bytes_per_second)");
        registry.head(&format!("/v2/team/app/blobs/{}", blob.digest)).expect(200);
        // Larger than a second's worth, and served all the same.
        let large = content(&"y".repeat(5000));
        push_blob(&registry, "big/app", &large);
        assert_blob(&registry, "big/app", &large.digest, &large.bytes);
    }
}

#[test]
fn nobody_spends_the_rate_of_others_from_outside() {
    for topology in BOTH {
        let settings = [("auth.mode", "managed"), ("limits.tenant_requests_per_second", "1"), ("limits.burst", "3s")];
        let registry = registry(topology, &settings);
        registry.add_user("alice", "correct horse battery", &[("team/*", "pull,push")]);
        let token = registry.token(Some(("alice", "correct horse battery")), &["repository:team/app:pull"]);
        for _ in 0..20 {
            registry.get("/v2/team/app/tags/list").expect(401);
        }
        registry.call("GET", "/v2/team/app/tags/list").bearer(&token).send().expect(404);
    }
}

/// Guesses count by the address of the client, which only a trusted proxy can tell.
#[test]
fn a_forged_address_hides_nobody() {
    for (proxies, hides) in [("192.0.2.0/24", false), ("127.0.0.0/8", true)] {
        for topology in BOTH {
            let registry = registry(topology, &[("auth.mode", "managed"), ("http.trusted_proxies", proxies)]);
            registry.add_user("alice", "correct horse battery", &[("team/*", "pull")]);
            let login = |address: &str, password: &str| {
                registry.call("GET", "/v2/").header("x-forwarded-for", address).basic("alice", password).send()
            };
            let locked = (0..30).any(|_| login("127.0.0.1, 203.0.113.9", "guessed wrong").status == 429);
            assert!(locked, "a limit on guesses");
            let elsewhere = login("203.0.113.9, 203.0.113.10", "correct horse battery");
            assert_eq!(elsewhere.status, if hides { 200 } else { 429 }, "{proxies}");
        }
    }
}
