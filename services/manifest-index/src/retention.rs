//! How long things are kept without a reason to. All by the database's clock.

use std::time::Duration;

/// How long a link keeps its blob while no manifest needs it.
///
/// A push must be able to end with its manifest this long after the client last heard that the blob exists: slow
/// links and build farms that push in stages take hours, hardly ever a day.
pub const LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after it lost an edge something is first looked at.
///
/// At least the lease, since a link that only its lease holds is looked at when that can be over. A tag moved by
/// mistake can be moved back within this time.
pub const REVIEW_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a session that is over stays known: a completion whose answer got lost is repeated and answered the same.
pub const SESSION_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is remembered that a write took effect.
///
/// One whose commit was not answered runs again within the time limits of a few statements.
pub(crate) const OPERATION_MEMORY: Duration = Duration::from_secs(10 * 60);

/// How long after its last change a completion counts as one that nobody finishes any more.
///
/// The request may have died with its process. Longer than a client waits for an answer; a slow one that is still at
/// work then is fenced off by the epoch, as everywhere.
pub(crate) const COMPLETION: Duration = Duration::from_secs(10 * 60);

/// A duration as the database counts, in milliseconds; longer than time itself becomes "for ever".
pub(crate) fn milliseconds(duration: Duration) -> i64 {
    // Half of the range, so that adding it to a date cannot overflow.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}
