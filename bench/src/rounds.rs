//! The order of a run: rounds of scenarios, each over all servers in a rotated order.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::cli::Folders;
use crate::measure::{Bench, Sample};
use crate::procfs::Machine;
use crate::scenario::Scenario;
use crate::server::ServerKind;
use crate::tools::Tools;

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) servers: Vec<ServerKind>,
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) rounds: usize,
    /// Time of load of one measurement.
    pub(crate) load: Duration,
    /// Tags in the long list.
    pub(crate) tags: u32,
}

impl Plan {
    /// The servers of a scenario in the order of a round.
    pub(crate) fn order(&self, scenario: &Scenario, round: usize) -> Vec<ServerKind> {
        let mut order: Vec<_> = self.servers.iter().copied().filter(|kind| scenario.servers.contains(kind)).collect();
        let by = round % order.len().max(1);
        order.rotate_left(by);
        order
    }
}

/// The samples of one server in the order of the rounds; `None` where the measurement failed.
pub(crate) type Samples = BTreeMap<ServerKind, Vec<Option<Sample>>>;

/// What a run found.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// As it was before the load.
    pub(crate) machine: Machine,
    /// One entry for each scenario of the plan.
    pub(crate) samples: Vec<Samples>,
    /// Measurements that failed.
    pub(crate) errors: Vec<String>,
}

/// Runs the whole plan. A measurement that fails is noted and the run goes on.
///
/// # Errors
/// When a server cannot be given its data.
pub(crate) fn run(plan: &Plan, tools: &Tools, folders: &Folders) -> anyhow::Result<Outcome> {
    ensure!(!plan.servers.is_empty(), "there is no server to measure");
    let mut outcome =
        Outcome { machine: Machine::read(), samples: vec![Samples::new(); plan.scenarios.len()], errors: Vec::new() };
    let mut bench = Bench::new(plan, tools, folders);
    for &kind in &plan.servers {
        note(format_args!("giving {} its data", kind.name()));
        bench.seed(kind).with_context(|| format!("{} cannot be given its data", kind.name()))?;
    }
    bench.touch_memory().context("cannot write to the work folder")?;
    for round in 0..plan.rounds {
        for (scenario, samples) in plan.scenarios.iter().zip(&mut outcome.samples) {
            for kind in plan.order(scenario, round) {
                let what = format!("round {} of {}: {} of {}", round + 1, plan.rounds, scenario.name, kind.name());
                let sample = bench.measure(scenario, kind);
                match &sample {
                    Ok(sample) => note(format_args!("{what}: {:.3} {}", sample.value, scenario.unit)),
                    Err(error) => {
                        note(format_args!("{what}: failed: {error:#}"));
                        outcome.errors.push(format!("{what}: {error:#}"));
                    }
                }
                samples.entry(kind).or_default().push(sample.ok());
            }
        }
    }
    Ok(outcome)
}

/// Progress, apart from the result on standard output.
fn note(line: std::fmt::Arguments<'_>) {
    // A closed standard error is no reason to stop measuring.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests;
