//! One request, again and again over connections that stay open: load whose cost is the server's and not that of
//! connecting.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::http::SILENCE;

/// Sends `GET path` with `Accept: accept` over `connections` at once for `time`. How many were answered with 200.
///
/// # Errors
/// Any other answer, and connections that fail.
pub fn get(authority: &str, path: &str, accept: &str, connections: usize, time: Duration) -> Result<u64> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: {accept}\r\n\r\n");
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..connections).map(|_| scope.spawn(|| client(authority, request.as_bytes(), end))).collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).sum()
    })
}

fn client(authority: &str, request: &[u8], end: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(authority).with_context(|| format!("connecting to {authority}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut answers = BufReader::with_capacity(32 << 10, stream.try_clone()?);
    let mut count = 0;
    while Instant::now() < end {
        stream.write_all(request)?;
        answer(&mut answers)?;
        count += 1;
    }
    Ok(count)
}

/// Reads one answer with its body.
fn answer(answers: &mut BufReader<TcpStream>) -> Result<()> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "the answer was {line:?}");
    let mut length = None;
    loop {
        line.clear();
        ensure!(answers.read_line(&mut line)? > 0, "the connection ended in a head");
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let length: u64 = length.context("no Content-Length")?;
    let read = std::io::copy(&mut answers.by_ref().take(length), &mut std::io::sink())?;
    ensure!(read == length, "the connection ended in a body");
    Ok(())
}
