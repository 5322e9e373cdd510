//! Tags through three gateways at once, with kills and connections cut at COMMIT: is there one order in which all answers
//! are right?

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::image::{Blob, CONFIG, MANIFEST};
use entrepot_e2e::linearizability::{Action, Operation, is_linearizable};
use entrepot_e2e::patience::{Verdict, verdict};
use entrepot_e2e::registry::Registry;
use rand::RngExt as _;
use serde_json::json;

use super::kill::pause;
use super::{check, number, plain};

const REPOSITORY: &str = "tags/app";
const GATEWAYS: usize = 3;
/// Clients at once, two at each gateway.
const CLIENTS: usize = 6;
/// Operations in one history.
const LENGTH: u64 = 500;
/// Histories at once, each of another tag.
const TOGETHER: u64 = 2;
/// Of a thousand COMMITs, so many lose their connection.
const CUT: u32 = 50;

/// A manifest that no other operation writes.
fn manifest(config: &Blob, tag: &str, value: u64) -> Blob {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [],
        "annotations": {"tag": tag, "value": value.to_string()},
    });
    Blob::new(MANIFEST, manifest.to_string().into_bytes())
}

struct History<'a> {
    tag: String,
    config: &'a Blob,
    start: Instant,
    left: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl History<'_> {
    /// One client's part of the history. A client whose operation is in doubt goes on as another client would.
    fn client(&self, api: &Api) -> Result<()> {
        while let Ok(number) = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        {
            let called = self.start.elapsed();
            let (unknown, outcome) = match rand::rng().random_range(0..10) {
                0..4 => (Some(Action::Put(number)), self.put(api, number)),
                4..9 => (None, self.get(api)),
                _ => (Some(Action::MaybeClear), self.clear(api)),
            };
            let answered = self.start.elapsed();
            match outcome {
                Ok(action) => self.record(Operation { action, called, answered: Some(answered) }),
                Err(error) if !matches!(verdict(&error), Verdict::Fault(_)) => {
                    // As clients do: a pause, then on. A read that got no answer says nothing.
                    pause(Duration::from_millis(20));
                    if let Some(action) = unknown {
                        self.record(Operation { action, called, answered: None });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn put(&self, api: &Api, value: u64) -> Result<Action> {
        api.put_manifest(REPOSITORY, &self.tag, &manifest(self.config, &self.tag, value))?;
        Ok(Action::Put(value))
    }

    fn get(&self, api: &Api) -> Result<Action> {
        let Some(found) = api.manifest(REPOSITORY, &self.tag)? else { return Ok(Action::Get(None)) };
        let content: serde_json::Value = serde_json::from_slice(&found.bytes)?;
        let annotations = &content["annotations"];
        match annotations["value"].as_str().map(str::parse) {
            Some(Ok(value)) if annotations["tag"] == *self.tag => Ok(Action::Get(Some(value))),
            _ => bail!("{} names a manifest of another tag", self.tag),
        }
    }

    fn clear(&self, api: &Api) -> Result<Action> {
        Ok(Action::Clear(api.delete_manifest(REPOSITORY, &self.tag)?))
    }

    fn record(&self, operation: Operation) {
        self.operations.lock().unwrap().push(operation);
    }
}

/// The operations of one tag.
fn history(apis: &[Api], config: &Blob, number: u64) -> Result<Vec<Operation>> {
    let history = History {
        tag: format!("t{number}"),
        config,
        start: Instant::now(),
        left: AtomicU64::new(LENGTH),
        operations: Mutex::default(),
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| {
                let (history, api) = (&history, &apis[at % apis.len()]);
                scope.spawn(move || history.client(api))
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap())
    })?;
    Ok(history.operations.into_inner().unwrap())
}

/// All histories, a few at a time.
fn histories(apis: &[Api], config: &Blob, count: u64) -> Result<(usize, usize)> {
    let next = AtomicU64::new(0);
    let totals = Mutex::new((0, 0));
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            let operations = history(apis, config, number)?;
            if !is_linearizable(&operations) {
                bail!("tag {number} has no order in which all answers are right: {operations:#?}");
            }
            let doubtful = operations.iter().filter(|operation| operation.answered.is_none()).count();
            let mut totals = totals.lock().unwrap();
            *totals = (totals.0 + operations.len(), totals.1 + doubtful);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..TOGETHER).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })?;
    Ok(totals.into_inner().unwrap())
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let count = number("ENTREPOT_E2E_HISTORIES", 50);
    let started = Instant::now();
    let config = Blob::new(CONFIG, b"{}".to_vec());
    registry.api().push_blob(REPOSITORY, &config)?;
    let apis: Vec<Api> = registry.gateways().iter().map(|gateway| registry.api_of(gateway)).collect();
    let mut kills = 0;
    if let Some(postgres) = &registry.engines().postgres {
        postgres.relay().cut_commits(CUT);
    }
    let (operations, doubtful) = thread::scope(|scope| {
        let histories = scope.spawn(|| histories(&apis, &config, count));
        while !histories.is_finished() {
            pause(Duration::from_millis(rand::rng().random_range(300..1500)));
            let victim = rand::rng().random_range(0..registry.processes().len());
            registry.kill(&[victim])?;
            registry.restart()?;
            kills += 1;
        }
        histories.join().unwrap()
    })?;
    let cut = registry.engines().postgres.as_ref().map(|postgres| postgres.relay().commits_cut());
    ensure!(cut != Some(0), "no connection was cut at COMMIT");
    Ok(format!(
        "{count} histories, {operations} operations, {doubtful} in doubt, {kills} kills, {} connections cut at COMMIT, \
         all linearizable, {} s",
        cut.unwrap_or_default(),
        started.elapsed().as_secs()
    ))
}

#[test]
fn linearizable() {
    let mut setup = plain();
    setup.scale.gateways = GATEWAYS;
    check("tags", &[], &setup, exercise);
}
