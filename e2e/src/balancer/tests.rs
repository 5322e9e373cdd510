use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::poll;

/// A server that says its name to everybody who connects.
fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A probe that has gone is no fault.
            let _ = stream.unwrap().write_all(name.as_bytes());
        }
    });
    address
}

/// An admin port that answers `status`.
fn admin(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

fn ask(balancer: &Balancer) -> String {
    let mut text = String::new();
    TcpStream::connect(balancer.address()).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[test]
fn connections_take_turns_and_a_dead_backend_gets_none() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let backends = [named("a"), gone, named("b")].map(|address| Backend { address, admin: None });
    let balancer = Balancer::start(anywhere(), &backends).unwrap();
    let said: String = (0..6).map(|_| ask(&balancer)).collect();
    assert_eq!(said, "abbabb", "the turn of the dead one goes to its successor");
}

#[test]
fn a_backend_that_is_not_ready_gets_no_new_connection() {
    let backends = [
        Backend { address: named("draining"), admin: Some(admin("503 Service Unavailable")) },
        Backend { address: named("ready"), admin: Some(admin("200 OK")) },
    ];
    let balancer = Balancer::start(anywhere(), &backends).unwrap();
    let settled = || {
        let said: Vec<String> = (0..4).map(|_| ask(&balancer)).collect();
        anyhow::ensure!(said.iter().all(|name| name == "ready"), "{said:?}");
        Ok(())
    };
    poll::until("a balancer that has looked", Duration::from_secs(10), settled).unwrap();
}
