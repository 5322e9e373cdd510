use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::{Server, ServerKind, answers, end_of, ours};
use crate::tools::{Program, Tools};

fn tools(wrk: Program, ours: &[&str]) -> Tools {
    Tools { wrk, nginx: None, distribution: None, ours: Some(ours.iter().map(|word| (*word).to_owned()).collect()) }
}

#[test]
fn placeholders_are_replaced_inside_words() {
    let template = ["/bin/x", "--listen={listen}", "--data", "{data}"].map(str::to_owned);
    let command = ours(&template, "/w".as_ref(), "127.0.0.1:7".parse().unwrap()).unwrap();
    let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
    assert_eq!(words, ["--listen=127.0.0.1:7", "--data", "/w/data"]);
    assert!(ours(&[], "/w".as_ref(), "127.0.0.1:7".parse().unwrap()).is_err());
}

#[test]
fn only_a_200_counts_as_an_answer() {
    for (status, wanted) in [("200 OK", true), ("503 Busy", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /v2/ "));
            write!(stream, "HTTP/1.1 {status}\r\n\r\n").unwrap();
        });
        assert_eq!(answers(address), wanted, "{status}");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_ends_shows_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(Program::at("/bin/true"), &["/bin/sh", "-c", "echo${IFS}no-such-disk>&2;exit${IFS}3"]);
    let error = Server::start(ServerKind::Ours, &tools, folder.path()).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("no-such-disk") && text.contains("exit status: 3"), "{text}");
}

#[test]
fn a_server_that_takes_no_part_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(Program::at("/bin/true"), &[]);
    let error = Server::start(ServerKind::Nginx, &tools, folder.path()).unwrap_err();
    assert!(error.to_string().contains("nginx takes no part"), "{error:#}");
}

#[test]
fn the_end_of_a_log_is_its_last_ten_lines() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = (0..30).map(|number| format!("line{number}")).collect();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    let end = end_of(file.path());
    assert!(end.starts_with("line20\n") && end.ends_with("line29"), "{end}");
}
