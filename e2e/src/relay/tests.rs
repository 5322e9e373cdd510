use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [kind, &length.to_be_bytes(), body].concat()
}

/// What a driver sends first: it asks for TLS, then starts the session.
fn start() -> Vec<u8> {
    let asked = message(b"", &80_877_103_u32.to_be_bytes());
    let startup = message(b"", &[&196_608_u32.to_be_bytes()[..], b"user\0entrepot\0\0"].concat());
    [asked, startup].concat()
}

#[test]
fn a_commit_is_seen_however_it_is_sent_and_split() {
    let simple = message(b"Q", b"COMMIT\0");
    let prepared =
        [message(b"P", b"s1\0commit\0\0\0"), message(b"B", b"\0s1\0\0\0\0\0\0\0"), message(b"S", b"")].concat();
    let last_of_two = message(b"Q", b"SET LOCAL statement_timeout = 0; COMMIT\0");
    for commit in [simple, prepared, last_of_two] {
        let other = message(b"Q", b"SELECT 'COMMIT'\0");
        let stream = [start(), other, commit].concat();
        for size in 1..stream.len() {
            let mut commits = Commits::default();
            let seen = stream.chunks(size).filter(|chunk| commits.seen_in(chunk)).count();
            assert_eq!(seen, 1, "in pieces of {size}");
        }
    }
}

#[test]
fn other_statements_are_no_commit() {
    let mut commits = Commits::default();
    let stream = [
        start(),
        message(b"Q", b"BEGIN\0"),
        message(b"P", b"s1\0SELECT $1\0\0\0"),
        message(b"B", b"\0s1\0\0\0\0\x01\0\0\0\x06COMMIT\0\0"),
        message(b"Q", b"ROLLBACK\0"),
        message(b"X", b""),
    ]
    .concat();
    assert!(!commits.seen_in(&stream));
}

/// Everything that one connection brings, and an answer to it.
fn server() -> (SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
                let _ = stream.write_all(b"answer");
            }
            let _ = tell.send(bytes);
        }
    });
    (address, told)
}

#[test]
fn a_cut_commit_answers_nothing_and_reaches_the_server_or_not() {
    let (address, told) = server();
    let relay = Relay::start(address).unwrap();
    relay.cut_commits(1000);
    let commit = message(b"Q", b"COMMIT\0");
    let mut reached = 0;
    for _ in 0..40 {
        let mut client = TcpStream::connect(relay.address()).unwrap();
        client.write_all(&start()).unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        client.write_all(&commit).unwrap();
        assert!(!matches!(client.read(&mut answer), Ok(1..)), "an answer after the cut");
        reached += usize::from(told.recv().unwrap().ends_with(&commit));
    }
    assert_eq!(relay.commits_cut(), 40);
    assert!((1..40).contains(&reached), "{reached} of 40 reached the server");
}

#[test]
fn connections_follow_the_server_when_it_moves() {
    let (first, told_first) = server();
    let (second, told_second) = server();
    let relay = Relay::start(first).unwrap();
    let mut client = TcpStream::connect(relay.address()).unwrap();
    client.write_all(b"12").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    relay.point_to(second);
    relay.disconnect();
    assert!(!matches!(client.read(&mut [0; 6]), Ok(1..)));
    assert_eq!(told_first.recv().unwrap(), b"12");
    let mut client = TcpStream::connect(relay.address()).unwrap();
    client.write_all(b"34").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    drop(client);
    assert_eq!(told_second.recv().unwrap(), b"34");
}
