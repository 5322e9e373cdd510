//! How many calls may be made again.

use std::sync::atomic::{AtomicU32, Ordering};

/// What a call pays in, and a retry takes out: one retry for ten calls.
const DEPOSIT: u32 = 1;
const PRICE: u32 = 10;
/// Ten retries at once, so that a connection with few calls can retry at all.
const MOST: u32 = 10 * PRICE;

/// Bounds retries to a tenth of the calls, so that a peer in trouble does not get three times its load.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU32);

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(MOST))
    }

    /// A call was made.
    pub(super) fn deposit(&self) {
        self.change(|balance| Some(balance.saturating_add(DEPOSIT).min(MOST)));
    }

    /// Takes a retry, if there is one left.
    pub(super) fn withdraw(&self) -> bool {
        self.change(|balance| balance.checked_sub(PRICE))
    }

    fn change(&self, to: impl FnMut(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_calls_may_be_made_again() {
        let budget = RetryBudget::new();
        let burst = std::iter::repeat_with(|| budget.withdraw()).take_while(|granted| *granted).count();
        assert_eq!(burst, 10);
        let mut retries = 0;
        for _ in 0..1000 {
            budget.deposit();
            retries += usize::from(budget.withdraw());
        }
        assert_eq!(retries, 100);
        (0..10_000).for_each(|_| budget.deposit());
        let saved = std::iter::repeat_with(|| budget.withdraw()).take_while(|granted| *granted).count();
        assert_eq!(saved, 10, "what is not used does not pile up");
    }
}
