//! The end of a process.

use std::io::{Read, Write};
use std::net::TcpStream;

use entrepot::testing::{TestRegistry, Topology, poll};
use entrepot_core::{Algorithm, Digest};
use entrepot_runtime::shutdown::Drained;

use crate::support::{completing, noise, open_upload, push_image};

#[test]
fn local() {
    drain_lets_uploads_finish(Topology::Local);
}

#[test]
fn grpc() {
    drain_lets_uploads_finish(Topology::Grpc);
}

/// Nothing new begins, everything running ends well.
fn drain_lets_uploads_finish(topology: Topology) {
    let mut registry = TestRegistry::builder(topology).set("shutdown.grace", "2s").start();
    push_image(&registry, "app", "v1", "image");
    let bytes = noise(8 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let location = completing(&open_upload(&registry, "app"), &digest);
    let mut running = registry.connect();
    let head = format!("PUT {location} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", bytes.len());
    running.write_all(head.as_bytes()).unwrap();
    running.write_all(first).unwrap();
    poll("the upload to have begun", || {
        registry.stored_files().iter().any(|(path, _)| path.starts_with(".uploads")).then_some(())
    });

    registry.drain();
    let refused = registry.post("/v2/app/blobs/uploads/");
    let error = refused.error(503, "UNAVAILABLE");
    assert!(error["message"].as_str().unwrap().contains("shutting down"), "{error}");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(refused.header("connection"), "close", "the next attempt goes through the balancer again");
    let whole = registry.call("POST", &format!("/v2/app/blobs/uploads/?digest={digest}")).body(bytes.clone());
    whole.send().error(503, "UNAVAILABLE");
    registry.get("/v2/app/manifests/v1").expect(200);

    poll("the listeners to close", || TcpStream::connect(registry.address()).is_err().then_some(()));
    running.write_all(second).unwrap();
    let mut answer = String::new();
    running.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(registry.wait(), Drained::Clean);
}
