//! SIGKILL to random processes while all others go on serving.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use entrepot_e2e::registry::Registry;
use rand::RngExt as _;

use super::load::Load;
use super::{check, number, plain};

/// Kills between two audits.
const ROUND: u64 = 10;
/// The registry as a whole is never down for long: time for the killed process and its like to be ready.
const READY: Duration = Duration::from_secs(5);

/// Waits without a promise that anything happens meanwhile: faults come when they come.
pub(super) fn pause(length: Duration) {
    let (_never, nothing) = mpsc::channel::<()>();
    // Nobody sends, so this is the time and nothing else.
    let _ = nothing.recv_timeout(length);
}

fn random_pause(milliseconds: std::ops::Range<u64>) {
    pause(Duration::from_millis(rand::rng().random_range(milliseconds)));
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let kills = number("ENTREPOT_E2E_KILLS", 100);
    let started = Instant::now();
    let mut load = Load::new(registry);
    let (mut done, mut slowest) = (0, Duration::ZERO);
    while done < kills {
        let round = ROUND.min(kills - done);
        load.during(|| {
            for _ in 0..round {
                random_pause(20..300);
                let victim = rand::rng().random_range(0..registry.processes().len());
                registry.kill(&[victim])?;
                slowest = slowest.max(registry.restart()?);
            }
            Ok(())
        })?;
        done += round;
        ensure!(slowest <= READY, "ready only after {slowest:?}");
        load.audit().with_context(|| format!("after kill {done}"))?;
    }
    registry.stop()?;
    registry.restart()?;
    load.audit().context("after an orderly restart")?;
    Ok(format!(
        "{kills} kills, {}, ready after at most {} ms, {} s",
        load.summary(),
        slowest.as_millis(),
        started.elapsed().as_secs()
    ))
}

#[test]
fn random_processes() {
    check("kill", &[], &plain(), exercise);
}
