//! Clients that hold on to what they have: connections, requests, answers.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use entrepot_e2e::http::Connection;
use entrepot_e2e::poll;

use super::target::{Case, GHOST, HONEST, Victim};

pub(super) const CASES: &[Case] = &[
    ("heads that never end", slow_heads),
    ("bodies that never end", slow_bodies),
    ("answers that nobody reads", slow_readers),
];

/// A head is complete within ten seconds, or the connection is closed; with some patience for a busy machine.
const HEAD: Duration = Duration::from_secs(30);
/// An honest request beside the slow ones.
const HONEST_TIME: Duration = Duration::from_secs(5);
const CROWD: usize = 200;

fn honest_is_quick(victim: &Victim<'_>) -> Result<()> {
    let start = Instant::now();
    victim.is_well()?;
    let took = start.elapsed();
    ensure!(took < HONEST_TIME, "an honest client waited {took:?}");
    Ok(())
}

fn crowd(victim: &Victim<'_>, size: usize, bytes: &[u8]) -> Result<Vec<Connection>> {
    (0..size)
        .map(|_| {
            let mut connection = victim.connect()?;
            connection.write_all(bytes)?;
            Ok(connection)
        })
        .collect()
}

fn slow_heads(victim: &Victim<'_>) -> Result<()> {
    let mut connections = crowd(victim, CROWD, b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Slow: ")?;
    honest_is_quick(victim)?;
    let closed = poll::until("the end of every unfinished head", HEAD, || {
        for connection in &mut connections {
            connection.set_read_timeout(Duration::from_millis(1))?;
            let mut answer = [0; 4096];
            loop {
                match connection.read(&mut answer) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                    Err(error) => return Err(error).context("still open"),
                }
            }
        }
        Ok(())
    });
    closed.map(drop)
}

fn slow_bodies(victim: &Victim<'_>) -> Result<()> {
    let before = victim.resident_bytes()?;
    let mut sessions = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..50 {
        let upload = victim.api.open_upload(GHOST)?;
        let head = format!("PATCH {} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc", upload.location);
        connections.extend(crowd(victim, 1, head.as_bytes())?);
        sessions.push(upload);
    }
    honest_is_quick(victim)?;
    let grown = victim.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "50 idle uploads hold {grown} bytes");
    drop(connections);
    for session in sessions {
        victim.send("DELETE", &session.location, &[], b"")?;
    }
    Ok(())
}

fn slow_readers(victim: &Victim<'_>) -> Result<()> {
    let before = victim.resident_bytes()?;
    let request = format!("GET /v2/{HONEST}/blobs/{} HTTP/1.1\r\nHost: a\r\n\r\n", victim.large.digest);
    let connections = crowd(victim, CROWD, request.as_bytes())?;
    honest_is_quick(victim)?;
    let grown = victim.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 128 << 20, "{CROWD} readers that do not read hold {grown} bytes");
    drop(connections);
    Ok(())
}
