//! Input that no honest client sends: every case gets a clear error, stores nothing and grows nothing.

mod disk;
mod framing;
mod manifests;
mod names;
mod ranges;
mod slow;
mod target;
mod uploads;

use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::registry::{Registry, Setup, Topology};

use target::{Case, Victim};

/// Runs a group of cases against one registry, which must be as it was before.
fn check(group: &str, topology: Topology, cases: &[Case]) {
    let standin = environment::target().unwrap() == Target::Distribution;
    if standin && topology == Topology::Fleet {
        return environment::say(&format!("hostile {group} Fleet: the stand-in has one topology only"));
    }
    let registry = Registry::start(&Setup::plain(topology)).unwrap();
    let victim = Victim::prepare(&registry).unwrap();
    let before = victim.footprint().unwrap();
    let mut failed: Vec<String> = Vec::new();
    for (name, case) in cases {
        if let Err(error) = case(&victim) {
            failed.push(format!("{name}: {error:#}"));
        }
        if let Err(error) = victim.is_well() {
            failed.push(format!("{name}: afterwards {error:#}"));
        }
    }
    if let Err(error) = victim.unchanged_since(&before) {
        failed.push(format!("afterwards: {error:#}"));
    }
    environment::say(&format!("hostile {group} {topology:?}: {} cases, {} failed", cases.len(), failed.len()));
    // The stand-in has faults of its own; what counts is that it can be judged.
    if standin {
        failed.iter().for_each(|failure| environment::say(&format!("  stand-in: {failure}")));
    } else {
        assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), registry.logs());
    }
}

macro_rules! groups {
    ($($group:ident)*) => {$(
        mod $group {
            use entrepot_e2e::registry::Topology;

            use crate::hostile::{check, $group};

            #[test]
            fn embedded() {
                check(stringify!($group), Topology::Embedded, $group::CASES);
            }

            #[test]
            fn fleet() {
                check(stringify!($group), Topology::Fleet, $group::CASES);
            }
        }
    )*};
}

mod input {
    groups! { framing manifests names ranges slow uploads }
}
