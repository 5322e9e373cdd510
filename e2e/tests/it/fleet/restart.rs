//! Both gateways are restarted, one after the other, while large layers are being pushed, and others are begun.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::content::{Content, digest_of};
use entrepot_e2e::image::Image;
use entrepot_e2e::patience::{Patience, Verdict, verdict};
use entrepot_e2e::registry::Registry;

use super::kill::pause;
use super::{check, number, plain};

const UPLOADS: usize = 10;
/// So many begin at once, the others when the first gateway takes no more: they are under way when the second drains.
const AT_ONCE: usize = UPLOADS / 2;
/// Bytes a second of each client.
const RATE: u64 = 8 << 20;
/// A gateway ends once its last upload has.
const DRAINED: Duration = Duration::from_secs(300);
/// Between two pushes that are begun while a gateway drains.
const PERIOD: Duration = Duration::from_millis(50);
/// How long a gateway that drains still takes connections.
const GRACE: &str = "2s";

/// Content no faster than [`RATE`].
struct Slow<'a> {
    content: Content,
    start: Instant,
    given: u64,
    total: &'a AtomicU64,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let due = Duration::from_secs_f64(self.given as f64 / RATE as f64);
        if let Some(early) = due.checked_sub(self.start.elapsed()) {
            pause(early);
        }
        let count = self.content.read(buffer)?;
        self.given += count as u64;
        self.total.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn push(api: &Api, number: usize, size: u64, digest: &str, total: &AtomicU64) -> Result<()> {
    let repository = format!("restart/c{number}");
    let mut upload = api.open_upload(&repository)?;
    let content = Content::of(size);
    api.append_stream(&mut upload, &mut Slow { content, start: Instant::now(), given: 0, total })?;
    ensure!(upload.offset == size, "{} bytes acknowledged of {size}", upload.offset);
    api.finish_upload(&upload, digest, &[])?;
    ensure!(api.has_blob(&repository, digest)?, "the layer of client {number} is not there");
    Ok(())
}

/// What was begun while gateways drained.
#[derive(Default)]
struct Late {
    /// Images pushed.
    pushed: u64,
    /// Uploads that a draining gateway did not open.
    refused: u64,
}

/// How far the drain of a gateway is.
#[derive(Default)]
struct Drain {
    /// It takes no more connections.
    closed: AtomicBool,
    /// It has ended.
    over: AtomicBool,
}

/// Begins pushes until the drain is over, as clients do: through the balancer. How many images that were.
fn push_late(api: &Api, number: usize, drain: &Drain) -> Result<u64> {
    let patience = Patience::new(10, DRAINED);
    let mut pushed = 0;
    while !drain.over.load(Ordering::Relaxed) {
        let (repository, tag) = (format!("restart/late{number}"), format!("t{pushed}"));
        let image = Image::random(&[20_000], "amd64");
        patience.keep("late push", || api.push_image(&repository, &tag, &image))?;
        ensure!(api.verify(&repository, &tag)? == image.manifest.digest, "{repository}:{tag} is another image");
        pushed += 1;
        pause(PERIOD);
    }
    Ok(pushed)
}

/// Begins pushes at the gateway that drains, as one does whose balancer has not noticed, until it takes no more connections.
/// How many it told to come back.
fn knock(draining: &Api, number: usize, drain: &Drain) -> Result<u64> {
    let repository = format!("restart/late{number}");
    let mut refused = 0;
    while !drain.closed.load(Ordering::Relaxed) {
        match draining.open_upload(&repository).as_ref().map_err(verdict) {
            Ok(_) => {}
            Err(Verdict::NotNow) => refused += 1,
            Err(Verdict::Cut) => drain.closed.store(true, Ordering::Relaxed),
            Err(Verdict::Fault(fault)) => bail!("a draining gateway: {fault}"),
        }
        pause(PERIOD);
    }
    Ok(refused)
}

/// Stops a gateway while pushes are begun.
fn stop(registry: &mut Registry, api: &Api, number: usize, drain: &Drain) -> Result<Late> {
    let draining = registry.api_of(&registry.gateways()[number - 1]);
    thread::scope(|scope| {
        let pushed = scope.spawn(|| push_late(api, number, drain));
        let refused = scope.spawn(|| knock(&draining, number, drain));
        let stopped = registry.stop_one(&format!("api-gateway-{number}"), DRAINED);
        drain.closed.store(true, Ordering::Relaxed);
        drain.over.store(true, Ordering::Relaxed);
        let late = Late { pushed: pushed.join().unwrap()?, refused: refused.join().unwrap()? };
        stopped.map(|()| late)
    })
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let size = number("ENTREPOT_E2E_RESTART_MIB", 512) << 20;
    let (digest, _) = digest_of(&mut Content::of(size))?;
    let (api, total) = (registry.api(), AtomicU64::new(0));
    let start = Instant::now();
    let drains: Vec<Drain> = registry.gateways().iter().map(|_| Drain::default()).collect();
    let first = drains.first().context("there is no gateway")?;
    let late = thread::scope(|scope| -> Result<Late> {
        let pushes: Vec<_> = (0..UPLOADS)
            .map(|number| {
                let (api, digest, total) = (&api, &digest, &total);
                scope.spawn(move || {
                    while number >= AT_ONCE && !first.closed.load(Ordering::Relaxed) {
                        pause(PERIOD);
                    }
                    push(api, number, size, digest, total)
                })
            })
            .collect();
        // All that began at once are under way.
        while total.load(Ordering::Relaxed) < size && !pushes.iter().any(thread::ScopedJoinHandle::is_finished) {
            pause(Duration::from_millis(50));
        }
        let mut late = Late::default();
        for (number, drain) in (1..).zip(&drains) {
            let stopped = stop(registry, &api, number, drain);
            // Nobody waits for what has failed.
            first.closed.store(true, Ordering::Relaxed);
            let Late { pushed, refused } = stopped?;
            // A drain without both was over before anybody noticed, and shows nothing.
            ensure!(pushed > 0 && refused > 0, "{pushed} pushed and {refused} refused while gateway {number} drained");
            late = Late { pushed: late.pushed + pushed, refused: late.refused + refused };
            registry.restart()?;
        }
        pushes.into_iter().try_for_each(|push| push.join().unwrap())?;
        Ok(late)
    })?;
    let took = start.elapsed();
    let rate = ((size * UPLOADS as u64) >> 20) as f64 / took.as_secs_f64();
    Ok(format!(
        "{UPLOADS} pushes of {} MiB, 0 failed, {} s, {rate:.0} MiB/s; {} images pushed while a gateway drained, which told {} to come back",
        size >> 20,
        took.as_secs(),
        late.pushed,
        late.refused
    ))
}

#[test]
fn of_all_gateways() {
    check("restart", &[], &plain().with("shutdown.grace", GRACE), exercise);
}
