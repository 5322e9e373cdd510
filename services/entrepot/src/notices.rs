//! Hints between the processes of a registry: over Redis where there is one.

use std::sync::Arc;

use anyhow::Context;
use entrepot_core::TokenBuckets;
use entrepot_core::ports::RateBudget;
use entrepot_core::ports::notices::{Notice, Notices};
use entrepot_redis::{LocalNotices, Redis};
use futures_util::StreamExt;
use gc_worker::Poke;

use crate::config::Config;
use crate::process::Process;

/// At most one round of gc-worker in this time is started early.
const POKE_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// What the processes of a registry share as far as there is Redis, and each has for itself where there is none.
pub(crate) struct Shared {
    pub(crate) notices: Arc<dyn Notices>,
    pub(crate) budget: Arc<dyn RateBudget>,
}

/// What this process shares with others.
pub(crate) fn open(config: &Config, process: &mut Process) -> anyhow::Result<Shared> {
    let Some(redis) = connection(config)? else {
        return Ok(Shared { notices: Arc::new(LocalNotices::new()), budget: Arc::new(TokenBuckets::new()) });
    };
    let shared = Shared { notices: redis.notices(), budget: Arc::new(redis.budgets()) };
    process.background("redis", async move {
        redis.run().await;
        Ok(())
    });
    Ok(shared)
}

/// Tells running gateways at once that rights changed. Without Redis they find out within five seconds.
pub(crate) async fn tell_of_rights(config: &Config) -> anyhow::Result<()> {
    if let Some(redis) = connection(config)?
        && !redis.publish_once(&Notice::RightsChanged).await
    {
        tracing::warn!("Redis could not be told of the change; it counts within five seconds all the same");
    }
    Ok(())
}

/// Starts a round of gc-worker when there may be work.
pub(crate) fn wake(process: &mut Process, notices: &Arc<dyn Notices>, poke: Poke) {
    let mut notices = notices.subscribe();
    process.background("gc-worker notices", async move {
        while let Some(notice) = notices.next().await {
            if matches!(notice, Notice::GarbageQueued | Notice::Missed) {
                poke.poke();
                tokio::time::sleep(POKE_PAUSE).await;
            }
        }
        Ok(())
    });
}

fn connection(config: &Config) -> anyhow::Result<Option<Redis>> {
    let connection = config.redis.connection(&config.auth.service);
    connection.map(|config| Redis::new(&config).context("cannot use redis.url")).transpose()
}
