//! Waiting for something outside this process, with a deadline and the last thing seen.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(5);

/// Calls `attempt` until it succeeds, at most for `limit`; returns its value and how long it took.
///
/// # Errors
/// The last error of `attempt`, after the deadline.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok((value, start.elapsed())),
            Err(error) if start.elapsed() > limit => {
                bail!("{what} did not come within {limit:?}, last: {error:#}")
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
