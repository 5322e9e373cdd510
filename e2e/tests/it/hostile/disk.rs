//! A disk that fills up: a clear error, nothing half stored, and all well again once there is room.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use entrepot_e2e::environment::{self, Target};
use entrepot_e2e::http::Unexpected;
use entrepot_e2e::image::{Blob, Image};
use entrepot_e2e::process;
use entrepot_e2e::random_bytes;
use entrepot_e2e::registry::{Registry, Setup, Topology};

const SMALL: &str = "24m";
const LARGE: &str = "96m";
const PIECE: usize = 3 << 20;

/// A file system in memory, of a size that can change.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("e2e-disk-").tempdir()?;
        let options = format!("size={SMALL}");
        process::run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()))?;
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grow(&self) -> Result<()> {
        let options = format!("remount,size={LARGE}");
        process::run(Command::new("mount").args(["-o", &options]).arg(self.path())).map(drop)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily, for processes that are just ending; the folder below goes with its owner.
        let _ = process::run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn check(topology: Topology) {
    let standin = environment::target().unwrap() == Target::Distribution;
    if standin && topology == Topology::Fleet {
        return environment::say("hostile disk Fleet: the stand-in has one topology only");
    }
    let disk = match Tmpfs::mount() {
        Ok(disk) => disk,
        Err(error) => return environment::skip("hostile disk", &format!("{error:#}")),
    };
    let setup = Setup { data: Some(disk.path().join("data")), ..Setup::plain(topology) };
    let mut registry = Registry::start(&setup).unwrap();
    let outcome = fill(&registry, &disk, standin);
    if let Err(error) = outcome {
        panic!("{error:#}\n{}", registry.logs());
    }
    registry.stop().unwrap();
    registry.restart().unwrap();
    assert!(registry.api().verify("disk/app", "after").is_ok(), "lost by a restart after a full disk");
    environment::say(&format!("hostile disk {topology:?}: pass"));
}

fn fill(registry: &Registry, disk: &Tmpfs, standin: bool) -> Result<()> {
    let api = registry.api();
    let first = Image::random(&[100_000], "amd64");
    api.push_image("disk/app", "before", &first)?;
    let mut stored = Vec::new();
    let (refusal, refused) = loop {
        let blob = Blob::new("application/octet-stream", random_bytes(PIECE));
        match api.push_blob("disk/app", &blob) {
            Ok(()) => stored.push(blob.digest),
            Err(error) => break (error, blob.digest),
        }
        ensure!(stored.len() < 20, "{} MiB fitted onto {SMALL}", stored.len() * 3);
    };
    let answer = refusal.downcast_ref::<Unexpected>();
    if !standin {
        let answer = answer.ok_or_else(|| anyhow::anyhow!("a full disk cut the connection: {refusal:#}"))?;
        ensure!([503, 507].contains(&answer.status), "a full disk was answered by {answer}");
        ensure!(answer.text.contains("\"errors\""), "a full disk was answered by {answer}");
    }
    ensure!(!api.has_blob("disk/app", &refused)?, "a blob that did not fit is there");
    ensure!(api.verify("disk/app", "before")? == first.manifest.digest, "the first image changed");
    for digest in &stored {
        ensure!(api.blob("disk/app", digest)?.is_some(), "an acknowledged blob is gone: {digest}");
    }
    disk.grow()?;
    let second = Image::random(&[PIECE], "amd64");
    api.push_image("disk/app", "after", &second)?;
    ensure!(api.verify("disk/app", "after")? == second.manifest.digest, "the second image changed");
    Ok(())
}

#[test]
fn embedded() {
    check(Topology::Embedded);
}

#[test]
fn fleet() {
    check(Topology::Fleet);
}
