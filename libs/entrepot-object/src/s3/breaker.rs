//! A circuit breaker: a store that is down is left alone for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many calls must fail in a row, each after its own retries. A store that fails one call in three gets there
/// once in 60,000 calls.
const FAILURES: u32 = 10;
/// How long a store is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// A trial of which nothing is heard for so long is forgotten, as when its request was dropped.
const TRIAL: Duration = Duration::from_secs(30);

/// Lets calls pass while they succeed; after a row of failures refuses them for a while, then tries a single one.
///
/// Waiting callers cost memory and connections, and their retries keep a store down that is coming up again.
#[derive(Debug)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Calls pass; so many have failed in a row.
    Closed { failures: u32 },
    /// No call passes until then; then one does.
    Open { until: Instant },
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }) }
    }
}

impl Breaker {
    /// Whether a call may be made at `now`.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => true,
            State::Open { until } if now < until => false,
            // This call is the trial; others wait for its result.
            State::Open { .. } => {
                *state = State::Open { until: now + TRIAL };
                true
            }
        }
    }

    /// A call was answered, whatever the answer.
    pub(super) fn answered(&self) {
        *self.state() = State::Closed { failures: 0 };
    }

    /// A call failed at `now`: no answer, or one that says the store cannot.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state();
        *state = match *state {
            State::Closed { failures } if failures + 1 < FAILURES => State::Closed { failures: failures + 1 },
            State::Closed { .. } | State::Open { .. } => {
                tracing::warn!(pause = ?PAUSE, "the object store does not answer: it is left alone for a while");
                State::Open { until: now + PAUSE }
            }
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // One value, written whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
