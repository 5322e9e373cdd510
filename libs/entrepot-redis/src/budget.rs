//! Budgets that the processes of a fleet share, counted in each and merged now and then.
//!
//! Each process keeps a bucket per name and decides by it alone: `take` never waits. What it gave out is added to a
//! counter in Redis every [`MERGE`], in one pipeline for all names; the counter's answer says what the others gave out
//! meanwhile, and that is taken from the bucket too. So a fleet gives out its limit, plus at most what each process still
//! held when the others began, for the time of one merge. Without Redis each process keeps to the limit by itself.
//!
//! Counters only ever grow, and end with their name's use. One that begins anew, because Redis was flushed or is another
//! one, looks smaller than before: nothing is taken for it, and counting goes on from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use entrepot_core::ports::budget::{BudgetName, Exhausted, Limit, RateBudget};
use tokio::time::Instant;

/// Time between two merges.
pub(crate) const MERGE: Duration = Duration::from_millis(250);
/// A name that nobody asked for is forgotten after this time, here and in Redis.
pub(crate) const IDLE: Duration = Duration::from_secs(600);
/// What others give out is of interest for this time after the last use.
const HEARD: Duration = Duration::from_secs(10);
/// Longest a budget is empty because of what others gave out.
const LONGEST_DEBT: Duration = Duration::from_secs(5);
/// Names kept at once; beyond it those are forgotten whose budgets are full anyway.
const MOST: usize = 100_000;
/// Names merged at once.
const BATCH: usize = 1000;

/// Budgets of this process, merged with others' while a [`Redis`](crate::Redis) runs. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SharedBudgets(Arc<Mutex<HashMap<BudgetName, Bucket>>>);

/// What was taken and has not refilled yet, under the limit of the last call.
#[derive(Debug)]
struct Bucket {
    taken: f64,
    limit: Limit,
    at: Instant,
    used_at: Instant,
    /// Given out and not told of yet.
    untold: u64,
    /// The counter's value when it was last asked.
    total: Option<u64>,
}

/// What one name's counter is to be told.
#[derive(Debug)]
pub(crate) struct Told {
    name: BudgetName,
    pub(crate) amount: u64,
}

impl Told {
    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Bucket {
    fn new(limit: Limit, now: Instant) -> Self {
        Self { taken: 0.0, limit, at: now, used_at: now, untold: 0, total: None }
    }

    fn refill(&mut self, limit: Limit, now: Instant) {
        let seconds = now.duration_since(self.at).as_secs_f64();
        self.taken = (self.taken - seconds * float(self.limit.rate())).max(0.0);
        (self.at, self.limit) = (now, limit);
    }

    fn take(&mut self, limit: Limit, cost: u64, now: Instant) -> Result<(), Exhausted> {
        self.refill(limit, now);
        self.used_at = now;
        let cost = cost.min(limit.burst());
        let missing = self.taken + float(cost) - float(limit.burst());
        if missing > 0.0 {
            let wait = Duration::from_secs_f64(missing / float(limit.rate()));
            return Err(Exhausted { retry_after: wait.max(Duration::from_millis(1)) });
        }
        self.taken += float(cost);
        self.untold = self.untold.saturating_add(cost);
        Ok(())
    }

    /// The counter's value, after `told` was added to it.
    fn merge(&mut self, told: u64, total: u64, now: Instant) {
        self.refill(self.limit, now);
        let others = self.total.and_then(|before| total.checked_sub(before)?.checked_sub(told)).unwrap_or(0);
        // However much the others gave out, some seconds later there is something again.
        let most = float(self.limit.burst()) + float(self.limit.rate()) * LONGEST_DEBT.as_secs_f64();
        self.taken = (self.taken + float(others)).min(most);
        self.total = Some(total);
    }

    fn is_full(&self, now: Instant) -> bool {
        let seconds = now.duration_since(self.at).as_secs_f64();
        self.untold == 0 && self.taken <= seconds * float(self.limit.rate())
    }
}

/// Exact for any count that a budget sees.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 units a rounding is no loss")]
fn float(units: u64) -> f64 {
    units as f64
}

impl SharedBudgets {
    /// What each counter is to be told, a part of the names in use at a time.
    pub(crate) fn untold(&self) -> Vec<Told> {
        let now = Instant::now();
        let mut buckets = self.lock();
        buckets.retain(|_, bucket| now.duration_since(bucket.used_at) < IDLE);
        let mut told = Vec::new();
        for (name, bucket) in buckets.iter_mut() {
            if now.duration_since(bucket.used_at) >= HEARD {
                // What others give out from here on has refilled when this one is used again.
                bucket.total = None;
                if bucket.untold == 0 {
                    continue;
                }
            }
            told.push(Told { name: name.clone(), amount: bucket.untold });
        }
        // Those with the most to tell first: what waits for the next merge is little.
        told.sort_unstable_by_key(|told| std::cmp::Reverse(told.amount));
        told.truncate(BATCH);
        for Told { name, .. } in &told {
            if let Some(bucket) = buckets.get_mut(name) {
                bucket.untold = 0;
            }
        }
        told
    }

    /// The counters' answers, in the same order.
    pub(crate) fn merge(&self, told: &[Told], totals: &[u64]) {
        let now = Instant::now();
        let mut buckets = self.lock();
        for (told, total) in told.iter().zip(totals) {
            if let Some(bucket) = buckets.get_mut(&told.name) {
                bucket.merge(told.amount, *total, now);
            }
        }
    }

    /// The counters may or may not have been told: they are not told again, and what they say next is a new beginning.
    pub(crate) fn lost(&self, told: &[Told]) {
        let mut buckets = self.lock();
        for told in told {
            if let Some(bucket) = buckets.get_mut(&told.name) {
                bucket.total = None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BudgetName, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RateBudget for SharedBudgets {
    async fn take(&self, name: &BudgetName, limit: Limit, cost: u32) -> Result<(), Exhausted> {
        let now = Instant::now();
        let mut buckets = self.lock();
        if let Some(bucket) = buckets.get_mut(name) {
            return bucket.take(limit, cost.into(), now);
        }
        if buckets.len() >= MOST {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        if buckets.len() >= MOST {
            // Whoever makes up names by the hundred thousand is not limited by name; admission limits all of them.
            return Ok(());
        }
        buckets.entry(name.clone()).or_insert_with(|| Bucket::new(limit, now)).take(limit, cost.into(), now)
    }
}

#[cfg(test)]
mod tests;
