//! The OCI conformance suite, for both versions of the specification, open and managed.

use entrepot_e2e::conformance;
use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::registry::{Access, Registry, Scale, Setup, Topology};

/// What the specification's suite finds in us: everything it can check.
const PASSED: u32 = 984;
const SKIPPED: usize = 2;

fn check(topology: Topology, access: Access) {
    if !environment::have("conformance", &["conformance"]) {
        return;
    }
    if environment::target().unwrap() == Target::Distribution && topology == Topology::Scale {
        return environment::say("conformance Scale: the stand-in has one topology only");
    }
    for version in ["1.1", "dev"] {
        // A fresh registry for each: the suite reuses its names.
        let registry = Registry::start(&Setup { access, ..Setup::plain(topology) }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let outcome = conformance::run(&registry, version, folder.path()).unwrap();
        environment::say(&format!(
            "conformance {version} {topology:?} {access:?}: {} pass, {} FAIL, {} Error, {} Skip",
            outcome.passed,
            outcome.failed,
            outcome.errors,
            outcome.skipped.len()
        ));
        if environment::target().unwrap() == Target::Distribution {
            // Known figures of a known registry: they judge the harness.
            assert_eq!((outcome.passed, outcome.failed, outcome.errors), (826, 143, 0));
            continue;
        }
        for (name, reason) in &outcome.skipped {
            environment::say(&format!("  skipped {name}: {reason}"));
        }
        assert_eq!((outcome.failed, outcome.errors), (0, 0), "{:#?}", outcome.failures);
        assert!(outcome.passed >= PASSED, "only {} passed", outcome.passed);
        assert!(outcome.skipped.len() <= SKIPPED, "{:#?}", outcome.skipped);
    }
}

/// Two versions of the suite against a fleet behind a balancer, where no two requests need meet one gateway.
pub(crate) fn scale(access: Access) {
    if environment::have("fleet conformance", &Scale::default().tools()) {
        check(Topology::Scale, access);
    }
}

#[test]
fn embedded_open() {
    check(Topology::Embedded, Access::Open);
}

#[test]
fn embedded_managed() {
    check(Topology::Embedded, Access::Managed);
}

#[test]
fn fleet_open() {
    check(Topology::Fleet, Access::Open);
}

#[test]
fn fleet_managed() {
    check(Topology::Fleet, Access::Managed);
}
