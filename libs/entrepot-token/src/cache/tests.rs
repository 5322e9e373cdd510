use std::sync::Arc;

use entrepot_core::Principal;

use super::Cache;
use crate::Grant;

fn grant(id: usize) -> Arc<Grant> {
    let id = id.to_string();
    Arc::new(Grant {
        principal: Principal::Anonymous,
        scopes: Vec::new(),
        refused: Vec::new(),
        expires_at: 1,
        id,
        generation: 0,
    })
}

#[test]
fn it_stays_bounded_and_keeps_what_is_asked_for() {
    let cache = Cache::new(64);
    let favourite = Cache::fingerprint("favourite");
    cache.insert(favourite, grant(0));
    for id in 1..1000 {
        cache.insert(Cache::fingerprint(&id.to_string()), grant(id));
        assert_eq!(cache.get(&favourite).unwrap().id, "0");
        let generations = cache.generations.read().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 64);
    }
    assert!(cache.get(&Cache::fingerprint("1")).is_none());
    cache.clear();
    assert!(cache.get(&favourite).is_none());
}
