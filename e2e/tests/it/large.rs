//! A layer of 5 GiB, pushed in the two ways that clients have and pulled again, in bounded memory.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::content::{Content, digest_of};
use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::http::{Body, Request};
use entrepot_e2e::registry::{Registry, Setup, Topology};

/// Memory that all processes together may grow by.
const GROWTH: u64 = 64 << 20;
const REPOSITORY: &str = "large/layer";

/// `ENTREPOT_E2E_LARGE_MIB`, or 5 GiB.
fn size() -> u64 {
    std::env::var("ENTREPOT_E2E_LARGE_MIB").map_or(5 << 10, |text| text.parse().unwrap()) << 20
}

/// Runs `work` and returns by how much the registry's memory grew at its highest, and the time it took.
pub(crate) fn observed(registry: &Registry, work: impl FnOnce() -> Result<()>) -> Result<(u64, Duration)> {
    let before = registry.resident_bytes()?;
    let start = Instant::now();
    let (stop, stopped) = mpsc::channel::<()>();
    let (result, peak) = thread::scope(|scope| {
        let sampler = scope.spawn(move || {
            let mut peak = before;
            while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(registry.resident_bytes().unwrap_or(u64::MAX));
            }
            peak
        });
        let result = work();
        drop(stop);
        (result, sampler.join().unwrap())
    });
    result?;
    Ok((peak.saturating_sub(before), start.elapsed()))
}

/// As docker does: one PATCH of unknown length.
pub(crate) fn streamed_push(api: &Api, size: u64, digest: &str) -> Result<()> {
    let mut upload = api.open_upload(REPOSITORY)?;
    api.append_stream(&mut upload, &mut Content::of(size))?;
    ensure!(upload.offset == size, "{} bytes acknowledged", upload.offset);
    api.finish_upload(&upload, digest, &[])
}

fn exercise(registry: &Registry) -> Result<()> {
    let api = registry.api();
    let size = size();
    let (digest, _) = digest_of(&mut Content::of(size))?;
    // The first requests load what stays loaded.
    api.push_image(REPOSITORY, "warm", &entrepot_e2e::image::Image::random(&[1 << 20], "amd64"))?;
    api.verify(REPOSITORY, "warm")?;

    let report = |what: &str, (growth, took): (u64, Duration)| {
        let rate = (size >> 20) as f64 / took.as_secs_f64();
        environment::say(&format!(
            "large {:?}: {what} of {} MiB: memory +{} MiB, {rate:.0} MiB/s",
            registry.topology(),
            size >> 20,
            growth >> 20
        ));
        ensure!(growth < GROWTH, "{what}: memory grew by {} MiB, now {}", growth >> 20, registry.memory());
        Ok(())
    };
    let streamed = observed(registry, || streamed_push(&api, size, &digest))?;
    report("a streamed push", streamed)?;
    let pulled = observed(registry, || {
        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        let mut response = api.client().stream(Request::new("GET", path))?;
        ensure!(response.status() == 200, "answered {}", response.status());
        let (found, total) = digest_of(response.body()).context("pulling")?;
        ensure!(found == digest && total == size, "{total} bytes of {found}, pushed were {size} of {digest}");
        Ok(())
    })?;
    report("a pull", pulled)?;
    // As containerd does: one PUT of everything, into a repository that has no such blob.
    let whole = observed(registry, || {
        let upload = api.open_upload("large/other")?;
        api.put_upload(&upload, &digest, Body::Sized(size, &mut Content::of(size)))?;
        ensure!(api.has_blob("large/other", &digest)?, "not stored");
        Ok(())
    })?;
    report("a push in one request", whole)
}

fn check(topology: Topology) {
    if environment::target().unwrap() == Target::Distribution && topology == Topology::Fleet {
        return environment::say("large Fleet: the stand-in has one topology only");
    }
    let registry = Registry::start(&Setup::plain(topology)).unwrap();
    if let Err(error) = exercise(&registry) {
        panic!("{error:#}\n{}", registry.logs());
    }
}

#[test]
fn embedded() {
    check(Topology::Embedded);
}

#[test]
fn fleet() {
    check(Topology::Fleet);
}
