//! Clients that hold on to what they were given, beside others that only want to push.

use std::io::{Read, Write};
use std::net::TcpStream;

use entrepot::testing::{TestRegistry, Topology};
use entrepot_core::{Algorithm, Digest};
use entrepot_testkit::builders::Content;

use crate::support::{assert_blob, completing, noise, open_upload, push_image};

const SLOW_HEADS: usize = 200;
const SLOW_BODIES: usize = 60;
const PUSHERS: usize = 4;
const PUSHES: usize = 5;

/// Whether the server gave up on the client by itself.
fn is_cut(mut stream: TcpStream) -> bool {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

/// B15, smaller: nobody who sends slowly keeps others from pushing, and none of them stays.
fn slow_clients_stop_nobody(topology: Topology) {
    let registry = TestRegistry::builder(topology)
        .set("http.header_timeout", "2s")
        .set("http.body_stall", "2s")
        .set("limits.requests", "120")
        .start();
    let mut slow: Vec<TcpStream> = (0..SLOW_HEADS).map(|_| registry.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: test\r\nX-Slow: ").unwrap();
    }
    for _ in 0..SLOW_BODIES {
        let location = open_upload(&registry, "slow/app");
        let mut stream = registry.connect();
        write!(stream, "PATCH {location} HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nslow").unwrap();
        slow.push(stream);
    }
    std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let registry = &registry;
            scope.spawn(move || {
                for push in 0..PUSHES {
                    let bytes = noise(200_000 + pusher * 1000 + push);
                    let blob = Content { digest: Digest::of(Algorithm::Sha256, &bytes), bytes };
                    let location = open_upload(registry, "honest/app");
                    let patched = registry.call("PATCH", &location).body(blob.bytes.clone()).send().expect(202);
                    registry.call("PUT", &completing(patched.location(), &blob.digest)).send().expect(201);
                    assert_blob(registry, "honest/app", &blob.digest, &blob.bytes);
                }
            });
        }
    });
    assert!(slow.into_iter().all(is_cut), "a slow client was kept");
    registry.get("/v2/").expect(200);
}

#[test]
fn b15_slow_clients_stop_nobody_local() {
    slow_clients_stop_nobody(Topology::Local);
}

#[test]
fn b15_slow_clients_stop_nobody_grpc() {
    slow_clients_stop_nobody(Topology::Grpc);
}

/// Manifests take memory as their bytes arrive: what is only announced keeps nobody out.
#[test]
fn manifests_that_never_come_stop_no_push() {
    let registry = TestRegistry::open(Topology::Local);
    let mut idle: Vec<TcpStream> = (0..80).map(|_| registry.connect()).collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        let length = if number % 2 == 0 { "Transfer-Encoding: chunked" } else { "Content-Length: 4194304" };
        write!(stream, "PUT /v2/idle/app/manifests/v1 HTTP/1.1\r\nHost: test\r\n{length}\r\n\r\n").unwrap();
    }
    let began = std::time::Instant::now();
    for push in 0..5 {
        push_image(&registry, "honest/app", &format!("v{push}"), "honest");
    }
    assert!(began.elapsed().as_secs() < 5, "the pushes had to wait");
}
