//! Uploads that break off, stall or outlive the process.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use entrepot::testing::{TestRegistry, Topology, poll};
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::content;

use crate::support::{assert_blob, both, completing, noise, open_upload, push_image};

both!(open:
    cut_chunk_changes_nothing_acknowledged,
    cut_stream_changes_nothing_acknowledged,
    cut_layer_keeps_its_whole_segments,
    cut_put_may_be_sent_again,
    cut_manifest_is_not_stored,
    stalled_first_writer_never_mixes_bytes,
    stalled_put_never_mixes_bytes,
    one_of_two_racing_puts_is_enough,
    an_upload_outlives_an_orderly_restart,
    an_upload_outlives_a_killed_process,
    what_was_acknowledged_outlives_a_killed_process,
);

/// Sends the head of a request and the beginning of its body.
fn begin(registry: &TestRegistry, method: &str, target: &str, headers: &str, body: &[u8]) -> TcpStream {
    let mut stream = registry.connect();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

fn status_line(mut stream: &TcpStream) -> String {
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

/// Cuts a request off in its body, and waits until the server is done with it: whichever writer comes later wins, so
/// the next request must not overtake this one.
fn assert_ended(cut: &TcpStream) {
    cut.shutdown(Shutdown::Write).unwrap();
    let answer = status_line(cut);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// Bytes of a body that stalls half-way: enough for the first half to reach the storage.
const LARGE: usize = 8 << 20;

/// Waits until the storage holds more than `known` bytes of an upload.
fn until_written(registry: &TestRegistry, known: u64) {
    poll("the bytes to be written", || registry.stored_files().iter().any(|(_, size)| *size > known).then_some(()));
}

fn resume(registry: &TestRegistry, location: &str) {
    let blob = content("0123456789");
    assert_eq!(registry.get(location).expect(204).header("range"), "0-3");
    let call = registry.call("PATCH", location).header("content-range", "4-9").body("456789");
    assert_eq!(call.send().expect(202).header("range"), "0-9");
    registry.call("PUT", &completing(location, &blob.digest)).send().expect(201);
    assert_blob(registry, "app", &blob.digest, &blob.bytes);
}

fn cut_chunk_changes_nothing_acknowledged(registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).body("0123").send().expect(202);
    let cut = begin(&registry, "PATCH", &location, "Content-Length: 4000000", &vec![b'x'; 2_000_000]);
    assert_ended(&cut);
    resume(&registry, &location);
}

fn cut_stream_changes_nothing_acknowledged(registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).body("0123").send().expect(202);
    let cut = begin(&registry, "PATCH", &location, "Transfer-Encoding: chunked", b"5\r\nwrong\r\n");
    assert_ended(&cut);
    resume(&registry, &location);
}

/// docker and podman send a layer in one request; what is cut off with it is the last segment and no more.
fn cut_layer_keeps_its_whole_segments(registry: TestRegistry) {
    // Where another gateway may have to go on, they are shorter.
    let segment = if registry.topology() == Topology::Grpc { 8 << 20 } else { 64 << 20 };
    let layer = noise(segment + (3 << 20));
    let location = open_upload(&registry, "app");
    let headers = format!("Content-Length: {}", layer.len());
    let cut = begin(&registry, "PATCH", &location, &headers, &layer[..segment + (1 << 20)]);
    assert_ended(&cut);
    assert_eq!(registry.get(&location).expect(204).header("range"), format!("0-{}", segment - 1));
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let rest = registry.call("PUT", &completing(&location, &digest)).body(layer.slice(segment..));
    rest.send().expect(201);
    assert_blob(&registry, "app", &digest, &layer);
}

fn cut_put_may_be_sent_again(registry: TestRegistry) {
    let bytes = noise(200_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let location = completing(&open_upload(&registry, "app"), &digest);
    let cut = begin(&registry, "PUT", &location, "Content-Length: 200000", &bytes[..150_000]);
    assert_ended(&cut);
    registry.head(&format!("/v2/app/blobs/{digest}")).expect(404);
    registry.call("PUT", &location).body(bytes.clone()).send().expect(201);
    assert_blob(&registry, "app", &digest, &bytes);
}

fn cut_manifest_is_not_stored(registry: TestRegistry) {
    let manifest = push_image(&registry, "app", "v1", "kept");
    let headers = format!("Content-Length: {}", manifest.payload.len());
    let half = &manifest.payload[..manifest.payload.len() / 2];
    let cut = begin(&registry, "PUT", "/v2/app/manifests/v2", &headers, half);
    assert_ended(&cut);
    registry.get("/v2/app/manifests/v2").error(404, "MANIFEST_UNKNOWN");
}

/// A client that gave up its first request sends the chunk again while the first still runs.
fn stalled_first_writer_never_mixes_bytes(registry: TestRegistry) {
    let bytes = noise(LARGE);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let location = open_upload(&registry, "app");
    let half = vec![b'x'; LARGE / 2];
    let mut stalled = begin(&registry, "PATCH", &location, &format!("Content-Length: {LARGE}"), &half);
    until_written(&registry, 0);
    let range = format!("0-{}", LARGE - 1);
    let answer = registry.call("PATCH", &location).header("content-range", &range).body(bytes.clone()).send();
    assert_eq!(answer.expect(202).header("range"), range);
    // It may have been cut off already.
    let _ = stalled.write_all(&half);
    let late = status_line(&stalled);
    assert!(!late.starts_with("HTTP/1.1 2"), "the first writer was acknowledged: {late}");
    assert_eq!(registry.get(&location).expect(204).header("range"), range);
    registry.call("PUT", &completing(&location, &digest)).send().expect(201);
    assert_blob(&registry, "app", &digest, &bytes);
}

fn stalled_put_never_mixes_bytes(registry: TestRegistry) {
    let bytes = noise(LARGE);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let location = completing(&open_upload(&registry, "app"), &digest);
    let half = vec![b'x'; LARGE / 2];
    let mut stalled = begin(&registry, "PUT", &location, &format!("Content-Length: {LARGE}"), &half);
    until_written(&registry, 0);
    registry.call("PUT", &location).body(bytes.clone()).send().expect(201);
    let _ = stalled.write_all(&half);
    let _ = status_line(&stalled);
    assert_blob(&registry, "app", &digest, &bytes);
    registry.call("PUT", &location).send().expect(201);
}

fn one_of_two_racing_puts_is_enough(registry: TestRegistry) {
    for round in 0..10 {
        let blob = content(&format!("raced {round}"));
        let location = completing(&open_upload(&registry, "app"), &blob.digest);
        let put = || registry.call("PUT", &location).body(blob.bytes.clone()).send().status.as_u16();
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(put);
            (put(), one.join().unwrap())
        });
        for status in [one, other] {
            assert!(matches!(status, 201 | 409), "{one} {other}");
        }
        assert!(one == 201 || other == 201, "{one} {other}");
        assert_blob(&registry, "app", &blob.digest, &blob.bytes);
    }
}

fn an_upload_outlives_an_orderly_restart(mut registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).body("0123").send().expect(202);
    registry.restart();
    resume(&registry, &location);
}

fn an_upload_outlives_a_killed_process(mut registry: TestRegistry) {
    let location = open_upload(&registry, "app");
    registry.call("PATCH", &location).body("0123").send().expect(202);
    let half = vec![b'x'; LARGE / 2];
    let _running = begin(&registry, "PATCH", &location, &format!("Content-Length: {LARGE}"), &half);
    until_written(&registry, 4);
    registry.kill_and_restart();
    resume(&registry, &location);
}

fn what_was_acknowledged_outlives_a_killed_process(mut registry: TestRegistry) {
    let manifest = push_image(&registry, "team/app", "v1", "lasting");
    registry.kill_and_restart();
    let answer = registry.get("/v2/team/app/manifests/v1").expect(200);
    assert_eq!(answer.body, manifest.payload);
    for reference in &manifest.references {
        let answer = registry.get(&format!("/v2/team/app/blobs/{}", reference.digest)).expect(200);
        assert_eq!(Digest::of(Algorithm::Sha256, &answer.body), reference.digest);
    }
}
