//! Hints within one process.

use entrepot::testing::{TestRegistry, Topology, poll};

use crate::support::{noise, open_upload};

/// gc-worker would not look again for an hour.
#[test]
fn what_a_client_cancels_is_collected_at_once() {
    let registry = TestRegistry::builder(Topology::Local).set("gc.interval", "1h").start();
    for _ in 0..2 {
        let location = open_upload(&registry, "app");
        let location = registry.call("PATCH", &location).body(noise(100_000)).send().expect(202).location().to_owned();
        assert_eq!(registry.stored_files().len(), 1);
        registry.delete(&location).expect(204);
        poll("the bytes to be deleted", || registry.stored_files().is_empty().then_some(()));
    }
}
