//! Uploads that lie about their content, their length or their place.

use std::io::Write as _;

use anyhow::{Context, Result, ensure};
use entrepot_e2e::api::{Upload, with_digest};
use entrepot_e2e::digest;
use entrepot_e2e::poll;
use std::time::Duration;

use super::target::{Case, GHOST, HONEST, Victim, oci_error, statuses};

pub(super) const CASES: &[Case] = &[
    ("wrong digest", wrong_digest),
    ("wrong digest at once", wrong_digest_at_once),
    ("truncated body", truncated),
    ("truncated chunks", truncated_chunks),
    ("wrong offsets", wrong_offsets),
    ("unknown sessions", unknown_sessions),
    ("session of another repository", foreign_session),
    ("changed location", changed_location),
    ("cancelled", cancelled),
    ("huge length", huge_length),
    ("mount of what is not there", blind_mount),
];

const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

fn cancel(victim: &Victim<'_>, upload: &Upload) -> Result<()> {
    victim.send("DELETE", &upload.location, &[], b"").map(drop)
}

fn absent(victim: &Victim<'_>, content: &[u8]) -> Result<()> {
    for repository in [GHOST, HONEST] {
        ensure!(!victim.api.has_blob(repository, &digest(content))?, "{repository} has what was refused");
    }
    Ok(())
}

fn wrong_digest(victim: &Victim<'_>) -> Result<()> {
    let content = entrepot_e2e::random_bytes(50_000);
    let claimed = digest(b"something else");
    let mut upload = victim.api.open_upload(GHOST)?;
    victim.api.append(&mut upload, &content)?;
    let response = victim.send("PUT", &with_digest(&upload.location, &claimed), &[OCTETS], b"")?;
    oci_error(&response, &[400], &["DIGEST_INVALID"])?;
    absent(victim, &content)?;
    ensure!(!victim.api.has_blob(GHOST, &claimed)?, "stored under a wrong digest");
    let again = victim.send("GET", &upload.location, &[], b"")?;
    oci_error(&again, &[404], &["BLOB_UPLOAD_UNKNOWN"])
}

fn wrong_digest_at_once(victim: &Victim<'_>) -> Result<()> {
    let content = entrepot_e2e::random_bytes(50_000);
    let claimed = digest(b"something else");
    let path = format!("/v2/{GHOST}/blobs/uploads/?digest={claimed}");
    let response = victim.send("POST", &path, &[OCTETS], &content)?;
    oci_error(&response, &[400], &["DIGEST_INVALID"])?;
    absent(victim, &content)
}

/// Sends a head that promises more than comes, then ends the connection.
fn cut(victim: &Victim<'_>, upload: &Upload, method: &str, headers: &str, body: &[u8]) -> Result<()> {
    let path = if method == "PUT" { with_digest(&upload.location, &digest(body)) } else { upload.location.clone() };
    let mut connection = victim.connect()?;
    connection.write_all(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n").as_bytes())?;
    connection.write_all(body)?;
    Ok(())
}

fn truncated(victim: &Victim<'_>) -> Result<()> {
    let content = entrepot_e2e::random_bytes(60_000);
    for method in ["PUT", "PATCH"] {
        let upload = victim.api.open_upload(GHOST)?;
        cut(victim, &upload, method, "Content-Length: 100000", &content)?;
        after_cut(victim, &upload, &content)?;
    }
    Ok(())
}

fn truncated_chunks(victim: &Victim<'_>) -> Result<()> {
    let content = entrepot_e2e::random_bytes(60_000);
    for method in ["PUT", "PATCH"] {
        let upload = victim.api.open_upload(GHOST)?;
        let mut body = format!("{:x}\r\n", 100_000).into_bytes();
        body.extend_from_slice(&content);
        cut(victim, &upload, method, "Transfer-Encoding: chunked", &body)?;
        after_cut(victim, &upload, &content)?;
    }
    Ok(())
}

/// Nothing is stored, and the session says how far it is or that it is gone.
fn after_cut(victim: &Victim<'_>, upload: &Upload, content: &[u8]) -> Result<()> {
    absent(victim, content)?;
    let (response, _) = poll::until("the session's state", Duration::from_secs(20), || {
        victim.send("GET", &upload.location, &[], b"")?.expect(&[204, 404, 416])
    })?;
    ensure!(response.status != 204 || response.header("range").is_some(), "no Range: {:?}", response.headers);
    cancel(victim, upload)
}

fn wrong_offsets(victim: &Victim<'_>) -> Result<()> {
    let mut upload = victim.api.open_upload(GHOST)?;
    victim.api.append(&mut upload, &[1; 1000])?;
    for range in
        ["2000-2999", "0-999", "500-1499", "1000-999", "1000-5000", "a-b", "-1-5", "1000-99999999999999999999999"]
    {
        let response = victim.send("PATCH", &upload.location, &[OCTETS, ("Content-Range", range)], &[2; 1000])?;
        oci_error(&response, &[400, 416], &[]).context(range)?;
    }
    let now = victim.api.upload_status(&upload)?;
    ensure!(now.offset == 1000, "the session moved to {}", now.offset);
    cancel(victim, &upload)
}

fn unknown_sessions(victim: &Victim<'_>) -> Result<()> {
    for id in ["00000000-0000-0000-0000-000000000000", "x", "..%2f..%2fx", "%00", "a'%20or%201=1"] {
        let path = format!("/v2/{GHOST}/blobs/uploads/{id}");
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            let path = if method == "PUT" { with_digest(&path, &victim.blob.digest) } else { path.clone() };
            let response = victim.send(method, &path, &[OCTETS], if method == "PATCH" { b"a" } else { b"" })?;
            oci_error(&response, &[400, 403, 404], &[]).with_context(|| format!("{method} {path}"))?;
        }
    }
    Ok(())
}

/// An identifier opens its own session in its own repository only.
fn foreign_session(victim: &Victim<'_>) -> Result<()> {
    let upload = victim.api.open_upload(HONEST)?;
    let elsewhere = upload.location.replacen(HONEST, GHOST, 1);
    ensure!(elsewhere != upload.location, "the location does not name the repository: {}", upload.location);
    for method in ["GET", "PATCH", "DELETE"] {
        let response = victim.send(method, &elsewhere, &[OCTETS], if method == "PATCH" { b"a" } else { b"" })?;
        ensure!((400..500).contains(&response.status), "{method} {elsewhere}: {}", response.status);
    }
    let now = victim.api.upload_status(&upload)?;
    ensure!(now.offset == 0, "the session moved to {}", now.offset);
    cancel(victim, &upload)
}

fn changed_location(victim: &Victim<'_>) -> Result<()> {
    let upload = victim.api.open_upload(GHOST)?;
    let (path, query) = upload.location.split_once('?').unwrap_or((&upload.location, ""));
    for query in [query.to_uppercase(), format!("{query}x"), "_state=x".to_owned()] {
        let changed = format!("{path}?{query}");
        let response = victim.send("PATCH", &changed, &[OCTETS], b"a")?;
        // In an open registry the address alone may do; then the byte is appended, which is no harm.
        ensure!(response.status < 500, "{changed}: {}", response.status);
    }
    cancel(victim, &upload)
}

fn cancelled(victim: &Victim<'_>) -> Result<()> {
    let mut upload = victim.api.open_upload(GHOST)?;
    victim.api.append(&mut upload, b"content")?;
    victim.send("DELETE", &upload.location, &[], b"")?.expect(&[204])?;
    let path = with_digest(&upload.location, &digest(b"content"));
    oci_error(&victim.send("PUT", &path, &[OCTETS], b"")?, &[404], &["BLOB_UPLOAD_UNKNOWN"])?;
    absent(victim, b"content")
}

/// No memory and no file is set aside for a length that was only claimed.
fn huge_length(victim: &Victim<'_>) -> Result<()> {
    for length in ["9223372036854775807", "18446744073709551615", "1099511627776"] {
        let upload = victim.api.open_upload(GHOST)?;
        let before = victim.resident_bytes()?;
        let path = with_digest(&upload.location, &victim.blob.digest);
        let request = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nabc");
        let answer = victim.raw(request.as_bytes())?;
        ensure!(!statuses(&answer).contains(&201), "{answer}");
        let grown = victim.resident_bytes()?.saturating_sub(before);
        ensure!(grown < 32 << 20, "memory grew by {grown} for a length of {length}");
        cancel(victim, &upload)?;
    }
    Ok(())
}

/// Whether bytes exist elsewhere makes no difference to who may not see them there.
fn blind_mount(victim: &Victim<'_>) -> Result<()> {
    let nowhere = digest(b"never pushed");
    for (wanted, from) in [(&nowhere, HONEST), (&victim.blob.digest, "no/such/repository"), (&nowhere, "..%2f..")] {
        let path = format!("/v2/{GHOST}/blobs/uploads/?mount={wanted}&from={from}");
        let response = victim.send("POST", &path, &[], b"")?.expect(&[202, 400, 404])?;
        if let Some(location) = response.header("location") {
            victim.send("DELETE", location, &[], b"")?;
        }
    }
    ensure!(!victim.api.has_blob(GHOST, &victim.blob.digest)?, "mounted from nowhere");
    Ok(())
}
