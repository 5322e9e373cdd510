//! How much a tenant or a caller may ask for in a time.

use std::sync::Arc;

use entrepot_core::ports::RateBudget;
use entrepot_core::ports::budget::{BudgetName, BudgetUnit, Limit};
use entrepot_core::{ErrorKind, OciCode, Principal, TenantName};

use crate::error::ApiError;

/// Requests and bytes per second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// Requests; without it as many as come.
    pub requests: Option<Limit>,
    /// Bytes of blobs pulled; without it as many as are asked for.
    pub bytes: Option<Limit>,
}

/// Rates of a registry.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimits {
    /// Of everything below one tenant.
    pub tenant: Rate,
    /// Of one user or robot. Anonymous callers are not one caller: the tenant's rate is theirs.
    pub principal: Rate,
}

/// Takes what requests cost from the budgets of those who sent them. Only a caller who may do what it asks for costs
/// anything: nobody can use up a tenant's budget from outside.
pub(crate) struct Rates {
    limits: RateLimits,
    budget: Arc<dyn RateBudget>,
}

impl Rates {
    pub(crate) fn new(limits: RateLimits, budget: Arc<dyn RateBudget>) -> Self {
        Self { limits, budget }
    }

    /// One request.
    pub(crate) async fn request(
        &self,
        tenant: impl FnOnce() -> TenantName,
        caller: &Principal,
    ) -> Result<(), ApiError> {
        self.take(BudgetUnit::Requests, tenant, caller, 1).await
    }

    /// Bytes of a blob about to be sent.
    pub(crate) async fn bytes(
        &self,
        tenant: impl FnOnce() -> TenantName,
        caller: &Principal,
        bytes: u64,
    ) -> Result<(), ApiError> {
        self.take(BudgetUnit::Bytes, tenant, caller, u32::try_from(bytes).unwrap_or(u32::MAX)).await
    }

    async fn take(
        &self,
        unit: BudgetUnit,
        tenant: impl FnOnce() -> TenantName,
        caller: &Principal,
        cost: u32,
    ) -> Result<(), ApiError> {
        self.take_both(unit, tenant, caller, cost).await.map_err(|refused| refused.with_principal(caller))
    }

    async fn take_both(
        &self,
        unit: BudgetUnit,
        tenant: impl FnOnce() -> TenantName,
        caller: &Principal,
        cost: u32,
    ) -> Result<(), ApiError> {
        let limit_of = |rate: &Rate| match unit {
            BudgetUnit::Requests => rate.requests,
            BudgetUnit::Bytes => rate.bytes,
        };
        // The caller's own first: whoever is refused for it has not cost the tenant anything.
        if let Some(limit) = limit_of(&self.limits.principal).filter(|_| *caller != Principal::Anonymous) {
            let name = BudgetName::of_principal(caller, unit);
            self.spend(&name, limit, cost, &format!("limits.principal_{}_per_second", unit.as_str())).await?;
        }
        if let Some(limit) = limit_of(&self.limits.tenant) {
            let name = BudgetName::of_tenant(&tenant(), unit);
            self.spend(&name, limit, cost, &format!("limits.tenant_{}_per_second", unit.as_str())).await?;
        }
        Ok(())
    }

    async fn spend(&self, name: &BudgetName, limit: Limit, cost: u32, key: &str) -> Result<(), ApiError> {
        let Err(exhausted) = self.budget.take(name, limit, cost).await else { return Ok(()) };
        metrics::counter!("entrepot_rate_limited_total", "limit" => key.to_owned()).increment(1);
        let message = format!("too much in too short a time for {name}: {} a second ({key})", limit.rate());
        Err(ApiError::new(ErrorKind::TooManyRequests, OciCode::TooManyRequests, message)
            .with_detail("limit", key)
            .with_retry_after(exhausted.retry_after))
    }
}
