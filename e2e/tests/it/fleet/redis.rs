//! Redis forgets everything, or is killed, every few seconds: nobody may notice but by a little latency.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::image::Image;
use entrepot_e2e::patience::Patience;
use entrepot_e2e::registry::Registry;

use super::kill::pause;
use super::{check, lacks, number, plain};

const CLIENTS: u64 = 4;
/// Between two faults.
const PERIOD: Duration = Duration::from_secs(5);
/// Redis comes back after so long.
const AWAY: Duration = Duration::from_secs(1);
/// What two runs of the same load differ by on a busy machine, besides the fifth that is allowed.
const NOISE: Duration = Duration::from_millis(10);

/// One client's day: push, pull by tag, pull what others pushed, delete.
fn client(api: &Api, number: u64, patience: &Patience, over: &AtomicBool, done: &AtomicU64) -> Result<()> {
    let repository = format!("redis/c{number}");
    for turn in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let image = Image::random(&[20_000], "amd64");
        let tag = format!("t{}", turn % 5);
        patience.keep("push", || api.push_image(&repository, &tag, &image))?;
        for _ in 0..5 {
            let found = patience.keep("pull", || api.verify(&repository, &tag))?;
            ensure!(
                found == image.manifest.digest,
                "{repository}:{tag} is {found}, pushed was {}",
                image.manifest.digest
            );
        }
        if turn % 7 == 0 {
            patience.keep("delete", || api.delete_manifest(&repository, &image.manifest.digest))?;
            let found = patience.keep("look", || api.manifest(&repository, &tag))?;
            ensure!(found.is_none(), "{repository}:{tag} is there after it was deleted");
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// All clients while `faults` runs; the 99th percentile of their requests.
fn load(api: &Api, done: &AtomicU64, faults: impl FnOnce() -> Result<()>) -> Result<Duration> {
    // One attempt: nothing may fail.
    let patience = Patience::new(1, Duration::ZERO);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (patience, over) = (&patience, &over);
                scope.spawn(move || client(api, number, patience, over, done))
            })
            .collect();
        let outcome = faults();
        over.store(true, Ordering::Relaxed);
        clients.into_iter().try_for_each(|client| client.join().unwrap())?;
        outcome
    })?;
    Ok(patience.percentile(99))
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let length = Duration::from_secs(number("ENTREPOT_E2E_REDIS_SECONDS", 30));
    let api = registry.api();
    let done = AtomicU64::new(0);
    let quiet = |length| {
        load(&api, &done, || {
            pause(length);
            Ok(())
        })
    };
    quiet(Duration::from_secs(2)).context("warming up")?;
    let before = quiet(length / 2).context("with Redis")?;
    let redis = registry.engines_mut().redis.as_mut().context("no Redis")?;
    let mut faults = 0;
    let during = load(&api, &done, || {
        let end = Instant::now() + length;
        while Instant::now() < end {
            if faults % 2 == 0 {
                redis.flush()?;
                pause(PERIOD);
            } else {
                redis.kill()?;
                pause(AWAY);
                redis.revive()?;
                pause(PERIOD - AWAY);
            }
            faults += 1;
        }
        Ok(())
    })
    .context("while Redis failed")?;
    let after = quiet(length / 2).context("with Redis again")?;
    let usual = before.max(after);
    ensure!(
        during <= usual.mul_f64(1.2) + NOISE,
        "the 99th percentile was {during:?}, without faults {before:?} and {after:?}"
    );
    Ok(format!(
        "{faults} times flushed or killed, {} pushes and five times as many pulls, 0 failed, 0 wrong, \
         99th percentile {} ms, otherwise {} ms and {} ms",
        done.load(Ordering::Relaxed),
        during.as_millis(),
        before.as_millis(),
        after.as_millis()
    ))
}

#[test]
fn flushed_and_killed() {
    let setup = plain();
    if !lacks("redis", "redis", setup.scale.engines.redis) {
        check("redis", &[], &setup, exercise);
    }
}
