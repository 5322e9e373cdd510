//! Blobs that the client fetches from the storage itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use entrepot::testing::http::Response;
use entrepot::testing::{TestRegistry, Topology, poll};
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::Content;

use crate::support::{noise, push_blob};

const SIZE: usize = 300_000;

fn registry(topology: Topology, settings: &[(&str, &str)]) -> (TestRegistry, Content, String) {
    // Elsewhere than the registry, where clients do not send their credentials along.
    let builder = TestRegistry::builder(topology).set("internal.data_listen", "127.0.0.2:0");
    let registry = settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value)).start();
    let bytes = noise(SIZE);
    let blob = Content { digest: Digest::of(Algorithm::Sha256, &bytes), bytes };
    push_blob(&registry, "app", &blob);
    let target = format!("/v2/app/blobs/{}", blob.digest);
    (registry, blob, target)
}

fn part(registry: &TestRegistry, target: &str, range: &str) -> Response {
    registry.call("GET", target).header("range", range).send()
}

/// Follows a redirect as a client does; gives status and body.
fn follow(url: &str, range: Option<&str>) -> (u16, Vec<u8>) {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\n{range}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(head + 4))
}

#[test]
fn p36_nobody_is_sent_to_an_internal_address_by_default() {
    for topology in [Topology::Local, Topology::Grpc] {
        // Wherever the client is, or says it is.
        for settings in [&[][..], &[("http.trusted_proxies", "127.0.0.0/8")]] {
            let (registry, blob, target) = registry(topology, settings);
            let call = registry.call("GET", &target).header("x-forwarded-for", "203.0.113.9");
            assert_eq!(call.send().expect(200).body, blob.bytes);
        }
    }
}

#[test]
fn p35_a_redirect_leads_to_the_bytes() {
    let (registry, blob, target) = registry(Topology::Grpc, &[("pull.redirect", "always")]);
    let answer = registry.get(&target).expect(307);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("docker-content-digest"), blob.digest.to_string());
    assert_eq!(answer.header("content-length"), "0");
    assert_eq!(answer.header("cache-control"), "private, no-store", "it would outlive the URL");
    let url = answer.header("location");
    assert_eq!(follow(url, None), (200, blob.bytes.to_vec()));
    assert_eq!(follow(url, Some("bytes=5-9")), (206, blob.bytes[5..10].to_vec()));

    let answer = part(&registry, &target, "bytes=100000-").expect(307);
    assert_eq!(follow(answer.header("location"), Some("bytes=100000-")), (206, blob.bytes[100_000..].to_vec()));
}

#[test]
fn p35_what_a_redirect_would_break_is_answered_here() {
    let (registry, blob, target) = registry(Topology::Grpc, &[("pull.redirect", "always")]);
    let head = registry.head(&target).expect(200);
    assert_eq!((head.header("content-length"), head.find("location")), ("300000", None));
    for (range, start, end) in [("bytes=0-0", 0, 1), ("bytes=0-1", 0, 2), ("bytes=-8", SIZE - 8, SIZE)] {
        assert_eq!(part(&registry, &target, range).expect(206).body, blob.bytes.slice(start..end), "{range}");
    }
    let parts = part(&registry, &target, "bytes=0-99999,200000-299999").expect(206);
    assert!(parts.header("content-type").starts_with("multipart/byteranges"));
    // The storage would get both ranges, whichever of them the blob has.
    let one = part(&registry, &target, "bytes=0-99999,99999999999-").expect(206);
    assert_eq!(one.body, blob.bytes.slice(..100_000));
    let too_many = format!("bytes={}", vec!["0-0"; 2000].join(","));
    for ignored in [&too_many, "bytes=0-,0-", "bytes=0-99999,nonsense", "lines=0-1"] {
        assert_eq!(part(&registry, &target, ignored).expect(200).body, blob.bytes);
    }
    let conditional =
        |etag: &str| registry.call("GET", &target).header("range", "bytes=0-99999").header("if-range", etag).send();
    assert_eq!(conditional("\"other\"").expect(200).body, blob.bytes);
    conditional(&format!("\"{}\"", blob.digest)).expect(206);
    part(&registry, &target, "bytes=300000-").error(416, "SIZE_INVALID");
    let etag = format!("\"{}\"", blob.digest);
    registry.call("GET", &target).header("if-none-match", etag).send().expect(304);
    registry.get(&format!("/v2/other/blobs/{}", blob.digest)).error(404, "BLOB_UNKNOWN");
    // A file on this machine is nowhere else.
    let (registry, blob, target) = self::registry(Topology::Local, &[("pull.redirect", "always")]);
    assert_eq!(registry.get(&target).expect(200).body, blob.bytes);
}

/// Clients in Go keep `Authorization` on a redirect to the same host or one below it.
#[test]
fn nobody_is_sent_where_a_token_goes_along() {
    let settings = [("pull.redirect", "always"), ("http.public_url", "http://registry.example.com")];
    let (registry, blob, target) = registry(Topology::Grpc, &settings);
    for (host, status) in [("registry.example.com", 307), ("127.0.0.2", 200), ("127.0.0.2:5000", 200), ("0.0.2", 200)] {
        let answer = registry.call("GET", &target).header("host", host).send().expect(status);
        assert_eq!(answer.body.len(), if status == 200 { blob.bytes.len() } else { 0 }, "{host}");
    }
    let settings = [("pull.redirect", "always"), ("http.public_url", "http://127.0.0.2:5000")];
    let (registry, blob, target) = self::registry(Topology::Grpc, &settings);
    let answer = registry.call("GET", &target).header("host", "gateway.cluster").send();
    assert_eq!(answer.expect(200).body, blob.bytes, "it may know the registry by its public name");
    // A proxy ends TLS, and clients would leave it for plain HTTP.
    let settings = [("pull.redirect", "always"), ("http.public_url", "https://registry.example.com")];
    let (registry, blob, target) = self::registry(Topology::Grpc, &settings);
    assert_eq!(registry.get(&target).expect(200).body, blob.bytes);
}

#[test]
fn a_url_past_its_time_is_refused_and_the_gateway_gets_a_new_one() {
    let settings = [("pull.redirect", "always"), ("internal.data_url_lifetime", "1s")];
    let (registry, blob, target) = registry(Topology::Grpc, &settings);
    let url = registry.get(&target).expect(307).header("location").to_owned();
    poll("the URL to expire", || (follow(&url, None).0 == 403).then_some(()));
    assert_eq!(part(&registry, &target, "bytes=7-9").expect(206).body, blob.bytes.slice(7..10));
    poll("a fresh URL", || (follow(registry.get(&target).header("location"), None).0 == 200).then_some(()));
}

#[test]
fn policies_never_and_the_least_size() {
    let (registry, blob, target) = registry(Topology::Grpc, &[("pull.redirect", "never")]);
    assert_eq!(registry.get(&target).expect(200).body, blob.bytes);
    let (registry, ..) =
        self::registry(Topology::Grpc, &[("pull.redirect", "always"), ("pull.redirect_min", "300001")]);
    registry.get(&target).expect(200);
}

/// Bytes that are gone are a 404, not a broken answer, whatever the gateway remembers of them.
#[test]
fn r14_a_location_that_leads_nowhere_is_looked_up_again() {
    let (registry, _, target) = registry(Topology::Grpc, &[]);
    registry.get(&target).expect(200);
    for (path, _) in registry.stored_files() {
        std::fs::remove_file(registry.data_dir().join("blobs").join(path)).unwrap();
    }
    registry.get(&target).error(404, "BLOB_UNKNOWN");
    registry.call("GET", &target).header("range", "bytes=0-5,10-20").send().error(404, "BLOB_UNKNOWN");
}
