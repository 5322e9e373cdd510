//! What processes tell each other and may lose.
//!
//! Everything here only saves waiting: a notice that gets lost costs a few seconds, a shared budget that cannot be merged
//! is kept by each process alone. So Redis may be away, slow, flushed or another one at any moment, and nothing that is
//! true is ever asked of it.
//!
//! No caller waits for Redis: [`Notices`](entrepot_core::ports::Notices) are handed to a queue, and one task, [`Redis::run`], owns the one
//! connection and does all the talking. When a command fails or takes longer than its time, that task lets go of the
//! connection, and until another one works everything stays within the process.
//!
//! [`LocalNotices`] and [`SharedBudgets::default`] are the same without Redis.

mod backoff;
mod budget;
mod link;
mod notices;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use entrepot_core::ports::notices::Notice;
use tokio::sync::watch;

pub use budget::SharedBudgets;
pub use notices::{LocalNotices, RedisNotices};

use crate::link::Link;

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: String,
    /// Longest a command takes before the connection counts as lost.
    pub command_timeout: Duration,
    /// Name of the registry: several may share one Redis.
    pub namespace: String,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, command_timeout, namespace } = self;
        f.debug_struct("RedisConfig")
            .field("url", &"***")
            .field("command_timeout", command_timeout)
            .field("namespace", namespace)
            .finish()
    }
}

/// Why a Redis cannot be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URL of the form redis://[[user]:password@]host[:port][/database], or rediss:// for TLS")]
pub struct RedisUrlError;

/// One process's side of a Redis. Clones share it.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    notices: Arc<RedisNotices>,
    budgets: SharedBudgets,
}

impl Redis {
    /// Prepares; nothing is connected before [`Redis::run`].
    ///
    /// # Errors
    /// The URL is none of a Redis.
    pub fn new(config: &RedisConfig) -> Result<Self, RedisUrlError> {
        let notices = Arc::new(RedisNotices::new());
        let budgets = SharedBudgets::default();
        let link = Arc::new(Link::new(config, Arc::clone(&notices), budgets.clone())?);
        Ok(Self { link, notices, budgets })
    }

    /// Connects, and again whenever the connection is lost, for as long as it is polled. To be run once.
    pub async fn run(self) {
        self.link.run().await;
    }

    /// Tells the processes that listen, once, without [`Redis::run`]; answers whether Redis took it.
    pub async fn publish_once(&self, notice: &Notice) -> bool {
        self.link.publish_once(notice).await
    }

    /// Whether the connection works; a receiver that follows it.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.link.connected()
    }

    /// Notices to and from every process that has the same Redis and namespace.
    pub fn notices(&self) -> Arc<RedisNotices> {
        Arc::clone(&self.notices)
    }

    /// Budgets shared by every process that has the same Redis and namespace.
    pub fn budgets(&self) -> SharedBudgets {
        self.budgets.clone()
    }
}
