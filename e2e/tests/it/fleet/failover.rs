//! The primary of PostgreSQL is killed and its synchronous standby takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::image::{Blob, Image};
use entrepot_e2e::patience::{Verdict, verdict};
use entrepot_e2e::registry::Registry;
use rand::RngExt as _;

use super::kill::pause;
use super::load::Load;
use super::{check, lacks, number, plain};

/// What services may take to see that the database is back.
const RECONNECT: Duration = Duration::from_secs(5);
/// Longer than any outage.
const PATIENCE: Duration = Duration::from_secs(60);
const REPOSITORY: &str = "failover/probe";

/// Pushes a tag over and over; knows when the first push after a moment succeeded.
struct Probe<'a> {
    api: &'a Api,
    manifest: &'a Blob,
    over: AtomicBool,
    /// When the latest successful push was begun and when it ended.
    latest: Mutex<(Instant, Instant)>,
    fault: Mutex<Option<Error>>,
}

impl Probe<'_> {
    fn run(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            match self.api.put_manifest(REPOSITORY, "probe", self.manifest) {
                Ok(_) => *lock(&self.latest) = (begun, Instant::now()),
                Err(error) if matches!(verdict(&error), Verdict::Fault(_)) => {
                    lock(&self.fault).get_or_insert(error);
                }
                // A refusal comes at once; the next attempt need not.
                Err(_) => pause(Duration::from_millis(20)),
            }
        }
    }

    /// How long after `moment` the first push that was begun after it ended.
    fn first_success_after(&self, moment: Instant) -> Result<Duration> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (begun, ended) = *lock(&self.latest);
            if begun >= moment {
                return Ok(ended.duration_since(moment));
            }
            ensure!(Instant::now() < deadline, "no push succeeds any more");
            pause(Duration::from_millis(5));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let rounds = number("ENTREPOT_E2E_FAILOVERS", 10);
    let api = registry.api();
    let image = Image::random(&[1000], "amd64");
    api.push_image(REPOSITORY, "probe", &image)?;
    let mut load = Load::new(registry);
    let (mut longest_failover, mut longest_outage) = (Duration::ZERO, Duration::ZERO);
    for round in 1..=rounds {
        let now = Instant::now();
        let probe = Probe {
            api: &api,
            manifest: &image.manifest,
            over: AtomicBool::new(false),
            latest: Mutex::new((now, now)),
            fault: Mutex::new(None),
        };
        let postgres = registry.engines_mut().postgres.as_mut().context("no PostgreSQL")?;
        let (failover, outage) = load.during(|| {
            thread::scope(|scope| {
                scope.spawn(|| probe.run());
                pause(Duration::from_millis(rand::rng().random_range(300..1500)));
                let killed = Instant::now();
                let outcome = postgres.fail_over().and_then(|took| Ok((took, probe.first_success_after(killed)?)));
                probe.over.store(true, Ordering::Relaxed);
                outcome
            })
        })?;
        if let Some(fault) = lock(&probe.fault).take() {
            return Err(fault.context(format!("failover {round}")));
        }
        ensure!(outage <= failover + RECONNECT, "an outage of {outage:?} for a failover of {failover:?}");
        longest_failover = longest_failover.max(failover);
        longest_outage = longest_outage.max(outage);
        load.audit().with_context(|| format!("after failover {round}"))?;
        postgres.add_standby()?;
    }
    Ok(format!(
        "{rounds} failovers of at most {} ms, no push for at most {} ms, {}",
        longest_failover.as_millis(),
        longest_outage.as_millis(),
        load.summary()
    ))
}

#[test]
fn to_the_synchronous_standby() {
    let mut setup = plain();
    setup.scale.standby = true;
    if !lacks("failover", "postgres", setup.scale.engines.postgres) {
        check("failover", &[], &setup, exercise);
    }
}
