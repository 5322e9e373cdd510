//! Every sixth request to S3 goes wrong in one way or another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use entrepot_e2e::api::Api;
use entrepot_e2e::faults::s3::Faults;
use entrepot_e2e::image::Image;
use entrepot_e2e::patience::Patience;
use entrepot_e2e::poll;
use entrepot_e2e::registry::Registry;
use rand::RngExt as _;

use super::{check, lacks, number, plain};

const CLIENTS: u64 = 4;
const REPOSITORY: &str = "s3/faults";
/// What docker and containerd do: once, and five times again.
const ATTEMPTS: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(120);
/// The reaper looks every second, and gives uploads up that nobody touched for 20.
const REAPED: Duration = Duration::from_secs(90);

/// Mostly small, now and then of several parts.
fn sizes(number: u64) -> Vec<usize> {
    let mut random = rand::rng();
    match number % 20 {
        0 => vec![20 << 20],
        1..5 => vec![random.random_range(1 << 20..6 << 20)],
        _ => vec![random.random_range(1..300_000), 1000],
    }
}

fn client(api: &Api, patience: &Patience, left: &AtomicU64, pulls: u64) -> Result<()> {
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    while let Ok(number) = take() {
        let image = Image::random(&sizes(number), "amd64");
        let tag = format!("t{number}");
        for blob in image.blobs() {
            patience.keep("push of a blob", || api.push_blob(REPOSITORY, blob))?;
        }
        patience.keep("push of a manifest", || api.put_manifest(REPOSITORY, &tag, &image.manifest))?;
        // As clients retry: each part of an image for itself.
        for _ in 0..pulls {
            patience.keep("pull of a manifest", || api.manifest(REPOSITORY, &tag))?.context("the tag is gone")?;
            for blob in image.blobs() {
                let bytes = patience.keep("pull of a blob", || api.blob(REPOSITORY, &blob.digest))?;
                if bytes.as_ref() != Some(&blob.bytes) {
                    bail!("{tag}: {} is not what was pushed", blob.digest);
                }
            }
        }
    }
    Ok(())
}

fn exercise(registry: &mut Registry) -> Result<String> {
    let pushes = number("ENTREPOT_E2E_S3_PUSHES", 300);
    let pulls = 4;
    let started = Instant::now();
    let api = registry.api();
    let (patience, left) = (Patience::new(ATTEMPTS, PATIENCE), AtomicU64::new(pushes));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(&api, &patience, &left, pulls))).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap())
    })?;
    let engines = registry.engines();
    let (proxy, minio) = engines.s3_proxy.as_ref().zip(engines.minio.as_ref()).context("no MinIO")?;
    let (requests, faulty) = proxy.counts();
    proxy.calm();
    poll::until("the end of every multipart upload", REAPED, || match minio.open_multiparts()? {
        0 => Ok(()),
        open => bail!("{open} are open"),
    })?;
    Ok(format!(
        "{pushes} pushes, {} pulls, {faulty} of {requests} requests to S3 broken, {}, 0 corrupt, 0 multiparts left, {} s",
        pushes * pulls,
        patience.summary(),
        started.elapsed().as_secs()
    ))
}

#[test]
fn faults() {
    let mut setup = plain().with("gc.interval", "1s").with("gc.upload_idle", "20s");
    setup.scale.faults = Some(Faults::bad_day());
    if !lacks("s3", "s3", setup.scale.engines.s3) {
        check("s3", &[], &setup, exercise);
    }
}
