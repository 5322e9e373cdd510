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

/// A call under way. One that is dropped without a word counts as failed, if it had the time for an answer.
///
/// Whoever makes it has a deadline of its own. If all give up before the store's time is over, nobody would ever say
/// that a store is silent; a client that hangs up at once says nothing about it.
#[derive(Debug)]
pub(super) struct Call<'a> {
    breaker: &'a Breaker,
    /// When the store should have answered. `None` once it is known what became of the call.
    due: Option<Instant>,
}

impl Breaker {
    /// Begins a call at `now` that should be answered after `attempt` at the latest; `None` if it may not be made.
    pub(super) fn begin(&self, now: Instant, attempt: Duration) -> Option<Call<'_>> {
        self.admits(now).then(|| Call { breaker: self, due: Some(now + attempt) })
    }

    /// Whether a call may be made at `now`.
    fn admits(&self, now: Instant) -> bool {
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
    fn answered(&self) {
        *self.state() = State::Closed { failures: 0 };
    }

    /// A call failed at `now`: no answer, or one that says the store cannot.
    fn failed(&self, now: Instant) {
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

impl Call<'_> {
    /// The call was answered, whatever the answer.
    pub(super) fn answered(mut self) {
        self.due = None;
        self.breaker.answered();
    }

    /// The call was not made after all.
    pub(super) fn not_made(mut self) {
        self.due = None;
    }

    /// The call failed: no answer, or one that says the store cannot.
    pub(super) fn failed(mut self) {
        self.due = None;
        self.breaker.failed(Instant::now());
    }

    /// Nobody waits for the call any more at `now`.
    fn given_up(&mut self, now: Instant) {
        if self.due.take().is_some_and(|due| now >= due) {
            self.breaker.failed(now);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.given_up(Instant::now());
    }
}

#[cfg(test)]
mod tests;
