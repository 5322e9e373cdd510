//! Random sequences of requests, expiries, collections and restarts against a model made of maps. After each step
//! everything visible is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use entrepot_core::manifest::ReferenceKind;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::index::Visibility;
use entrepot_core::{Digest, Manifest, Reference, RepositoryName};
use entrepot_sql::Database;
use entrepot_testkit::builders::{Content, ManifestBuilder, content};
use entrepot_testkit::contract::{IndexPorts, by_tag, page, repository, tag};
use manifest_index::{Index, LEASE, Options};
use proptest::prelude::*;

use crate::support::{Collect, ports};

const REPOSITORIES: usize = 3;
const BLOBS: usize = 4;
const MANIFESTS: usize = 5;
const TAGS: [&str; 3] = ["latest", "v1", "v2"];

#[derive(Clone, Debug)]
enum Op {
    PushBlob { at: usize, blob: usize },
    Stat { at: usize, blob: usize },
    Mount { at: usize, from: usize, blob: usize },
    Unlink { at: usize, blob: usize },
    Put { at: usize, manifest: usize, tags: Vec<usize> },
    DeleteTag { at: usize, tag: usize },
    DeleteManifest { at: usize, manifest: usize },
    Wait { hours: u64 },
    Collect,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (at, blob, manifest, tag) = (0..REPOSITORIES, 0..BLOBS, 0..MANIFESTS, 0..TAGS.len());
    prop_oneof![
        6 => (at.clone(), blob.clone()).prop_map(|(at, blob)| Op::PushBlob { at, blob }),
        2 => (at.clone(), blob.clone()).prop_map(|(at, blob)| Op::Stat { at, blob }),
        3 => (at.clone(), at.clone(), blob.clone()).prop_map(|(at, from, blob)| Op::Mount { at, from, blob }),
        2 => (at.clone(), blob).prop_map(|(at, blob)| Op::Unlink { at, blob }),
        8 => (at.clone(), manifest.clone(), proptest::collection::vec(tag.clone(), 0..3))
            .prop_map(|(at, manifest, tags)| Op::Put { at, manifest, tags }),
        2 => (at.clone(), tag).prop_map(|(at, tag)| Op::DeleteTag { at, tag }),
        2 => (at, manifest).prop_map(|(at, manifest)| Op::DeleteManifest { at, manifest }),
        2 => prop_oneof![Just(5), Just(11), Just(25)].prop_map(|hours| Op::Wait { hours }),
        2 => Just(Op::Collect),
        1 => Just(Op::Reopen),
    ]
}

/// What can be pushed.
struct World {
    repositories: Vec<RepositoryName>,
    blobs: Vec<Content>,
    manifests: Vec<Manifest>,
}

impl World {
    fn new() -> Self {
        let blobs: Vec<Content> = (0..BLOBS).map(|n| content(&format!("blob {n}"))).collect();
        let first = ManifestBuilder::image(&blobs[0], &[blobs[1].clone()]).build();
        let second = ManifestBuilder::image(&blobs[0], &[blobs[2].clone()]).build();
        let foreign = ManifestBuilder::image(&blobs[3], &[]).foreign_layer(&blobs[2]).build();
        let index = ManifestBuilder::index(&[first.clone(), second.clone()]).build();
        let nested = ManifestBuilder::index(std::slice::from_ref(&index)).build();
        Self {
            repositories: ["alpine", "team/app", "team/base"].map(repository).to_vec(),
            blobs,
            manifests: vec![first, second, foreign, index, nested],
        }
    }
}

/// What one repository should show.
#[derive(Default)]
struct Repository {
    exists: bool,
    /// Blobs and when their leases end, in minutes.
    links: BTreeMap<Digest, u64>,
    /// Manifests and what they hold.
    manifests: BTreeMap<Digest, BTreeSet<Digest>>,
    tags: BTreeMap<&'static str, Digest>,
}

impl Repository {
    fn holds(&self, digest: Digest) -> bool {
        self.manifests.values().any(|held| held.contains(&digest))
    }
}

/// A wait adds a minute, so that no lease ends exactly when something is asked.
const LEASE_MINUTES: u64 = LEASE.as_secs() / 60;

struct Machine<'a> {
    world: &'a World,
    place: &'a Place,
    database: Database,
    ports: IndexPorts,
    model: Vec<Repository>,
    minutes: u64,
    /// Keys whose bytes are gone for ever.
    gone: BTreeSet<String>,
}

/// What is left of a database when every process has ended.
struct Place {
    #[cfg(feature = "postgres-tests")]
    database: Database,
    #[cfg(not(feature = "postgres-tests"))]
    directory: tempfile::TempDir,
}

#[cfg(feature = "postgres-tests")]
impl Place {
    const CASES: u32 = 8;

    async fn new() -> Self {
        Self { database: Database::temporary().await.unwrap() }
    }

    fn open(&self, _minutes: u64) -> Database {
        self.database.replica(entrepot_sql::testing::Tampering::default())
    }
}

#[cfg(not(feature = "postgres-tests"))]
impl Place {
    const CASES: u32 = 24;

    async fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// The shift of the clock is lost with the process.
    fn open(&self, minutes: u64) -> Database {
        let database = entrepot_sql::SqliteOptions::new(self.directory.path().join("index.db")).open().unwrap();
        database.shift_clock(i64::try_from(minutes * 60_000).unwrap());
        database
    }
}

async fn open(place: &Place, minutes: u64) -> (Database, IndexPorts) {
    let database = place.open(minutes);
    let index = Arc::new(Index::open(database.clone(), Options::default()).await.unwrap());
    let ports = ports(&index, &database);
    (database, ports)
}

impl Machine<'_> {
    async fn step(&mut self, op: &Op) {
        let now = self.minutes;
        match op {
            Op::PushBlob { at, blob } => {
                self.ports.push_blob(&self.world.repositories[*at], &self.world.blobs[*blob]).await;
                self.model[*at].exists = true;
                self.model[*at].links.insert(self.world.blobs[*blob].digest, now + LEASE_MINUTES);
            }
            Op::Stat { at, blob } => {
                let digest = self.world.blobs[*blob].digest;
                let known = self.ports.links.stat(&self.world.repositories[*at], digest).await.is_ok();
                let lease = self.model[*at].links.get_mut(&digest);
                assert_eq!(known, lease.is_some());
                if let Some(lease) = lease.filter(|lease| **lease < now + LEASE_MINUTES / 2) {
                    *lease = now + LEASE_MINUTES;
                }
            }
            Op::Mount { at, from, blob } => {
                let digest = self.world.blobs[*blob].digest;
                let (to, source) = (&self.world.repositories[*at], &self.world.repositories[*from]);
                let mounted = self.ports.links.mount(to, Some(source), digest).await.unwrap();
                assert_eq!(mounted, self.model[*from].links.contains_key(&digest));
                if mounted {
                    self.model[*at].exists = true;
                    self.model[*at].links.insert(digest, now + LEASE_MINUTES);
                }
            }
            Op::Unlink { at, blob } => self.unlink(*at, self.world.blobs[*blob].digest).await,
            Op::Put { at, manifest, tags } => self.put(*at, &self.world.manifests[*manifest], tags).await,
            Op::DeleteTag { at, tag } => {
                let deleted =
                    self.ports.manifests.delete_manifest(&self.world.repositories[*at], &by_tag(TAGS[*tag])).await;
                assert_eq!(deleted.is_ok(), self.model[*at].tags.remove(TAGS[*tag]).is_some());
            }
            Op::DeleteManifest { at, manifest } => self.delete(*at, self.world.manifests[*manifest].digest).await,
            Op::Wait { hours } => {
                self.minutes += hours * 60 + 1;
                self.ports.clock.advance(Duration::from_secs((hours * 60 + 1) * 60));
            }
            Op::Collect => {
                self.gone.extend(self.database.write(Collect).await.unwrap());
                for repository in &mut self.model {
                    let held: BTreeSet<Digest> = repository.manifests.values().flatten().copied().collect();
                    repository.links.retain(|digest, lease| held.contains(digest) || *lease > now);
                }
            }
            Op::Reopen => {
                self.database.close().await.unwrap();
                (self.database, self.ports) = open(self.place, self.minutes).await;
            }
        }
    }

    async fn unlink(&mut self, at: usize, digest: Digest) {
        let outcome = self.ports.links.unlink(&self.world.repositories[at], digest).await;
        let model = &mut self.model[at];
        if model.holds(digest) {
            assert!(matches!(outcome, Err(IndexError::Referenced { .. })), "{outcome:?}");
        } else {
            assert_eq!(outcome.is_ok(), model.links.remove(&digest).is_some());
        }
    }

    async fn put(&mut self, at: usize, manifest: &Manifest, tags: &[usize]) {
        let names: Vec<&str> = tags.iter().map(|tag| TAGS[*tag]).collect();
        let outcome = self.ports.put(&self.world.repositories[at], manifest, &names).await;
        let model = &mut self.model[at];
        let present = |digest: &Digest| model.links.contains_key(digest) || model.manifests.contains_key(digest);
        let (held, absent): (Vec<_>, Vec<_>) =
            manifest.references.iter().partition(|reference| present(&reference.digest));
        let required = absent.iter().filter(|reference| reference.kind != ReferenceKind::ForeignBlob);
        let missing: Vec<Digest> = required.map(|reference| reference.digest).collect();
        if missing.is_empty() {
            outcome.unwrap();
            model.exists = true;
            let held = held.iter().map(|reference| reference.digest);
            model.manifests.entry(manifest.digest).or_default().extend(held);
            model.tags.extend(names.into_iter().map(|name| (name, manifest.digest)));
        } else {
            match outcome {
                Err(IndexError::ReferencesMissing(named)) => assert_eq!(named, missing),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn delete(&mut self, at: usize, digest: Digest) {
        let reference = Reference::Digest(digest);
        let outcome = self.ports.manifests.delete_manifest(&self.world.repositories[at], &reference).await;
        let model = &mut self.model[at];
        if model.holds(digest) {
            assert!(matches!(outcome, Err(IndexError::Referenced { .. })), "{outcome:?}");
            return;
        }
        assert_eq!(outcome.is_ok(), model.manifests.remove(&digest).is_some());
        model.tags.retain(|_, target| *target != digest);
    }

    /// Compares all that the ports show with the model.
    async fn check(&self) {
        let listed = self.ports.manifests.list_repositories(&Visibility::All, page(None, 100)).await.unwrap().items;
        let expected: Vec<_> = self
            .world
            .repositories
            .iter()
            .zip(&self.model)
            .filter(|(_, model)| model.exists)
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(listed, expected);
        for (name, model) in self.world.repositories.iter().zip(&self.model) {
            match self.ports.manifests.list_tags(name, page(None, 100)).await {
                Ok(listed) => assert_eq!(listed.items, model.tags.keys().map(|name| tag(name)).collect::<Vec<_>>()),
                Err(IndexError::RepositoryUnknown(_)) => assert!(!model.exists),
                Err(error) => panic!("{error}"),
            }
            for text in TAGS {
                assert_eq!(self.ports.resolve(name, text).await, model.tags.get(text).copied());
            }
            for manifest in &self.world.manifests {
                let stored = self.ports.manifests.get_manifest(name, manifest.digest).await.ok();
                let expected = model.manifests.contains_key(&manifest.digest).then(|| manifest.payload.clone());
                assert_eq!(stored.map(|stored| stored.payload), expected);
            }
            for blob in &self.world.blobs {
                let located = self.ports.links.locate(name, blob.digest).await.ok();
                assert_eq!(located.is_some(), model.links.contains_key(&blob.digest));
                assert!(located.is_none_or(|located| !self.gone.contains(&located.key.to_string())));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: Place::CASES, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_behaves_as_maps_would(ops in proptest::collection::vec(op(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new().await;
            let world = World::new();
            let (database, ports) = open(&place, 0).await;
            let model = (0..REPOSITORIES).map(|_| Repository::default()).collect();
            let mut machine =
                Machine { world: &world, place: &place, database, ports, model, minutes: 0, gone: BTreeSet::new() };
            for op in &ops {
                machine.step(op).await;
                machine.check().await;
            }
        });
    }
}
