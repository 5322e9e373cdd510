//! Range headers: right answers for right ones, and no work for absurd ones.

use anyhow::{Context, Result, ensure};
use entrepot_e2e::http::{Request, Response};

use super::target::{BLOB, Case, HONEST, Victim, refused};

pub(super) const CASES: &[Case] = &[
    ("single ranges", single),
    ("unsatisfiable", unsatisfiable),
    ("not understood", not_understood),
    ("several ranges in order", several),
    ("thousands of ranges", thousands),
    ("overlapping ranges", overlapping),
    ("huge header", huge_header),
];

fn get(victim: &Victim<'_>, range: &str) -> Result<Response> {
    let path = format!("/v2/{HONEST}/blobs/{}", victim.blob.digest);
    victim.api.client().send(Request::new("GET", path).header("Range", range)).context(range.to_owned())
}

fn single(victim: &Victim<'_>) -> Result<()> {
    let end = BLOB - 1;
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, BLOB),
        ("bytes=-1", end, BLOB),
        ("bytes=100-199", 100, 200),
        ("bytes=1048570-99999999999", BLOB - 6, BLOB),
        ("bytes=-99999999999", 0, BLOB),
    ] {
        let response = get(victim, range)?;
        ensure!(response.status == 206, "{range}: {}", response.status);
        ensure!(response.body == victim.blob.bytes[from..to], "{range}: wrong bytes");
        let told = format!("bytes {from}-{}/{BLOB}", to - 1);
        ensure!(response.header("content-range") == Some(&told), "{range}: {:?}", response.headers);
    }
    Ok(())
}

fn unsatisfiable(victim: &Victim<'_>) -> Result<()> {
    for range in [format!("bytes={BLOB}-"), "bytes=99999999999-".to_owned(), "bytes=-0".to_owned()] {
        let response = get(victim, &range)?;
        ensure!(response.status == 416, "{range}: {}", response.status);
        let told = format!("bytes */{BLOB}");
        ensure!(response.header("content-range") == Some(&told), "{range}: {:?}", response.headers);
    }
    Ok(())
}

fn not_understood(victim: &Victim<'_>) -> Result<()> {
    for range in [
        "bytes=a-b",
        "bytes=9-5",
        "items=0-5",
        "bytes",
        "bytes=",
        "bytes=-",
        "=0-1",
        "bytes=0-0x5",
        "bytes=+1-2",
        "bytes=99999999999999999999999999-",
        "bytes=0-99999999999999999999999999",
    ] {
        let response = get(victim, range)?;
        let whole = response.status == 200 && response.body == victim.blob.bytes;
        let part = response.status == 206 && victim.blob.bytes.starts_with(&response.body);
        ensure!(whole || part || [400, 416].contains(&response.status), "{range}: {}", response.status);
    }
    Ok(())
}

/// podman takes part after part: one for each range asked for, in the order asked for.
fn several(victim: &Victim<'_>) -> Result<()> {
    let response = get(victim, "bytes=500-509,0-9,1048570-")?;
    ensure!(response.status == 206, "{}", response.status);
    let kind = response.header("content-type").unwrap_or_default();
    let boundary = kind.split_once("boundary=").context(kind.to_owned())?.1.trim_matches('"');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ensure!(boundary.bytes().all(plain), "the boundary needs quotes: {boundary}");
    let expected: Vec<&[u8]> =
        vec![&victim.blob.bytes[500..510], &victim.blob.bytes[..10], &victim.blob.bytes[BLOB - 6..]];
    let parts = parts(&response.body, boundary);
    ensure!(parts == expected, "{} parts, or other bytes", parts.len());
    Ok(())
}

/// The contents of a multipart body.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let find = |from: usize, what: &[u8]| {
        body[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
    };
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut at = find(0, delimiter.as_bytes());
    while let Some(start) = at {
        let next = find(start + delimiter.len(), format!("\r\n{delimiter}").as_bytes());
        if let (Some(head), Some(end)) = (find(start, b"\r\n\r\n"), next)
            && head + 4 <= end
        {
            parts.push(&body[head + 4..end]);
        }
        at = next.map(|at| at + 2);
    }
    parts
}

fn thousands(victim: &Victim<'_>) -> Result<()> {
    let ranges: Vec<String> = (0..2_000).map(|at| format!("{}-{}", at * 4, at * 4)).collect();
    bounded(&get(victim, &format!("bytes={}", ranges.join(",")))?)
}

fn overlapping(victim: &Victim<'_>) -> Result<()> {
    let ranges = vec!["0-"; 500];
    bounded(&get(victim, &format!("bytes={}", ranges.join(",")))?)
}

/// The whole blob, a refusal that clients fall back from, or an answer no larger than a few blobs.
fn bounded(response: &Response) -> Result<()> {
    ensure!([200, 206, 400, 431].contains(&response.status), "answered {}", response.status);
    ensure!(response.body.len() <= 4 * BLOB, "answered {} bytes", response.body.len());
    Ok(())
}

fn huge_header(victim: &Victim<'_>) -> Result<()> {
    let ranges = vec!["1-2"; 300_000].join(",");
    let path = format!("/v2/{HONEST}/blobs/{}", victim.blob.digest);
    refused(&victim.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\nRange: bytes={ranges}\r\n\r\n").as_bytes())?)
}
