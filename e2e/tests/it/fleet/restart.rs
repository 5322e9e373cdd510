//! Both gateways are restarted, one after the other, while large layers are being pushed, and others are begun.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::content::{Content, digest_of};
use entrepot_e2e::image::Image;
use entrepot_e2e::patience::{Patience, Verdict, verdict};
use entrepot_e2e::registry::Registry;

use super::kill::pause;
use super::{check, number, plain};

const UPLOADS: usize = 10;
/// Bytes a second of each client.
const RATE: u64 = 8 << 20;
/// A gateway ends once its last upload has.
const DRAINED: Duration = Duration::from_secs(300);
/// Between two pushes that are begun while a gateway drains.
const PERIOD: Duration = Duration::from_millis(50);

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

/// Begins pushes until `over`: through the balancer, as clients do, and at the gateway that drains, as one does whose
/// balancer has not noticed. There it is told to come back, and through the balancer it succeeds then.
fn begin_late(api: &Api, draining: &Api, number: usize, over: &AtomicBool) -> Result<Late> {
    let patience = Patience::new(10, DRAINED);
    let mut late = Late::default();
    while !over.load(Ordering::Relaxed) {
        let repository = format!("restart/late{number}");
        match draining.open_upload(&repository).as_ref().map_err(verdict) {
            Ok(_) | Err(Verdict::Cut) => {}
            Err(Verdict::NotNow) => late.refused += 1,
            Err(Verdict::Fault(fault)) => bail!("a draining gateway: {fault}"),
        }
        let (image, tag) = (Image::random(&[20_000], "amd64"), format!("t{}", late.pushed));
        patience.keep("late push", || api.push_image(&repository, &tag, &image))?;
        ensure!(api.verify(&repository, &tag)? == image.manifest.digest, "{repository}:{tag} is another image");
        late.pushed += 1;
        pause(PERIOD);
    }
    Ok(late)
}

/// Stops a gateway while pushes are begun.
fn stop(registry: &mut Registry, api: &Api, number: usize) -> Result<Late> {
    let draining = registry.api_of(&registry.gateways()[number - 1]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let late = scope.spawn(|| begin_late(api, &draining, number, &over));
        let stopped = registry.stop_one(&format!("api-gateway-{number}"), DRAINED);
        over.store(true, Ordering::Relaxed);
        let late = late.join().unwrap()?;
        stopped.map(|()| late)
    })
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let size = number("ENTREPOT_E2E_RESTART_MIB", 512) << 20;
    let (digest, _) = digest_of(&mut Content::of(size))?;
    let (api, total) = (registry.api(), AtomicU64::new(0));
    let start = Instant::now();
    let late = thread::scope(|scope| -> Result<Late> {
        let pushes: Vec<_> = (0..UPLOADS)
            .map(|number| {
                let (api, digest, total) = (&api, &digest, &total);
                scope.spawn(move || push(api, number, size, digest, total))
            })
            .collect();
        // All are under way.
        while total.load(Ordering::Relaxed) < size && !pushes.iter().any(thread::ScopedJoinHandle::is_finished) {
            pause(Duration::from_millis(50));
        }
        let mut late = Late::default();
        for number in 1..=registry.gateways().len() {
            let Late { pushed, refused } = stop(registry, &api, number)?;
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
    check("restart", &[], &plain(), exercise);
}
