//! Tenants as metric labels.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use entrepot_core::TenantName;

/// Most tenants with a label of their own. A series is never given back, so the first to need one get it.
const MOST: usize = 50;

/// Gives the first [`MOST`] tenants their name and the rest `other`.
#[derive(Default)]
pub(super) struct TenantLabels(Mutex<HashSet<TenantName>>);

impl TenantLabels {
    pub(super) fn label(&self, tenant: Option<&TenantName>) -> String {
        let Some(tenant) = tenant else { return "none".to_owned() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(tenant) {
            if known.len() >= MOST {
                return "other".to_owned();
            }
            known.insert(tenant.clone());
        }
        tenant.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_number_make_labels_with_a_bound() {
        let labels = TenantLabels::default();
        let label = |name: &str| labels.label(Some(&name.parse().unwrap()));
        assert_eq!(label("team"), "team");
        let given: HashSet<String> = (0..1000).map(|number| label(&format!("t{number}"))).collect();
        assert_eq!(given.len(), MOST, "{} tenants and other", MOST - 1);
        assert!(given.contains("other"));
        assert_eq!((label("team"), labels.label(None)), ("team".to_owned(), "none".to_owned()));
    }
}
