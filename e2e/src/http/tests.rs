use std::io::Read;
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;

/// A server that reads one request's head and sends `reply`; the handle gives what it read.
fn server(reply: &'static [u8]) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&listener.local_addr().unwrap().to_string(), None, None);
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(reply).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        while stream.read(&mut buffer).unwrap() > 0 {}
        String::from_utf8(seen).unwrap()
    });
    (client, handle)
}

#[test]
fn a_chunked_body_is_joined_and_headers_are_found_in_lower_case() {
    let (client, seen) = server(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n\
          3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    );
    let response = client.send(Request::new("GET", "/x")).unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "abcde"));
    assert_eq!(response.header("x-a"), Some("b"));
    assert!(seen.join().unwrap().starts_with("GET /x HTTP/1.1\r\n"));
}

#[test]
fn a_cut_body_is_an_error_never_a_short_body() {
    for reply in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let (client, _seen) = server(reply);
        client.send(Request::new("GET", "/")).unwrap_err();
    }
}

#[test]
fn the_length_of_a_head_response_is_not_waited_for() {
    let (client, _seen) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    let response = client.send(Request::new("HEAD", "/")).unwrap();
    assert_eq!(response.header("content-length"), Some("9"));
}

#[test]
fn challenge_parameters_are_found_by_their_whole_name() {
    let parameters = r#"realm="http://r/token",service="s",scope="repository:a:pull,push""#;
    assert_eq!(auth::parameter(parameters, "realm"), Some("http://r/token"));
    assert_eq!(auth::parameter(parameters, "scope"), Some("repository:a:pull,push"));
    assert_eq!(auth::parameter(parameters, "real"), None);
}

#[test]
fn a_redirected_get_is_followed_without_credentials() {
    let (elsewhere, seen) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let reply = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/k?sig=1\r\nContent-Length: 0\r\n\r\n",
        elsewhere.authority()
    );
    let (client, _) = server(reply.leak().as_bytes());
    let response = client.send(Request::new("GET", "/blob").header("Authorization", "Bearer secret")).unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "hi"));
    let seen = seen.join().unwrap();
    assert!(seen.starts_with("GET /k?sig=1 HTTP/1.1\r\n") && !seen.contains("secret"), "{seen}");
}
