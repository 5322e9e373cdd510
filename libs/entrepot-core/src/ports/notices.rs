//! Hints between processes: what was deleted, what changed, what there is to do.
//!
//! A hint saves waiting and nothing else. It may be lost, come late, twice or in another order; whoever acts on one must
//! come to the same end without it, only later. So nothing that has to be known is ever sent only this way.

use futures_util::stream::BoxStream;

use crate::digest::Digest;
use crate::repository::RepositoryName;

/// A hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A manifest was deleted from a repository: what is remembered of it is to be forgotten.
    ManifestDeleted(RepositoryName, Digest),
    /// A blob was taken out of a repository.
    BlobDeleted(RepositoryName, Digest),
    /// Somebody's rights changed: [`TokenService::changes`](crate::ports::TokenService::changes) says whose.
    RightsChanged,
    /// Keys were queued for gc-worker.
    GarbageQueued,
    /// Notices may have been lost. Never published: a subscription says it of itself.
    Missed,
}

/// Where hints are published and come from.
///
/// # Contract
/// - `publish` neither waits nor fails; it may be called from anywhere.
/// - A subscription yields what is published while it works, its own process's notices included, and [`Notice::Missed`]
///   where some may have been lost, before any notice that came after those. It begins with one when it cannot tell
///   from when on it works, and never ends while the implementation lives.
pub trait Notices: Send + Sync + 'static {
    /// Tells everybody who subscribed, if that is possible just now.
    fn publish(&self, notice: Notice);

    /// What others publish from now on.
    fn subscribe(&self) -> BoxStream<'static, Notice>;
}
