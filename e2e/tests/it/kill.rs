//! SIGKILL at random moments while four writers push, pull, delete and re-tag; then restart and audit.
//!
//! The suite remembers every acknowledgement. After each restart every tag must name what was last
//! acknowledged for it (or, for the one request that the kill cut off, its old or its new value), with every
//! byte right, and a chunked upload must continue where the registry had acknowledged it.

mod oracle;
mod upload;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::registry::{Registry, Setup, Topology};
use rand::RngExt as _;
use rand::seq::IteratorRandom as _;

pub(crate) use writer::Writer;

const WRITERS: usize = 4;
/// Ready again within this time after every kill.
const READY: Duration = Duration::from_secs(3);
/// A round in which the writers do nothing for this long hangs.
const STUCK: Duration = Duration::from_secs(60);

/// Number of kills: `ENTREPOT_E2E_KILLS`, or what the release bar asks for.
fn kills() -> u32 {
    std::env::var("ENTREPOT_E2E_KILLS").map_or(100, |text| text.parse().unwrap())
}

fn check(topology: Topology) {
    let standin = environment::target().unwrap() == Target::Distribution;
    if standin && topology == Topology::Fleet {
        return environment::say("kill Fleet: the stand-in has one topology only");
    }
    let started = Instant::now();
    let mut registry = Registry::start(&Setup::plain(topology)).unwrap();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|at| Writer::new(at, registry.api())).collect();
    match run(&mut registry, &mut writers) {
        Ok(slowest) => environment::say(&report(topology, &writers, slowest, started.elapsed())),
        // It does lose track of a tag now and then, which shows that the audit sees it.
        Err(error) if standin => environment::say(&format!("kill: the stand-in failed {error:#}")),
        Err(error) => panic!("{error:#}\n{}", registry.logs()),
    }
}

/// All rounds; the longest time to readiness.
fn run(registry: &mut Registry, writers: &mut [Writer]) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for kill in 1..=kills() {
        work_until_killed(registry, writers);
        let ready = registry.restart()?;
        slowest = slowest.max(ready);
        ensure!(ready <= READY, "ready only after {ready:?} (kill {kill})");
        audit(writers).with_context(|| format!("after kill {kill}"))?;
    }
    registry.stop()?;
    registry.restart()?;
    audit(writers).context("after an orderly restart")?;
    Ok(slowest)
}

fn report(topology: Topology, writers: &[Writer], slowest: Duration, took: Duration) -> String {
    let sum = |count: fn(&Writer) -> u64| writers.iter().map(count).sum::<u64>();
    format!(
        "kill {topology:?}: {} kills, {} acknowledged, {} in doubt, {} tags audited, {} uploads resumed, \
         0 lost, 0 wrong, ready after at most {} ms, {} s",
        kills(),
        sum(Writer::acknowledged),
        sum(Writer::in_doubt),
        sum(Writer::audited),
        sum(Writer::resumed),
        slowest.as_millis(),
        took.as_secs()
    )
}

/// Lets all writers work and kills at a moment that depends on chance and on nothing that they do.
fn work_until_killed(registry: &mut Registry, writers: &mut [Writer]) {
    let over = AtomicBool::new(false);
    let steps = AtomicU64::new(0);
    let (wake, woken) = mpsc::channel();
    thread::scope(|scope| {
        for writer in writers {
            let wake = wake.clone();
            let (over, steps) = (&over, &steps);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    writer.step();
                    steps.fetch_add(1, Ordering::Relaxed);
                    // Nobody listens any more once the kill is under way.
                    let _ = wake.send(());
                }
            });
        }
        let enough = rand::rng().random_range(1..30);
        let deadline = Instant::now() + STUCK;
        while steps.load(Ordering::Relaxed) < enough && Instant::now() < deadline {
            // A timeout only leads back to the condition.
            let _ = woken.recv_timeout(Duration::from_millis(100));
        }
        let pause = Instant::now() + Duration::from_micros(rand::rng().random_range(0..25_000));
        while let Some(left) = pause.checked_duration_since(Instant::now()) {
            let _ = woken.recv_timeout(left);
        }
        let done = steps.load(Ordering::Relaxed);
        registry.kill(&victims(registry.processes().len())).unwrap();
        over.store(true, Ordering::Relaxed);
        assert!(done >= enough, "the writers got no further than {done} steps in {STUCK:?}");
    });
}

/// One process as often as all.
fn victims(processes: usize) -> Vec<usize> {
    let mut random = rand::rng();
    if random.random_bool(0.5) {
        (0..processes).collect()
    } else {
        (0..processes).choose(&mut random).into_iter().collect()
    }
}

fn audit(writers: &mut [Writer]) -> Result<()> {
    thread::scope(|scope| {
        let audits: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(|| writer.audit())).collect();
        audits.into_iter().try_for_each(|audit| audit.join().unwrap())
    })
}

#[test]
fn embedded() {
    check(Topology::Embedded);
}

#[test]
fn fleet() {
    check(Topology::Fleet);
}
