//! Messages whose end two parsers could see in two places, and bytes that are no messages at all.

use anyhow::{Result, ensure};

use super::target::{Case, GHOST, Victim, refused, statuses};

pub(super) const CASES: &[Case] = &[
    ("length and chunks", length_and_chunks),
    ("lengths that are none", bad_lengths),
    ("two lengths", two_lengths),
    ("transfer codings", transfer_codings),
    ("chunk sizes", chunk_sizes),
    ("header syntax", header_syntax),
    ("host", host),
    ("too many headers", too_many_headers),
    ("no HTTP", no_http),
    ("methods", methods),
    ("pipelined", pipelined),
];

/// A second request that must not be answered when it hides in the first one's body.
const HIDDEN: &str = "GET /v2/ HTTP/1.1\r\nHost: hidden\r\n\r\n";

fn post(headers: &str, rest: &str) -> String {
    format!("POST /v2/{GHOST}/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{rest}")
}

fn at_most_one_answer(victim: &Victim<'_>, request: &str) -> Result<()> {
    let answer = victim.raw(request.as_bytes())?;
    let statuses = statuses(&answer);
    ensure!(statuses.len() <= 1, "{statuses:?} to {request:?}");
    ensure!(!statuses.contains(&500), "{answer}");
    Ok(())
}

fn length_and_chunks(victim: &Victim<'_>) -> Result<()> {
    for headers in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 6\r\ntransfer-encoding:chunked",
    ] {
        at_most_one_answer(victim, &post(headers, &format!("0\r\n\r\n{HIDDEN}")))?;
    }
    Ok(())
}

fn bad_lengths(victim: &Victim<'_>) -> Result<()> {
    for length in ["-1", "+5", "0x5", "5 5", "5,6", "abc", "1e3", "99999999999999999999999", "5;5", ""] {
        let answer = victim.raw(post(&format!("Content-Length: {length}"), HIDDEN).as_bytes())?;
        refused(&answer).map_err(|error| error.context(format!("length {length:?}")))?;
    }
    Ok(())
}

fn two_lengths(victim: &Victim<'_>) -> Result<()> {
    let request = post(&format!("Content-Length: 0\r\nContent-Length: {}", HIDDEN.len()), HIDDEN);
    refused(&victim.raw(request.as_bytes())?)
}

fn transfer_codings(victim: &Victim<'_>) -> Result<()> {
    for coding in ["xchunked", "identity", "chunked, identity", "chunked chunked", "\u{b}chunked"] {
        let request = post(&format!("Transfer-Encoding: {coding}"), &format!("0\r\n\r\n{HIDDEN}"));
        at_most_one_answer(victim, &request)?;
    }
    let request = post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", &format!("0\r\n\r\n{HIDDEN}"));
    at_most_one_answer(victim, &request)
}

fn chunk_sizes(victim: &Victim<'_>) -> Result<()> {
    for chunk in
        ["FFFFFFFFFFFFFFFFF\r\nabc", "-1\r\nabc", "5", "5\nabcde\n0\n\n", "5\r\nabcdeXX", "zz\r\n", "0x5\r\nabcde\r\n"]
    {
        at_most_one_answer(victim, &post("Transfer-Encoding: chunked", chunk))?;
    }
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(1 << 20));
    at_most_one_answer(victim, &post("Transfer-Encoding: chunked", &extension))?;
    let trailers = format!("0\r\n{}\r\n", "X-A: b\r\n".repeat(100_000));
    at_most_one_answer(victim, &post("Transfer-Encoding: chunked", &trailers))
}

fn header_syntax(victim: &Victim<'_>) -> Result<()> {
    for headers in [
        "Host : b",
        " Folded: a",
        "X-A: b\r\n c: d",
        "No colon",
        ": no name",
        "X\u{0}: a",
        "X-A: a\u{0}b",
        "X-A: a\rX-B: c",
        "X A: b",
    ] {
        let answer = victim.raw(format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n").as_bytes())?;
        ensure!(statuses(&answer).len() <= 1, "{headers:?}: {answer}");
        ensure!(!statuses(&answer).contains(&500), "{headers:?}: {answer}");
    }
    Ok(())
}

fn host(victim: &Victim<'_>) -> Result<()> {
    for request in ["GET /v2/ HTTP/1.1\r\n\r\n", "GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"] {
        let answer = victim.raw(request.as_bytes())?;
        ensure!(statuses(&answer).iter().all(|status| *status != 500), "{answer}");
    }
    Ok(())
}

fn too_many_headers(victim: &Victim<'_>) -> Result<()> {
    let many: String = (0..20_000).map(|at| format!("X-{at}: a\r\n")).collect();
    let large = format!("X-A: {}\r\n", "a".repeat(2 << 20));
    for headers in [many, large] {
        refused(&victim.raw(format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes())?)?;
    }
    Ok(())
}

fn no_http(victim: &Victim<'_>) -> Result<()> {
    let garbage = entrepot_e2e::random_bytes(64 << 10);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for bytes in [&garbage[..], hello, b"\r\n\r\n\r\n", b"GET /", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"\0\0\0\0"] {
        refused(&victim.raw(bytes)?)?;
    }
    Ok(())
}

fn methods(victim: &Victim<'_>) -> Result<()> {
    let long = "M".repeat(5_000);
    for method in ["TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get", "DELETE", long.as_str()] {
        let answer =
            victim.raw(format!("{method} /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())?;
        let statuses = statuses(&answer);
        ensure!(statuses.len() <= 1 && !statuses.contains(&500), "{method}: {answer}");
        ensure!(!answer.contains("Cookie: secret"), "{method} echoed the request");
    }
    Ok(())
}

/// Two honest requests in one write are two answers, in order.
fn pipelined(victim: &Victim<'_>) -> Result<()> {
    let two =
        "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\nGET /v2/none/tags/list HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = victim.raw(two.as_bytes())?;
    ensure!(statuses(&answer) == [200, 404], "{answer}");
    Ok(())
}
