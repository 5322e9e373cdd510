//! Rate budgets of one process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::ports::budget::{BudgetName, Exhausted, Limit, RateBudget};

/// Most budgets remembered: a full bucket is the same as none, so only those in use count.
const MAX_BUCKETS: usize = 100_000;
/// Pause between two looks for buckets that have filled up again.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// Token buckets in memory: exact within this process, unknown to any other.
#[derive(Default)]
pub struct TokenBuckets(Mutex<Buckets>);

#[derive(Default)]
struct Buckets {
    by_name: HashMap<BudgetName, Bucket>,
    pruned: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
    limit: Limit,
}

impl TokenBuckets {
    /// Every budget full.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`RateBudget::take`], at a given time.
    ///
    /// # Errors
    /// [`Exhausted`] when less than `cost` is left.
    pub fn take_at(&self, now: Instant, name: &BudgetName, limit: Limit, cost: u32) -> Result<(), Exhausted> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = &mut *buckets;
        let cost = f64::from(cost).min(limit.burst() as f64);
        let left = match buckets.by_name.get(name) {
            Some(bucket) => bucket.refilled(limit, now),
            None => limit.burst() as f64,
        };
        let taken = left >= cost;
        let left = if taken { left - cost } else { left };
        let bucket = Bucket { left, at: now, limit };
        match buckets.by_name.get_mut(name) {
            Some(known) => *known = bucket,
            None => buckets.remember(name, bucket),
        }
        if taken {
            return Ok(());
        }
        let missing = (cost - left) / limit.rate() as f64;
        // A rate of one unit a second and a burst of billions is still a time that fits.
        let retry_after = Duration::try_from_secs_f64(missing).unwrap_or(Duration::MAX);
        Err(Exhausted { retry_after: retry_after.max(Duration::from_millis(1)) })
    }
}

impl Bucket {
    fn refilled(&self, limit: Limit, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + passed * limit.rate() as f64).min(limit.burst() as f64)
    }
}

impl Buckets {
    /// Beyond the bound a budget is not remembered: its requests pass, and nothing grows.
    fn remember(&mut self, name: &BudgetName, bucket: Bucket) {
        if self.by_name.len() >= MAX_BUCKETS {
            let now = bucket.at;
            if self.pruned.is_some_and(|at| now.saturating_duration_since(at) < PRUNE_EVERY) {
                return;
            }
            self.pruned = Some(now);
            self.by_name.retain(|_, bucket| bucket.refilled(bucket.limit, now) < bucket.limit.burst() as f64);
            if self.by_name.len() >= MAX_BUCKETS {
                return;
            }
        }
        self.by_name.insert(name.clone(), bucket);
    }
}

#[async_trait]
impl RateBudget for TokenBuckets {
    async fn take(&self, name: &BudgetName, limit: Limit, cost: u32) -> Result<(), Exhausted> {
        self.take_at(Instant::now(), name, limit, cost)
    }
}

impl fmt::Debug for TokenBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenBuckets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::budget::BudgetUnit;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(tenant: &str) -> BudgetName {
        BudgetName::of_tenant(&tenant.parse().unwrap(), BudgetUnit::Requests)
    }

    #[test]
    fn a_burst_is_spent_and_comes_back_at_the_rate() {
        let (buckets, start, limit) = (TokenBuckets::new(), Instant::now(), Limit::new(2, 10));
        for _ in 0..10 {
            buckets.take_at(start, &name("a"), limit, 1).unwrap();
        }
        let refused = buckets.take_at(start, &name("a"), limit, 1).unwrap_err();
        assert_eq!(refused.retry_after, SECOND / 2);
        buckets.take_at(start, &name("b"), limit, 10).unwrap();
        buckets.take_at(start + SECOND, &name("a"), limit, 2).unwrap();
        assert!(buckets.take_at(start + SECOND, &name("a"), limit, 1).is_err());
        buckets.take_at(start + SECOND * 100, &name("a"), limit, 10).unwrap();
        assert!(buckets.take_at(start + SECOND * 100, &name("a"), limit, 1).is_err(), "no more than the burst");
    }

    #[test]
    fn all_or_nothing_and_a_cost_above_the_burst_takes_all_of_it() {
        let (buckets, start, limit) = (TokenBuckets::new(), Instant::now(), Limit::new(10, 10));
        buckets.take_at(start, &name("a"), limit, 4).unwrap();
        assert_eq!(buckets.take_at(start, &name("a"), limit, 8).unwrap_err().retry_after, SECOND / 5);
        buckets.take_at(start, &name("a"), limit, 6).unwrap();
        buckets.take_at(start + SECOND, &name("a"), limit, u32::MAX).unwrap();
        assert!(buckets.take_at(start + SECOND, &name("a"), limit, 1).is_err());
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let (buckets, start, limit) = (TokenBuckets::new(), Instant::now() + SECOND, Limit::new(1, 1));
        buckets.take_at(start, &name("a"), limit, 1).unwrap();
        assert!(buckets.take_at(start - SECOND, &name("a"), limit, 1).is_err());
    }

    #[test]
    fn names_without_number_cost_no_memory_without_bound() {
        let (buckets, start, limit) = (TokenBuckets::new(), Instant::now(), Limit::new(1, 10));
        for number in 0..MAX_BUCKETS + 10 {
            buckets.take_at(start, &name(&number.to_string()), limit, 1).unwrap();
        }
        assert_eq!(buckets.0.lock().unwrap().by_name.len(), MAX_BUCKETS);
        buckets.take_at(start + SECOND * 2, &name("late"), limit, 1).unwrap();
        assert_eq!(buckets.0.lock().unwrap().by_name.len(), 1, "full buckets are forgotten");
    }
}
