//! Connections to PostgreSQL are cut at COMMIT, so that a service cannot know whether it was done.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use entrepot_e2e::registry::Registry;

use super::kill::pause;
use super::load::Load;
use super::{check, lacks, number, plain};

/// Of a thousand.
const CUT: u32 = 50;
const ROUNDS: u32 = 5;
/// A load that is not cut off so often says nothing.
const DEADLINE: Duration = Duration::from_secs(120);

fn exercise(registry: &mut Registry) -> Result<String> {
    let wanted = number("ENTREPOT_E2E_COMMITS", 100);
    let mut load = Load::new(registry);
    for round in 1..=ROUNDS {
        let relay = registry.engines().postgres.as_ref().context("no PostgreSQL")?.relay();
        let enough = wanted * u64::from(round) / u64::from(ROUNDS);
        let deadline = Instant::now() + DEADLINE;
        relay.cut_commits(CUT);
        let outcome = load.during(|| {
            while relay.commits_cut() < enough {
                ensure!(Instant::now() < deadline, "only {} connections were cut", relay.commits_cut());
                pause(Duration::from_millis(50));
            }
            Ok(())
        });
        relay.cut_commits(0);
        outcome?;
        load.audit().with_context(|| format!("in round {round}"))?;
    }
    let cut = registry.engines().postgres.as_ref().map_or(0, |postgres| postgres.relay().commits_cut());
    Ok(format!("{cut} connections cut at COMMIT, {}", load.summary()))
}

#[test]
fn cut_off() {
    let setup = plain();
    if !lacks("commits", "postgres", setup.scale.engines.postgres) {
        check("commits", &[], &setup, exercise);
    }
}
