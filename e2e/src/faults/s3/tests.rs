use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;

use super::*;
use crate::http::{Body, Client, Request};
use crate::patience::{Verdict, verdict};

fn only(change: impl Fn(&mut Faults)) -> Faults {
    let (stall_for, hang_for) = (Duration::from_millis(30), Duration::from_millis(60));
    let mut faults = Faults { unavailable: 0, reset: 0, lost: 0, stall: 0, stall_for, hang: 0, hang_for, truncate: 0 };
    change(&mut faults);
    faults
}

/// A server that answers everything with 100 bytes, and what it was sent.
fn server() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sink) = (stream.unwrap(), sink.clone());
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let mut seen = sink.lock().unwrap();
                    seen.extend_from_slice(&bytes[..count]);
                    if seen.ends_with(b"END") || seen.ends_with(b"\r\n\r\n") && seen.starts_with(b"GET") {
                        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(100));
                    }
                }
            });
        }
    });
    (address, seen)
}

fn put(proxy: &S3Proxy) -> Result<crate::http::Response> {
    let body = [vec![b'-'; 1000], b"END".to_vec()].concat();
    let client = Client::new(&proxy.address().to_string(), None, None);
    client.send(Request::new("PUT", "/bucket/key").body(Body::Bytes(&body)))?.expect(&[200])
}

#[test]
fn without_a_fault_everything_passes() {
    let (address, seen) = server();
    let proxy = S3Proxy::start(address, only(|_| {})).unwrap();
    assert_eq!(put(&proxy).unwrap().body, vec![b'x'; 100]);
    assert!(seen.lock().unwrap().ends_with(b"END"));
    assert_eq!(proxy.counts(), (1, 0));
}

#[test]
fn each_fault_is_what_it_says() {
    let check = |faults: Faults, reaches: bool, what: &str| {
        let (address, seen) = server();
        let proxy = S3Proxy::start(address, faults).unwrap();
        let answer = put(&proxy);
        assert_eq!(seen.lock().unwrap().ends_with(b"END"), reaches, "{what}");
        assert_eq!(proxy.counts(), (1, 1), "{what}");
        answer
    };
    let refused = check(only(|faults| faults.unavailable = 1000), false, "503").unwrap_err();
    assert!(format!("{refused:#}").contains("SlowDown"), "{refused:#}");
    for (faults, reaches, what) in [
        (only(|faults| faults.reset = 1000), false, "reset"),
        (only(|faults| faults.lost = 1000), true, "lost"),
        (only(|faults| faults.truncate = 1000), true, "truncated"),
    ] {
        let error = check(faults, reaches, what).unwrap_err();
        assert_eq!(verdict(&error), Verdict::Cut, "{what}: {error:#}");
    }
    for (faults, late, what) in
        [(only(|faults| faults.stall = 1000), 30, "stall"), (only(|faults| faults.hang = 1000), 60, "hang")]
    {
        let start = std::time::Instant::now();
        assert_eq!(check(faults, true, what).unwrap().status, 200);
        assert!(start.elapsed() >= Duration::from_millis(late), "{what}: {:?}", start.elapsed());
    }
}

#[test]
fn calm_ends_all_faults() {
    let (address, _) = server();
    let proxy = S3Proxy::start(address, only(|faults| faults.unavailable = 1000)).unwrap();
    proxy.calm();
    assert_eq!(put(&proxy).unwrap().status, 200);
}
