//! The loop: lease, delete, acknowledge.

use std::sync::Arc;

use entrepot_core::error::Classify;
use entrepot_core::ports::blobs::BlobStore;
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::IndexError;
use entrepot_runtime::BoxError;
use entrepot_runtime::telemetry::{Chain, RemoteTrace, in_trace};
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::config::WorkerConfig;

const DELETED: &str = "entrepot_gc_deleted_keys_total";
const FAILED: &str = "entrepot_gc_failures_total";

/// One worker.
pub struct Worker {
    queue: Arc<dyn GarbageQueue>,
    blobs: Arc<dyn BlobStore>,
    config: WorkerConfig,
    poke: Arc<Notify>,
}

/// Starts the next round of a worker at once. Pokes only save waiting: a lost one costs at most
/// the interval.
#[derive(Clone, Debug)]
pub struct Poke(Arc<Notify>);

impl Poke {
    /// There may be work.
    pub fn poke(&self) {
        self.0.notify_one();
    }
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// As many items as asked for: there may be more.
    Full,
    /// Nothing is left, or others hold it.
    Drained,
    /// Something failed; its items come back when their lease ends.
    Failed,
}

impl Worker {
    /// A worker over the ports of the two services, wherever they run.
    pub fn new(queue: Arc<dyn GarbageQueue>, blobs: Arc<dyn BlobStore>, config: WorkerConfig) -> Self {
        metrics::describe_counter!(DELETED, "Keys deleted at blob-store, by reason.");
        metrics::describe_counter!(FAILED, "Calls of gc-worker that failed, by step.");
        Self { queue, blobs, config, poke: Arc::new(Notify::new()) }
    }

    /// A handle to start a round early.
    pub fn poke(&self) -> Poke {
        Poke(Arc::clone(&self.poke))
    }

    /// Works until dropped, which is safe at any point: what was leased comes back.
    ///
    /// # Errors
    /// None: failures are logged and tried again. The type is that of a supervised task.
    pub async fn run(self) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(self.config.interval);
        loop {
            let round = in_trace(&RemoteTrace::default(), || tracing::info_span!("gc.reap"), self.round()).await;
            let pause = match round {
                Round::Full => {
                    backoff.reset();
                    continue;
                }
                Round::Drained => {
                    backoff.reset();
                    self.config.interval
                }
                Round::Failed => backoff.failed(),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.poke.notified(), if round == Round::Drained => {}
            }
        }
    }

    /// Leases a batch and deletes it. What could not be deleted is not acknowledged.
    async fn round(&self) -> Round {
        let leased = self.queue.lease(self.config.batch, self.config.hold, self.config.upload_idle).await;
        let items = match leased {
            Ok(items) => items,
            Err(error) => return failed("lease", &error),
        };
        let mut gone = Vec::with_capacity(items.len());
        let mut deleted = true;
        for item in &items {
            match self.blobs.delete(item.key).await {
                Ok(()) => gone.push(item),
                Err(error) => {
                    tracing::debug!(blob.key = %item.key, gc.reason = item.reason, "kept {} for later", item.key);
                    failed("delete", &error);
                    deleted = false;
                    // A store that is down fails for every key: the rest of the lease is better left alone.
                    if error.kind().is_retryable() {
                        break;
                    }
                }
            }
        }
        if let Err(error) = self.acknowledge(&gone).await {
            return failed("acknowledge", &error);
        }
        match (deleted, items.len() >= self.config.batch as usize) {
            (false, _) => Round::Failed,
            (true, true) => Round::Full,
            (true, false) => Round::Drained,
        }
    }

    async fn acknowledge(&self, gone: &[&Garbage]) -> Result<(), IndexError> {
        if gone.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = gone.iter().map(|item| item.id).collect();
        self.queue.acknowledge(&ids).await?;
        for item in gone {
            tracing::info!(blob.key = %item.key, gc.reason = item.reason, "deleted {}", item.key);
            metrics::counter!(DELETED, "reason" => item.reason.clone()).increment(1);
        }
        Ok(())
    }
}

fn failed(step: &'static str, error: &(impl Classify + 'static)) -> Round {
    metrics::counter!(FAILED, "step" => step).increment(1);
    tracing::warn!(gc.step = step, error = %Chain(error), "cannot collect garbage now; trying again");
    Round::Failed
}
