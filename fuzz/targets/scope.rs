//! A scope means the same when it is written and read again, and never grows.
#![no_main]

use entrepot_core::{Actions, Resource, Scope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(scope) = text.parse::<Scope>() else { return };
    let again: Scope = scope.to_string().parse().unwrap();
    assert_eq!(again.resource, scope.resource);
    let catalog = scope.to_string() == "registry:catalog:*";
    assert!(catalog || again.actions == scope.actions);
    let named = text.rsplit(':').next().unwrap().split(',');
    let all = named.clone().any(|name| name == "*");
    assert!(all || scope.actions.iter().all(|action| named.clone().any(|name| name == action.as_str())));
    assert_eq!(scope.actions.intersection(Actions::ALL), scope.actions);
    assert!(scope.resource.covers(&scope.resource));
    if let Resource::Tenant(tenant) = &scope.resource {
        let inside = Resource::Repository(format!("{tenant}/a").parse().unwrap());
        assert!(scope.resource.covers(&inside) && !inside.covers(&scope.resource));
    }
});
