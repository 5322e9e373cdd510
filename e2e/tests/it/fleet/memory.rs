//! Twenty layers at once, and one of 5 GiB: memory grows by what is in flight and no more.

use std::thread;

use anyhow::{Result, ensure};
use entrepot_e2e::api::Api;
use entrepot_e2e::content::{Content, digest_of};
use entrepot_e2e::http::Body;
use entrepot_e2e::image::Image;
use entrepot_e2e::registry::Registry;

use super::{check, number, plain};
use crate::large::{self, observed};

const UPLOADS: u64 = 20;
const MIB: u64 = 1 << 20;
const EACH: u64 = 64 * MIB;
/// What the first parts of an upload have, and how many of them there are.
const PART: u64 = 8 * MIB;
const FIRST_PARTS: u64 = 1000;
/// Parts of one upload that are on their way, and the one that is being filled.
const PARTS_OF_ONE: u64 = 4 + 1;
/// Memory for parts in each of two blob-stores, five eighths of the default of `storage.s3.buffer_memory`: less than the
/// parts of all uploads could use.
const PARTS: u64 = (256 << 20) / 8 * 5;
/// Everything else, in all processes together.
const REST: u64 = 32 << 20;

/// An odd number of MiB apart, so that what is left after the last whole part is anything up to a part less a word.
fn size_of(number: u64) -> u64 {
    EACH + 3 * number * MIB - 8
}

/// The size of the parts that a stream of `size` bytes ends with.
fn last_part(size: u64) -> u64 {
    (1..=3).fold(PART, |part, step| if size > FIRST_PARTS * PART * ((1 << step) - 1) { PART << step } else { part })
}

/// Half of them as docker pushes, by a PATCH of unknown length, half as containerd does, by one PUT.
fn parallel(registry: &Registry) -> Result<()> {
    let api = registry.api();
    thread::scope(|scope| {
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|number| {
                let api = &api;
                scope.spawn(move || -> Result<()> {
                    let repository = format!("memory/c{number}");
                    let size = size_of(number);
                    let (digest, _) = digest_of(&mut Content::of(size))?;
                    let mut upload = api.open_upload(&repository)?;
                    if number % 2 == 0 {
                        api.append_stream(&mut upload, &mut Content::of(size))?;
                        api.finish_upload(&upload, &digest, &[])
                    } else {
                        api.put_upload(&upload, &digest, Body::Sized(size, &mut Content::of(size))).map(drop)
                    }
                })
            })
            .collect();
        uploads.into_iter().try_for_each(|upload| upload.join().unwrap())
    })
}

/// The first requests load what stays loaded.
fn warm_up(api: &Api) -> Result<()> {
    api.push_image("memory/warm", "1", &Image::random(&[20 << 20], "amd64"))?;
    api.verify("memory/warm", "1").map(drop)
}

fn uploads(registry: &mut Registry) -> Result<String> {
    warm_up(&registry.api())?;
    let bound = 2 * PARTS + REST;
    let (growth, _) = observed(registry, || parallel(registry))?;
    ensure!(growth <= bound, "{UPLOADS} uploads grew memory by {} MiB: {}", growth >> 20, registry.memory());
    Ok(format!("{UPLOADS} uploads of {} MiB and more: +{} MiB", EACH >> 20, growth >> 20))
}

fn stream(registry: &mut Registry) -> Result<String> {
    let api = registry.api();
    warm_up(&api)?;
    let size = number("ENTREPOT_E2E_LARGE_MIB", 5 << 10) << 20;
    let (digest, _) = digest_of(&mut Content::of(size))?;
    let bound = PARTS_OF_ONE * last_part(size) + REST;
    let (growth, took) = observed(registry, || large::streamed_push(&api, size, &digest))?;
    ensure!(growth <= bound, "a stream grew memory by {} MiB: {}", growth >> 20, registry.memory());
    let rate = (size >> 20) as f64 / took.as_secs_f64();
    Ok(format!("a stream of {} MiB: +{} MiB, {rate:.0} MiB/s", size >> 20, growth >> 20))
}

fn run(exercise: impl FnOnce(&mut Registry) -> Result<String>) {
    check("memory", &[], &plain(), exercise);
}

#[test]
fn of_uploads() {
    run(uploads);
}

/// In a fleet of its own: what another suite has left allocated would hide what this one takes.
#[test]
fn of_a_stream() {
    run(stream);
}
