use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use super::{CHUNK_BYTES, blob, tags};
use crate::corpus::{Blob, Corpus};
use crate::http_client::Client;
use crate::scenario::PushMode;

/// One request as the fake registry saw it.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    content_range: Option<String>,
    body_bytes: usize,
}

/// Status line and `Location` of an answer.
type Reply = (&'static str, String);

/// A server on one connection that answers each request by `reply` and records it.
fn registry(reply: impl Fn(&str, SocketAddr) -> Reply + Send + 'static) -> (SocketAddr, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        loop {
            let mut head = Vec::new();
            for line in stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                head.push(line);
            }
            let Some(line) = head.first().map(|line| line.trim_end_matches(" HTTP/1.1").to_owned()) else { return };
            let header = |name: &str| head.iter().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            let body_bytes = header("content-length:").map_or(0, |length| length.parse().unwrap());
            std::io::copy(&mut stream.by_ref().take(body_bytes as u64), &mut std::io::sink()).unwrap();
            let (status, location) = reply(&line, address);
            record.lock().unwrap().push(Seen { line, content_range: header("content-range:"), body_bytes });
            write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n").unwrap();
        }
    });
    (address, seen)
}

fn uploads(line: &str, address: SocketAddr) -> Reply {
    match line.split(' ').next().unwrap() {
        "POST" => ("202 Accepted", format!("http://{address}/session/0?state=a")),
        "PATCH" => ("202 Accepted", "/session/1".to_owned()),
        _ => ("201 Created", String::new()),
    }
}

#[test]
fn chunks_follow_each_other_and_the_last_location() {
    let (address, seen) = registry(uploads);
    let content = Blob::new(vec![7; CHUNK_BYTES + 10].into());
    blob(&mut Client::connect(address).unwrap(), "r", &content, PushMode::Chunked).unwrap();
    let seen = seen.lock().unwrap();
    let lines: Vec<_> = seen.iter().map(|seen| seen.line.as_str()).collect();
    let last = format!("PUT /session/1?digest={}", content.digest);
    assert_eq!(lines, ["POST /v2/r/blobs/uploads/", "PATCH /session/0?state=a", "PATCH /session/1", &last]);
    assert_eq!(seen[1].content_range.as_deref(), Some("0-16777215"));
    assert_eq!(seen[2].content_range.as_deref(), Some("16777216-16777225"));
    assert_eq!(seen.iter().map(|seen| seen.body_bytes).collect::<Vec<_>>(), [0, CHUNK_BYTES, 10, 0]);
}

#[test]
fn monolithic_upload_keeps_the_query_of_an_absolute_location() {
    let (address, seen) = registry(uploads);
    let content = Blob::new("layer".into());
    blob(&mut Client::connect(address).unwrap(), "r", &content, PushMode::Monolithic).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen[1].line, format!("PUT /session/0?state=a&digest={}", content.digest));
    assert_eq!(seen[1].body_bytes, 5);
}

#[test]
fn a_refusal_names_the_status() {
    let (address, _) = registry(|_, _| ("403 Forbidden", String::new()));
    let mut client = Client::connect(address).unwrap();
    let error = blob(&mut client, "r", &Blob::new("layer".into()), PushMode::Monolithic).unwrap_err();
    assert!(error.to_string().contains("403 Forbidden instead of 202"), "{error:#}");
}

#[test]
fn tags_are_set_one_by_one_where_the_parameter_is_ignored() {
    let (address, seen) = registry(|line, address| match line {
        _ if line.contains("/blobs/") || line.starts_with("PUT /session") => uploads(line, address),
        _ if line.starts_with("GET") => ("404 Not Found", String::new()),
        _ => ("201 Created", String::new()),
    });
    tags(&mut Client::connect(address).unwrap(), &Corpus::small(), 12).unwrap();
    let seen = seen.lock().unwrap();
    let single = seen.iter().filter(|seen| seen.line.starts_with("PUT /v2/bench/tags/manifests/t00000")).count();
    assert_eq!(single, 12, "{seen:?}");
}

#[test]
fn tags_are_set_many_at_a_time_where_the_registry_can() {
    let (address, seen) = registry(|line, address| match line {
        _ if line.contains("/blobs/") || line.starts_with("PUT /session") => uploads(line, address),
        _ if line.starts_with("GET") => ("200 OK", String::new()),
        _ => ("201 Created", String::new()),
    });
    tags(&mut Client::connect(address).unwrap(), &Corpus::small(), 401).unwrap();
    let seen = seen.lock().unwrap();
    let puts: Vec<_> = seen.iter().filter(|seen| seen.line.contains("?tag=")).collect();
    assert_eq!(puts.len(), 2, "{puts:?}");
    assert!(puts[0].line.ends_with("&tag=t0000399") && puts[1].line.ends_with("?tag=t0000400"), "{puts:?}");
}
