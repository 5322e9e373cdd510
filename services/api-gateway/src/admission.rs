//! Which requests are let in, and how many at once.
//!
//! Every request belongs to a [`Class`] and, where it names a repository, to a tenant. The lower the class, the less of
//! the gateway it may fill: when work piles up, new pushes are refused first and pushes under way last. A request
//! that does not fit waits its turn for at most `queue`, then it is refused: 429 where its tenant takes too much, 503
//! where everybody together does, always with the limit's name and a time to come back.

mod charge;
mod held;
mod labels;
mod rates;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use entrepot_core::{ErrorKind, OciCode, TenantName};
use tokio::sync::oneshot;

pub(crate) use self::charge::Ask;
pub(crate) use self::held::keep;
use self::labels::TenantLabels;
pub(crate) use self::rates::Rates;
pub use self::rates::{Rate, RateLimits};
use self::state::{Refusal, State};
use crate::error::ApiError;

/// What may be in flight at once. A request is in flight from its head to the last byte of its answer.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Requests.
    pub requests: usize,
    /// Bytes of bodies that may be in memory.
    pub bytes_in_flight: u64,
    /// Requests of one tenant; without it the fair share alone decides.
    pub tenant_requests: Option<usize>,
    /// Bytes of bodies of one tenant; without it the fair share alone decides.
    pub tenant_bytes_in_flight: Option<u64>,
    /// How long a request waits for its turn.
    pub queue_timeout: Duration,
    /// How many wait.
    pub queued: usize,
}

/// What kind of work a request is, in the order in which it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Begins a push: its client has lost nothing yet.
    Start,
    /// Reads a blob: long, and easily done again.
    Blob,
    /// Looks something up, or deletes it.
    Metadata,
    /// Continues or completes a push, whose bytes would be lost.
    Finish,
}

impl Class {
    pub(crate) const ALL: [Self; 4] = [Self::Start, Self::Blob, Self::Metadata, Self::Finish];

    /// Percent of each limit that this class may fill, together with all that is in flight. What is left above it is
    /// kept for the classes that are refused later.
    const fn share(self) -> u64 {
        match self {
            Self::Start => 70,
            Self::Blob => 85,
            Self::Metadata => 95,
            Self::Finish => 100,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "push_start",
            Self::Blob => "blob",
            Self::Metadata => "metadata",
            Self::Finish => "push_finish",
        }
    }
}

/// Decides who comes in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    queue_timeout: Duration,
    labels: TenantLabels,
    state: Mutex<State>,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        let state = Mutex::new(State::new(limits));
        Self(Arc::new(Inner { queue_timeout: limits.queue_timeout, labels: TenantLabels::default(), state }))
    }

    /// Lets a request in, at once or after a short wait.
    pub(crate) async fn admit(&self, ask: Ask) -> Result<Permit, ApiError> {
        let (refusal, waiting) = {
            let mut state = self.state();
            let Err(refusal) = state.take(&ask) else {
                return Ok(Permit { admission: self.clone(), ask });
            };
            (refusal, state.enqueue(&ask))
        };
        let Some((ticket, turn)) = waiting else { return Err(self.shed(&ask, refusal, "queue_full")) };
        let place = Place { admission: self, ticket, ask: &ask };
        let since = Instant::now();
        let turn = tokio::time::timeout(self.0.queue_timeout, turn).await;
        let waited = since.elapsed().as_secs_f64();
        metrics::histogram!("entrepot_admission_queue_seconds", "class" => ask.class.as_str()).record(waited);
        drop(place);
        match turn {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(self.shed(&ask, refusal, "queue_timeout")),
        }
    }

    fn shed(&self, ask: &Ask, refusal: Refusal, when: &'static str) -> ApiError {
        let tenant = self.0.labels.label(ask.tenant.as_ref());
        let (class, reason) = (ask.class.as_str(), refusal.reason());
        metrics::counter!(
            "entrepot_admission_shed_total", "class" => class, "reason" => reason, "when" => when, "tenant" => tenant
        )
        .increment(1);
        let (kind, code) = match refusal {
            Refusal::Registry(_) => (ErrorKind::Unavailable, OciCode::Unavailable),
            Refusal::Tenant(_) | Refusal::Share(_) => (ErrorKind::TooManyRequests, OciCode::TooManyRequests),
        };
        ApiError::new(kind, code, refusal.describe(ask.tenant.as_ref())).with_detail("limit", reason)
    }

    /// Keeps the metrics of what is in flight up to date. Runs for ever.
    pub(crate) async fn report(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            self.state().report();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands what has become free to those who wait.
    fn hand_on(&self, freed: impl FnOnce(&mut State)) {
        let turns = {
            let mut state = self.state();
            freed(&mut state);
            state.turns()
        };
        // Outside the lock: a permit that nobody waits for any more is dropped here and comes back.
        for (ask, turn) in turns {
            let _gone = turn.send(Permit { admission: self.clone(), ask });
        }
    }
}

/// A request that was let in; dropping it makes room for the next.
pub(crate) struct Permit {
    admission: Admission,
    ask: Ask,
}

impl Permit {
    /// Counts `bytes` instead of what was known of the request when it was let in; more of them in their turn.
    ///
    /// The place is given back before it waits: two that kept what they have would wait for each other.
    pub(crate) async fn charge(mut self, bytes: u64) -> Result<Self, ApiError> {
        if self.exchange(bytes).is_ok() {
            return Ok(self);
        }
        let (admission, ask) = (self.admission.clone(), Ask { bytes, ..self.ask.clone() });
        drop(self);
        admission.admit(ask).await
    }

    /// The same without waiting, for bytes that are in memory already.
    pub(crate) fn charge_at_once(mut self, bytes: u64) -> Result<Self, ApiError> {
        match self.exchange(bytes) {
            Ok(()) => Ok(self),
            Err(refusal) => Err(self.admission.shed(&self.ask, refusal, "at_once")),
        }
    }

    /// Takes the larger place in one step with giving the old one back, which whoever waits would have otherwise.
    fn exchange(&mut self, bytes: u64) -> Result<(), Refusal> {
        if bytes > self.ask.bytes {
            let larger = Ask { bytes, ..self.ask.clone() };
            self.admission.state().exchange(&self.ask, &larger)?;
            self.ask = larger;
        }
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.hand_on(|state| state.give_back(&self.ask));
    }
}

/// A place in the queue, given up when the client goes away or its time is over.
struct Place<'a> {
    admission: &'a Admission,
    ticket: u64,
    ask: &'a Ask,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Whoever stood behind it in the same tenant may be next.
        self.admission.hand_on(|state| state.leave(self.ticket, self.ask));
    }
}

type Turn = oneshot::Sender<Permit>;

/// The tenant of a refusal in words.
fn of(tenant: Option<&TenantName>) -> String {
    tenant.map_or_else(|| "this caller".to_owned(), |tenant| format!("tenant {tenant}"))
}

#[cfg(test)]
mod tests;
