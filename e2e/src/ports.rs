//! Ports for servers that are killed and started again on the same address.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;

use anyhow::{Result, bail};
use rand::RngExt as _;

/// The kernel takes ports for outgoing connections from a range of its own. A server that is down for a
/// moment would lose such a port to any connection of its neighbours, so ours lie below that range.
const BELOW_EPHEMERAL: std::ops::Range<u16> = 10_000..32_000;
/// More attempts than this mean that something else is wrong.
const ATTEMPTS: usize = 1000;

/// Given out by this process.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// `count` ports of loopback that are free now and that this function gives to nobody else.
///
/// # Errors
/// When no free port is found.
pub fn free(count: usize) -> Result<Vec<u16>> {
    (0..count).map(|_| free_port()).collect()
}

/// One of [`free`].
///
/// # Errors
/// As [`free`].
pub fn free_port() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let port = rand::rng().random_range(BELOW_EPHEMERAL);
        let free = |host: &str| TcpListener::bind((host, port)).is_ok();
        if free("127.0.0.1") && TAKEN.lock().expect("nothing panics while it is held").insert(port) {
            return Ok(port);
        }
    }
    bail!("no free port in {BELOW_EPHEMERAL:?} after {ATTEMPTS} attempts")
}

/// `127.0.0.1:<free port>`.
///
/// # Errors
/// As [`free`].
pub fn free_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?)))
}
