//! The registry as a fleet: several of each service behind a balancer that is not sticky, over PostgreSQL,
//! MinIO and Redis, while parts of all that are killed, cut off, slowed down and restarted.

mod clients;
mod commits;
mod failover;
mod kill;
mod load;
mod memory;
mod reads;
mod redis;
mod restart;
mod resume;
mod s3;
mod tags;
mod traces;

use anyhow::Result;
use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::registry::{Registry, Setup, Topology};

/// Starts a fleet and runs `exercise` on it, or says why not. What goes wrong is shown with the logs.
fn check(suite: &str, tools: &[&str], setup: &Setup, exercise: impl FnOnce(&mut Registry) -> Result<String>) {
    let what = format!("fleet {suite}");
    if environment::target().unwrap() == Target::Distribution {
        return environment::say(&format!("{what}: the stand-in has one topology only"));
    }
    let tools = [tools, &setup.scale.tools()].concat();
    if !environment::have(&what, &tools) {
        return;
    }
    let mut registry = Registry::start(setup).unwrap();
    match exercise(&mut registry) {
        Ok(report) => environment::say(&format!("{what}: {report}")),
        Err(error) => panic!("{what}: {error:#}\n{}{}", registry.logs(), registry.engines().logs()),
    }
}

/// True when the run is without an engine that a suite wants to break.
fn lacks(suite: &str, engine: &str, there: bool) -> bool {
    if !there {
        environment::say(&format!("fleet {suite}: not without {engine}"));
    }
    !there
}

/// A number from the environment, for longer or shorter runs.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn plain() -> Setup {
    Setup::plain(Topology::Scale)
}
