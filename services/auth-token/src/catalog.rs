//! What a token says about a catalog that shows only a part.
//!
//! The gateway lists what the token's own scopes let pull, so a token asked for with the catalog carries its owner's
//! grants. A grant below a longer prefix (`team/sub/*`) has no scope and is not listed by it.

use entrepot_core::{Action, Resource, Scope};

/// Up to how many scopes a token is filled; one that was asked for with more scopes keeps them, up to `MAX_SCOPES`.
const SCOPES: usize = 90;

/// Up to how many bytes of JSON. A token's payload has 6000 at most, and the other claims of a service with a long name
/// take less than the rest.
const BYTES: usize = 5400;

/// Adds the right to pull what these patterns are for, where `granted` does not hold it: whole tenants first, then
/// single repositories by name, as many as fit into one token.
pub(crate) fn add_visible(granted: &mut Vec<Scope>, patterns: &[String]) {
    let scope = |pattern: &String| format!("repository:{pattern}:pull").parse::<Scope>().ok();
    let mut visible: Vec<_> = patterns.iter().filter_map(scope).collect();
    let order = |scope: &Scope| (matches!(scope.resource, Resource::Repository(_)), scope.resource.clone());
    visible.sort_by_cached_key(order);
    let mut used: usize = granted.iter().map(size).sum();
    for scope in visible {
        let held = |held: &Scope| held.actions.contains(Action::Pull) && held.resource.covers(&scope.resource);
        if granted.iter().any(held) {
            continue;
        }
        used += size(&scope);
        if granted.len() >= SCOPES || used > BYTES {
            break;
        }
        granted.push(scope);
    }
}

/// At least the bytes that the scope takes in a token: its text and the punctuation of JSON.
fn size(scope: &Scope) -> usize {
    scope.to_string().len() + 38
}

#[cfg(test)]
mod tests;
