//! A client's own retries, as docker, containerd and crane have them: an operation that got no answer, or
//! was told "not now", is done again from its start after a pause.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, bail};

use crate::http::Unexpected;

/// Longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(2);
/// Longer than this a registry need not ask for in a test.
const LONGEST_ASKED: Duration = Duration::from_secs(5);

/// How an operation that failed may be seen.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No answer: the connection failed or was cut, so nobody knows whether it was done.
    Cut,
    /// 429 or 503 with a time to come back.
    NotNow,
    /// Anything else: a fault, or a refusal that no honest client deserves.
    Fault(String),
}

/// What `error` says about the registry.
#[must_use]
pub fn verdict(error: &Error) -> Verdict {
    match error.downcast_ref::<Unexpected>() {
        Some(Unexpected { status: 429 | 503, retry_after: Some(_), .. }) => Verdict::NotNow,
        Some(Unexpected { status: status @ (429 | 503), retry_after: None, text, .. }) => {
            Verdict::Fault(format!("{status} without Retry-After: {text}"))
        }
        Some(other) => Verdict::Fault(other.to_string()),
        None if error.chain().any(<dyn std::error::Error>::is::<std::io::Error>) => Verdict::Cut,
        None => Verdict::Fault(format!("{error:#}")),
    }
}

/// How long the registry asks to wait, within reason.
fn asked_for(error: &Error) -> Duration {
    let seconds = error.downcast_ref::<Unexpected>().and_then(|answer| answer.retry_after.as_ref()?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_ASKED)
}

/// Retries with a deadline, and what they met; shared by the threads of one load.
#[derive(Debug, Default)]
pub struct Patience {
    attempts: u32,
    limit: Duration,
    cut: AtomicU64,
    not_now: AtomicU64,
    most_attempts: AtomicU64,
    times: Mutex<Vec<Duration>>,
}

impl Patience {
    /// At most `attempts`, and none begun after `limit`.
    #[must_use]
    pub fn new(attempts: u32, limit: Duration) -> Self {
        Self { attempts, limit, ..Self::default() }
    }

    /// Does `operation` until it succeeds.
    ///
    /// # Errors
    /// A fault at once; otherwise the last failure when patience is at its end.
    pub fn keep<T>(&self, what: &str, mut operation: impl FnMut() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(50);
        for attempt in 1.. {
            self.most_attempts.fetch_max(attempt, Ordering::Relaxed);
            let begun = Instant::now();
            let error = match operation() {
                Ok(value) => {
                    self.times.lock().expect("nothing panics while it is held").push(begun.elapsed());
                    return Ok(value);
                }
                Err(error) => error,
            };
            match verdict(&error) {
                Verdict::Fault(fault) => return Err(error.context(fault)).with_context(|| what.to_owned()),
                Verdict::Cut => self.cut.fetch_add(1, Ordering::Relaxed),
                Verdict::NotNow => self.not_now.fetch_add(1, Ordering::Relaxed),
            };
            if attempt >= u64::from(self.attempts) || start.elapsed() > self.limit {
                return Err(error.context(format!("{what}: given up after {attempt} attempts, {:?}", start.elapsed())));
            }
            thread::sleep(pause.max(asked_for(&error)));
            pause = (pause * 2).min(LONGEST);
        }
        bail!("{what}: no attempt was made")
    }

    /// Operations that got no answer.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Operations that were told to come back.
    #[must_use]
    pub fn not_now(&self) -> u64 {
        self.not_now.load(Ordering::Relaxed)
    }

    /// The most attempts that one operation took.
    #[must_use]
    pub fn most_attempts(&self) -> u64 {
        self.most_attempts.load(Ordering::Relaxed)
    }

    /// The time within which `percent` of all successful attempts ended.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.lock().expect("nothing panics while it is held").clone();
        times.sort_unstable();
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// For people.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} cut off, {} told to come back, at most {} attempts",
            self.cut(),
            self.not_now(),
            self.most_attempts()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unexpected(status: u16, retry_after: Option<&str>) -> Error {
        let retry_after = retry_after.map(str::to_owned);
        Unexpected { expected: vec![201], status, text: String::new(), retry_after }.into()
    }

    #[test]
    fn only_silence_and_a_dated_refusal_are_excused() {
        assert_eq!(verdict(&unexpected(503, Some("1"))), Verdict::NotNow);
        assert_eq!(verdict(&unexpected(429, Some("1"))), Verdict::NotNow);
        let cut = Error::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)).context("reading");
        assert_eq!(verdict(&cut), Verdict::Cut);
        for fault in [unexpected(503, None), unexpected(500, Some("1")), unexpected(404, None), Error::msg("wrong")] {
            assert!(matches!(verdict(&fault), Verdict::Fault(_)), "{fault:#}");
        }
    }

    #[test]
    fn a_fault_ends_patience_at_once_and_a_cut_does_not() {
        let patience = Patience::new(3, Duration::from_secs(5));
        let mut left = 2;
        let outcome = patience.keep("push", || {
            left -= 1;
            if left == 0 { Ok(7) } else { Err(unexpected(503, Some("0"))) }
        });
        assert_eq!((outcome.unwrap(), patience.not_now(), patience.most_attempts()), (7, 1, 2));
        let mut calls = 0;
        let outcome: Result<()> = patience.keep("push", || {
            calls += 1;
            Err(unexpected(500, None))
        });
        assert!(format!("{:#}", outcome.unwrap_err()).contains("500"));
        assert_eq!(calls, 1);
    }
}
