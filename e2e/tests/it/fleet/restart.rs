//! Both gateways are restarted, one after the other, while large layers are being pushed.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::content::{Content, digest_of};
use entrepot_e2e::registry::Registry;

use super::kill::pause;
use super::{check, number, plain};

const UPLOADS: usize = 10;
/// Bytes a second of each client.
const RATE: u64 = 8 << 20;
/// A gateway ends once its last upload has.
const DRAINED: Duration = Duration::from_secs(300);

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

fn exercise(registry: &mut Registry) -> Result<String> {
    let size = number("ENTREPOT_E2E_RESTART_MIB", 512) << 20;
    let (digest, _) = digest_of(&mut Content::of(size))?;
    let (api, total) = (registry.api(), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| -> Result<()> {
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
        for number in 1..=registry.gateways().len() {
            registry.stop_one(&format!("api-gateway-{number}"), DRAINED)?;
            registry.restart()?;
        }
        pushes.into_iter().try_for_each(|push| push.join().unwrap())
    })?;
    let took = start.elapsed();
    let rate = ((size * UPLOADS as u64) >> 20) as f64 / took.as_secs_f64();
    Ok(format!("{UPLOADS} pushes of {} MiB, 0 failed, {} s, {rate:.0} MiB/s", size >> 20, took.as_secs()))
}

#[test]
fn of_all_gateways() {
    check("restart", &[], &plain(), exercise);
}
