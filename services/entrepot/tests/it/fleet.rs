//! Two gateways and two ways to every service: what a client notices when one of them goes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entrepot::process::InternalTls;
use entrepot::testing::fleet::TestFleet;
use entrepot::testing::http::{Call, Response};
use entrepot_core::{Algorithm, Digest};
use entrepot_runtime::listen::CertificateFiles;
use entrepot_runtime::shutdown::Drained;
use entrepot_runtime::tls::MutualFiles;
use entrepot_testkit::builders::{ManifestBuilder, content};
use entrepot_testkit::certificates::Authority;
use futures_util::stream;

use crate::support::{completing, noise};

/// Sends until the answer is another than "later", as every client does.
#[track_caller]
fn patiently(what: &str, call: impl Fn() -> Call) -> Response {
    let start = Instant::now();
    loop {
        let answer = call().send();
        if answer.status != 503 {
            return answer;
        }
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0, "{what}");
        answer.error(503, "UNAVAILABLE");
        assert!(start.elapsed() < Duration::from_secs(20), "{what} is never answered");
        thread::park_timeout(Duration::from_millis(20));
    }
}

fn url_of(url: &str, location: &str) -> String {
    format!("{url}{location}")
}

/// A request on a connection of its own. An idle one may be chosen just when its gateway closes it; Go's client, which
/// docker and the others use, repeats the request then, and this one does not.
fn alone(method: &str, url: &str) -> Call {
    Call::new(method, url).header("connection", "close")
}

/// Pushes a layer as docker does: one PATCH of unknown length, slowly, then PUT.
fn push_slowly(url: &str, repository: &str, bytes: &Bytes, pace: Duration) {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let target = format!("{url}/v2/{repository}/blobs/uploads/");
    let opened = patiently("POST", || alone("POST", &target)).expect(202);
    let location = url_of(url, opened.location());
    let chunks: Vec<Bytes> = bytes.chunks(64 << 10).map(|chunk| bytes.slice_ref(chunk)).collect();
    let paced = stream::unfold(chunks.into_iter(), move |mut chunks| async move {
        let chunk = chunks.next()?;
        tokio::time::sleep(pace).await;
        Some((chunk, chunks))
    });
    // A PATCH that is refused would have to be sent again as a whole: none may be.
    let patched = alone("PATCH", &location).streamed(paced).send().expect(202);
    let location = completing(&url_of(url, patched.location()), &digest);
    patiently("PUT", || alone("PUT", &location)).expect(201);
}

/// Suite B16, small: rolling restart of both gateways while uploads run.
#[test]
fn a_rolling_restart_of_both_gateways_fails_no_push() {
    let mut fleet = TestFleet::start("300ms");
    let url = fleet.url();
    let stop = AtomicBool::new(false);
    let pushed = AtomicUsize::new(0);
    thread::scope(|scope| {
        let pushers: Vec<_> = (0..6)
            .map(|pusher| {
                let (url, stop, pushed) = (&url, &stop, &pushed);
                scope.spawn(move || {
                    let mut layers = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let number = pushed.fetch_add(1, Ordering::SeqCst);
                        let mut bytes = noise(2 << 20).to_vec();
                        bytes.extend_from_slice(&number.to_be_bytes());
                        let bytes = Bytes::from(bytes);
                        push_slowly(url, &format!("app{pusher}"), &bytes, Duration::from_millis(20));
                        layers.push((format!("app{pusher}"), Digest::of(Algorithm::Sha256, &bytes)));
                    }
                    layers
                })
            })
            .collect();
        for round in 0..2 {
            for gateway in 0..2 {
                let before = pushed.load(Ordering::SeqCst);
                entrepot::testing::poll("pushes to run", || (pushed.load(Ordering::SeqCst) > before + 3).then_some(()));
                assert_eq!(fleet.restart_gateway(gateway), Drained::Clean, "round {round}");
            }
        }
        stop.store(true, Ordering::SeqCst);
        for pusher in pushers {
            for (repository, digest) in pusher.join().unwrap() {
                fleet.call("HEAD", &format!("/v2/{repository}/blobs/{digest}")).send().expect(200);
            }
        }
    });
}

/// Whatever may be repeated never fails; the rest is told to come again, and nothing acknowledged is lost.
#[test]
fn a_listener_that_is_killed_under_load_costs_no_pull_and_no_push() {
    let mut fleet = TestFleet::start("0s");
    let url = fleet.url();
    let layer = content("a layer");
    let config = content("{}");
    for blob in [&layer, &config] {
        let target = format!("/v2/app/blobs/uploads/?digest={}", blob.digest);
        fleet.call("POST", &target).body(blob.bytes.clone()).send().expect(201);
    }
    let manifest = ManifestBuilder::image(&config, std::slice::from_ref(&layer)).build();
    let put = |tag: &str| {
        Call::new("PUT", &format!("{url}/v2/app/manifests/{tag}"))
            .header("content-type", manifest.media_type.as_str())
            .body(manifest.payload.clone())
    };
    put("v0").send().expect(201);
    let stop = AtomicBool::new(false);
    let (pulls, pushes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let answer = Call::new("GET", &format!("{url}/v2/app/manifests/v0")).send().expect(200);
                    assert_eq!(answer.body, manifest.payload);
                    let blob = Call::new("GET", &format!("{url}/v2/app/blobs/{}", layer.digest)).send().expect(200);
                    assert_eq!(blob.body, layer.bytes);
                    Call::new("HEAD", &format!("{url}/v2/app/blobs/{}", config.digest)).send().expect(200);
                    Call::new("GET", &format!("{url}/v2/app/tags/list")).send().expect(200);
                    pulls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let pusher = scope.spawn(|| {
            let mut tags = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let tag = format!("t{}", pushes.fetch_add(1, Ordering::SeqCst));
                patiently("PUT", || put(&tag)).expect(201);
                tags.push(tag);
            }
            tags
        });
        for round in 0..6 {
            let enough = |from: (usize, usize)| {
                let now = (pulls.load(Ordering::SeqCst), pushes.load(Ordering::SeqCst));
                (now.0 > from.0 + 20 && now.1 > from.1 + 10).then_some(())
            };
            let before = (pulls.load(Ordering::SeqCst), pushes.load(Ordering::SeqCst));
            entrepot::testing::poll("load", || enough(before));
            fleet.kill_front(round % 2, || {
                let before = (pulls.load(Ordering::SeqCst), pushes.load(Ordering::SeqCst));
                entrepot::testing::poll("load on the other", || enough(before));
            });
        }
        stop.store(true, Ordering::SeqCst);
        for tag in pusher.join().unwrap() {
            let answer = fleet.call("HEAD", &format!("/v2/app/manifests/{tag}")).send().expect(200);
            assert_eq!(answer.header("docker-content-digest"), manifest.digest.to_string());
        }
    });
}

/// A dependency that does not answer is no fault of ours: "later", never 500.
#[test]
fn without_any_service_every_answer_is_503_and_says_when() {
    let mut fleet = TestFleet::start("0s");
    let digest = content("anything").digest;
    let opened = fleet.call("POST", "/v2/app/blobs/uploads/").send().expect(202);
    let upload = opened.location().to_owned();
    fleet.stop_fronts();
    let manifest = ManifestBuilder::image(&content("{}"), &[content("layer")]).build();
    for (method, target) in [
        ("GET", "/v2/app/manifests/v1".to_owned()),
        ("HEAD", "/v2/app/manifests/v1".to_owned()),
        ("PUT", "/v2/app/manifests/v1".to_owned()),
        ("DELETE", "/v2/app/manifests/v1".to_owned()),
        ("GET", "/v2/app/tags/list".to_owned()),
        ("GET", "/v2/_catalog".to_owned()),
        ("GET", format!("/v2/app/referrers/{digest}")),
        ("GET", format!("/v2/app/blobs/{digest}")),
        ("HEAD", format!("/v2/app/blobs/{digest}")),
        ("DELETE", format!("/v2/app/blobs/{digest}")),
        ("POST", "/v2/app/blobs/uploads/".to_owned()),
        ("POST", format!("/v2/app/blobs/uploads/?digest={digest}")),
        ("POST", format!("/v2/app/blobs/uploads/?mount={digest}&from=other")),
        ("GET", upload.clone()),
        ("PATCH", upload.clone()),
        ("PUT", completing(&upload, &digest)),
        ("DELETE", upload),
        ("GET", "/token?service=entrepot&scope=repository:app:pull".to_owned()),
        ("GET", "/token/jwks.json".to_owned()),
    ] {
        let mut call = fleet.call(method, &target);
        if method == "PUT" && target.contains("/manifests/") {
            call = call.header("content-type", manifest.media_type.as_str()).body(manifest.payload.clone());
        }
        let answer = call.send().expect(503);
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0, "{method} {target}");
        if method != "HEAD" {
            answer.error(503, "UNAVAILABLE");
        }
    }
}

/// Every call and every byte between the services over TLS, with certificates on both sides.
#[test]
fn images_travel_through_services_that_trust_each_other_by_certificate() {
    let (ours, files) = (Authority::new("ours"), tempfile::tempdir().unwrap());
    ours.issue(&["127.0.0.1"]).write(files.path(), &[&ours]);
    let file = |name: &str| files.path().join(name);
    let identity = CertificateFiles { certificate: file("tls.crt"), key: file("tls.key") };
    let tls = InternalTls::new(&MutualFiles { identity, authorities: file("ca.crt") }).unwrap();
    let fleet = TestFleet::secured(tls);
    let bytes = noise(3 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    push_slowly(&fleet.url(), "app", &bytes, Duration::ZERO);
    let target = format!("/v2/app/blobs/{digest}");
    assert_eq!(fleet.call("GET", &target).send().expect(200).body, bytes);
    let part = fleet.call("GET", &target).header("range", "bytes=1000000-2000000").send().expect(206);
    assert_eq!(part.body, bytes.slice(1_000_000..=2_000_000));
    let mut plain = TcpStream::connect(fleet.data_address()).unwrap();
    plain.write_all(b"GET /data HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _cut_or_ended = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "the data port speaks plaintext");
}
