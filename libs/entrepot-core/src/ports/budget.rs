//! Rates shared by whoever asks for the same name: requests or bytes per second of a tenant or a caller.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::principal::Principal;
use crate::tenant::TenantName;

/// Units that refill with time.
///
/// # Contract
/// - A budget that was never asked for is full: `limit.burst` units. Every second adds `limit.rate` units, up to the burst.
/// - `take` takes all of `cost` or nothing. A cost above the burst counts as the burst, so that no request is
///   refused for ever.
/// - Two calls with different limits for one name are two views of the same budget: the limit of each call applies to it.
/// - An implementation that cannot reach what it shares answers from what it knows, and at once: a budget protects the
///   registry and must never be what stops it.
/// - Dropping the future before it answers may take the units or not.
#[async_trait]
pub trait RateBudget: Send + Sync + 'static {
    /// Takes `cost` units from the budget `name`, refilled by `limit.rate` per second up to `limit.burst`.
    async fn take(&self, name: &BudgetName, limit: Limit, cost: u32) -> Result<(), Exhausted>;
}

/// What a unit of a budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BudgetUnit {
    /// Requests.
    Requests,
    /// Bytes sent and received.
    Bytes,
}

impl BudgetUnit {
    /// The last component of a [`BudgetName`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes",
        }
    }
}

/// The name of a budget, such as `tenant/team/requests` or `principal/robot:ci/bytes`. Not empty, without control
/// characters, and the same in every process that shares the budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BudgetName(String);

impl BudgetName {
    /// The budget of everything below a tenant.
    pub fn of_tenant(tenant: &TenantName, unit: BudgetUnit) -> Self {
        Self(format!("tenant/{tenant}/{}", unit.as_str()))
    }

    /// The budget of one caller, whatever it asks for.
    pub fn of_principal(principal: &Principal, unit: BudgetUnit) -> Self {
        let principal: String = principal.to_string().chars().filter(|char| !char.is_control()).collect();
        Self(format!("principal/{principal}/{}", unit.as_str()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BudgetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How fast a budget refills and how much it holds. Neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    rate: u64,
    burst: u64,
}

impl Limit {
    /// `rate` units a second, at most `burst` at once; a zero counts as one.
    pub fn new(rate: u64, burst: u64) -> Self {
        Self { rate: rate.max(1), burst: burst.max(1) }
    }

    /// Units added each second.
    pub const fn rate(self) -> u64 {
        self.rate
    }

    /// Most units it holds.
    pub const fn burst(self) -> u64 {
        self.burst
    }
}

/// The budget has too little left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the budget is used up for {:.1} s", retry_after.as_secs_f64())]
pub struct Exhausted {
    /// When the same cost would be there, if nobody else took any meanwhile; never zero.
    pub retry_after: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_since_processes_of_two_versions_share_them() {
        let tenant = "team".parse().unwrap();
        assert_eq!(BudgetName::of_tenant(&tenant, BudgetUnit::Requests).as_str(), "tenant/team/requests");
        let robot = Principal::Robot("ci\r\n".to_owned());
        assert_eq!(BudgetName::of_principal(&robot, BudgetUnit::Bytes).as_str(), "principal/robot:ci/bytes");
    }

    #[test]
    fn a_limit_is_never_zero() {
        assert_eq!((Limit::new(0, 0).rate(), Limit::new(0, 0).burst()), (1, 1));
    }
}
