//! Whose rights changed since their tokens were issued.
//!
//! A token carries its rights and lives for minutes; a change of them must count within five seconds on every gateway.
//! So a gateway keeps what auth-token says has changed, and refuses a token that was issued from an older generation of
//! its principal's rights, or of everybody's: the client then asks for another one.
//!
//! What is known is never older than [`FRESH`] when it decides, which is checked by each request and does not rest on
//! any task or message arriving: past [`REFRESH`] a request has it read again without waiting, past [`FRESH`] it waits. A
//! hint that something changed makes the next request wait for a new reading at once.
//!
//! While auth-token cannot be read, what writes is refused, and what only reads goes on for [`GRACE`], with the rights
//! that were good before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use entrepot_core::ports::auth::{AuthError, CHANGES_KEPT, RightsChange, TokenService};
use entrepot_core::{ErrorKind, OciCode, Principal};
use entrepot_runtime::telemetry::Chain;
use entrepot_token::Grant;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::ApiError;

/// Older knowledge is read again on the side.
const REFRESH: Duration = Duration::from_secs(1);
/// Older knowledge decides nothing: with the time of a reading, a change counts within five seconds.
const FRESH: Duration = Duration::from_secs(4);
/// How long pulls go on without auth-token.
const GRACE: Duration = Duration::from_secs(60);
/// Longest a request waits for a reading.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two readings that fail.
const PAUSE: Duration = Duration::from_millis(500);

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Look at what is there.
    Read,
    /// Change something.
    Write,
}

/// The changes of rights, as this gateway knows them.
pub(super) struct Rights {
    tokens: Arc<dyn TokenService>,
    known: ArcSwap<Known>,
    /// How many hints came. One reading serves all that came before it began.
    hints: AtomicU64,
    /// The last reading failed: nobody waits for the next.
    failing: AtomicBool,
    /// Held by the one who reads; when its last attempt failed.
    reading: Mutex<Option<Instant>>,
}

/// What one reading found.
struct Known {
    /// When it began. `None` before the first.
    at: Option<Instant>,
    hints: u64,
    cursor: u64,
    changes: Arc<Changes>,
}

/// The last change of each principal, and of everybody.
#[derive(Clone, Default)]
struct Changes {
    of: HashMap<Principal, Change>,
    everybody: u64,
    newest: u64,
}

#[derive(Clone, Copy)]
struct Change {
    generation: u64,
    told: Instant,
}

impl Changes {
    fn add(&mut self, changes: Vec<RightsChange>, now: Instant) {
        // No token from before such a change can be valid any more.
        self.of.retain(|_, change| now.duration_since(change.told) < CHANGES_KEPT);
        for RightsChange { subject, generation } in changes {
            self.newest = self.newest.max(generation);
            if subject == Principal::Anonymous {
                self.everybody = self.everybody.max(generation);
            } else {
                self.of.insert(subject, Change { generation, told: now });
            }
        }
    }

    /// True unless a later change may have taken something away from this token.
    fn allow(&self, grant: &Grant) -> bool {
        grant.generation >= self.newest
            || grant.generation >= self.everybody
                && self.of.get(&grant.principal).is_none_or(|change| grant.generation >= change.generation)
    }
}

impl Known {
    fn age(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.elapsed())
    }
}

impl Rights {
    pub(super) fn new(tokens: Arc<dyn TokenService>) -> Arc<Self> {
        let known = Known { at: None, hints: 0, cursor: 0, changes: Arc::default() };
        Arc::new(Self {
            tokens,
            known: ArcSwap::from_pointee(known),
            hints: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            reading: Mutex::new(None),
        })
    }

    /// Somebody's rights may have changed just now.
    pub(super) fn hint(&self) {
        self.hints.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether the token's rights are those of now.
    ///
    /// # Errors
    /// Unavailable when that cannot be told.
    pub(super) async fn check(self: &Arc<Self>, grant: &Grant, purpose: Purpose) -> Result<bool, ApiError> {
        let age = self.known.load().age();
        let suspect = self.is_suspect();
        if suspect || age >= REFRESH {
            if (suspect || age >= FRESH) && !self.failing.load(Ordering::SeqCst) {
                self.refresh().await;
            } else if self.reading.try_lock().is_ok() {
                let rights = Arc::clone(self);
                tokio::spawn(async move { rights.refresh().await });
            }
        }
        let known = self.known.load();
        let limit = if purpose == Purpose::Read { GRACE } else { FRESH };
        if known.age() >= limit {
            return Err(ApiError::new(
                ErrorKind::Unavailable,
                OciCode::Unavailable,
                "whether the token's rights still hold cannot be told just now; try again",
            ));
        }
        Ok(known.changes.allow(grant))
    }

    fn is_suspect(&self) -> bool {
        self.known.load().hints != self.hints.load(Ordering::SeqCst)
    }

    /// Reads what changed, unless somebody else has just done so or it has just failed.
    async fn refresh(&self) {
        let mut failed = self.reading.lock().await;
        let current = self.known.load().age() < REFRESH && !self.is_suspect();
        if current || failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        let outcome = match timeout(PATIENCE, self.read()).await {
            Ok(outcome) => outcome,
            Err(late) => Err(AuthError::Unavailable(Box::new(late))),
        };
        let was_failing = self.failing.swap(outcome.is_err(), Ordering::SeqCst);
        match outcome {
            Ok(known) => {
                self.known.store(Arc::new(known));
                *failed = None;
                if was_failing {
                    tracing::info!("changes of rights can be read again");
                }
            }
            Err(error) => {
                *failed = Some(Instant::now());
                metrics::counter!("entrepot_gateway_rights_failures_total").increment(1);
                if !was_failing {
                    tracing::warn!(error = %Chain(&error), "changes of rights cannot be read: pushes are refused, pulls go on for {GRACE:?}");
                }
            }
        }
    }

    async fn read(&self) -> Result<Known, AuthError> {
        let at = Instant::now();
        let hints = self.hints.load(Ordering::SeqCst);
        let before = self.known.load_full();
        let (mut cursor, mut changed) = (before.cursor, Vec::new());
        let mut restored = false;
        loop {
            let part = self.tokens.changes(cursor).await?;
            if part.cursor < cursor {
                // The database was restored and counts from a lower number: what was known is of another history.
                changed.clear();
                restored = true;
            } else if part.more && part.cursor == cursor {
                return Err(AuthError::Internal("the list of changes does not end".into()));
            }
            changed.extend(part.changes);
            cursor = part.cursor;
            if !part.more {
                break;
            }
        }
        let mut changes = Arc::clone(&before.changes);
        if restored {
            changes = Arc::default();
        }
        if !changed.is_empty() {
            Arc::make_mut(&mut changes).add(changed, at);
        }
        Ok(Known { at: Some(at), hints, cursor, changes })
    }
}

#[cfg(test)]
mod tests;
