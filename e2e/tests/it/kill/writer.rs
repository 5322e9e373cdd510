//! One writer: the only one that changes its repositories, so that it knows what they must hold.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Context, Error, Result, bail};
use entrepot_e2e::api::Api;
use entrepot_e2e::http::Unexpected;
use entrepot_e2e::image::{Blob, Image};
use entrepot_e2e::patience::{Verdict, verdict};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use super::oracle::Tag;
use super::upload::Chunked;

/// What a failure may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Everything is killed, then audited: what comes then is excused.
    Killed,
    /// The registry goes on and has to say "not now" as clients understand it.
    Serving,
}

const TAGS_EACH: usize = 6;
/// Events that are shown when something is wrong.
const REMEMBERED: usize = 60;

pub(crate) struct Writer {
    number: usize,
    api: Api,
    mode: Mode,
    /// A manifest may yet be deleted: no tag may be pointed at an earlier one.
    cautious: bool,
    repositories: [String; 2],
    tags: Vec<Tag>,
    /// Blobs acknowledged for a manifest that was not.
    loose: Vec<(String, String)>,
    /// Layers of earlier pushes, to be pushed and mounted again.
    layers: Vec<Vec<u8>>,
    upload: Chunked,
    log: VecDeque<String>,
    violation: Option<Error>,
    acknowledged: u64,
    in_doubt: u64,
    audited: u64,
}

impl Writer {
    pub(super) fn new(number: usize, api: Api) -> Self {
        let repositories = [format!("kill/w{number}/a"), format!("kill/w{number}/b")];
        let tags = repositories
            .iter()
            .flat_map(|repository| (0..TAGS_EACH).map(move |at| Tag::new(repository, &format!("t{at}"))))
            .collect();
        Self {
            number,
            api,
            mode: Mode::Killed,
            cautious: false,
            upload: Chunked::new(&repositories[0]),
            repositories,
            tags,
            loose: Vec::new(),
            layers: Vec::new(),
            log: VecDeque::new(),
            violation: None,
            acknowledged: 0,
            in_doubt: 0,
            audited: 0,
        }
    }

    /// A writer for a registry that is never down as a whole.
    pub(crate) fn serving(number: usize, api: Api) -> Self {
        Self { mode: Mode::Serving, ..Self::new(number, api) }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(crate) fn in_doubt(&self) -> u64 {
        self.in_doubt
    }

    pub(crate) fn audited(&self) -> u64 {
        self.audited
    }

    pub(crate) fn resumed(&self) -> u64 {
        self.upload.resumed
    }

    /// One action. Its failure is kept for the audit if the kill does not excuse it.
    pub(crate) fn step(&mut self) {
        let tag = rand::rng().random_range(0..self.tags.len());
        let (what, outcome) = match rand::rng().random_range(0..100) {
            0..40 => ("push", self.push(tag)),
            40..60 => ("pull", self.pull(tag)),
            60..72 if !self.cautious => ("retag", self.retag(tag)),
            60..72 => ("push", self.push(tag)),
            72..79 => ("untag", self.untag(tag)),
            79..84 => ("delete", self.delete(tag)),
            _ if self.mode == Mode::Serving => ("upload", self.upload.step_on(&self.api)),
            _ => ("upload", self.upload.step(&self.api)),
        };
        let name = format!("{}:{}", self.tags[tag].repository, self.tags[tag].name);
        match outcome {
            Ok(()) => {
                self.acknowledged += 1;
                self.note(format!("{what} {name}: done"));
            }
            Err(error) if self.excuses(what, &error) => {
                self.in_doubt += 1;
                self.cautious |= what == "delete";
                self.note(format!("{what} {name}: cut off: {error:#}"));
            }
            Err(error) => {
                self.note(format!("{what} {name}: {error:#}"));
                self.violation.get_or_insert(error.context(format!("{what} {name}")));
            }
        }
    }

    /// Compares everything with what was acknowledged.
    pub(crate) fn audit(&mut self) -> Result<()> {
        if let Some(violation) = self.violation.take() {
            return Err(self.explained(violation));
        }
        match self.compare() {
            Ok(()) => {
                self.cautious = false;
                self.note("audited".to_owned());
                Ok(())
            }
            Err(error) => Err(self.explained(error)),
        }
    }

    fn compare(&mut self) -> Result<()> {
        for tag in &mut self.tags {
            let found = match self.api.manifest(&tag.repository, &tag.name)? {
                Some(_) => Some(self.api.verify(&tag.repository, &tag.name)?),
                None => None,
            };
            tag.settle(found)?;
            self.audited += 1;
        }
        for repository in &self.repositories {
            let listed: BTreeSet<String> = self.api.tags(repository)?.into_iter().collect();
            let expected: BTreeSet<String> = self
                .tags
                .iter()
                .filter(|tag| tag.repository == *repository && tag.certain().is_some())
                .map(|tag| tag.name.clone())
                .collect();
            if listed != expected {
                bail!("{repository} lists {listed:?}, acknowledged were {expected:?}");
            }
        }
        for (repository, digest) in std::mem::take(&mut self.loose) {
            self.api
                .blob(&repository, &digest)?
                .with_context(|| format!("{repository} lost the acknowledged blob {digest}"))?;
        }
        self.upload.audit(&self.api)
    }

    fn push(&mut self, at: usize) -> Result<()> {
        let mut random = rand::rng();
        let repository = self.tags[at].repository.clone();
        let mut tars = Image::random(&[random.random_range(1..200_000)], "amd64").tars;
        if let Some(earlier) = self.layers.choose(&mut random) {
            tars.insert(0, earlier.clone());
        }
        let image = Image::of(tars, "amd64", &["/bin/true"]);
        self.loose.clear();
        for blob in image.blobs() {
            self.push_blob(&repository, blob)?;
        }
        self.put(at, &image.manifest)?;
        self.loose.clear();
        self.layers.extend(image.tars.last().cloned());
        if self.layers.len() > 4 {
            self.layers.remove(0);
        }
        Ok(())
    }

    /// As clients do: ask first, then try to mount, then upload.
    fn push_blob(&mut self, repository: &str, blob: &Blob) -> Result<()> {
        let other = self.repositories.iter().find(|other| *other != repository).expect("there are two");
        let there = self.api.has_blob(repository, &blob.digest)?
            || self.api.has_blob(other, &blob.digest)? && self.api.mount(repository, &blob.digest, other)?;
        if !there {
            self.api.push_blob(repository, blob)?;
        }
        self.loose.push((repository.to_owned(), blob.digest.clone()));
        Ok(())
    }

    fn pull(&mut self, at: usize) -> Result<()> {
        let tag = &self.tags[at];
        let Some(expected) = tag.certain() else {
            return Ok(());
        };
        let found = self.api.verify(&tag.repository, &tag.name)?;
        if found != expected {
            bail!("pulled {found}, acknowledged was {expected}");
        }
        Ok(())
    }

    /// Points this tag to what another one of the same repository names.
    fn retag(&mut self, at: usize) -> Result<()> {
        let repository = &self.tags[at].repository;
        let named = |tag: &&Tag| tag.repository == *repository && tag.certain().is_some();
        let candidates: Vec<&Tag> = self.tags.iter().filter(named).collect();
        let Some(source) = candidates.choose(&mut rand::rng()) else {
            return Ok(());
        };
        let manifest = self
            .api
            .manifest(repository, &source.name)?
            .with_context(|| format!("{}:{} is lost", source.repository, source.name))?;
        if source.certain() != Some(&manifest.digest) {
            bail!("{}:{} changed to {}", source.repository, source.name, manifest.digest);
        }
        self.put(at, &Blob::new(&manifest.media_type, manifest.bytes))
    }

    fn put(&mut self, at: usize, manifest: &Blob) -> Result<()> {
        let tag = &mut self.tags[at];
        let state = Some(manifest.digest.clone());
        tag.may_have_become(state.clone());
        match self.api.put_manifest(&tag.repository, &tag.name, manifest) {
            Ok(_) => tag.became(state),
            Err(error) => {
                tag.may_become(state);
                return Err(error);
            }
        }
        Ok(())
    }

    fn untag(&mut self, at: usize) -> Result<()> {
        let tag = &mut self.tags[at];
        tag.may_have_become(None);
        match self.api.delete_manifest(&tag.repository, &tag.name) {
            Ok(_) => tag.became(None),
            Err(error) => {
                tag.may_become(None);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Deletes the manifest that a tag names, and with it every tag of it.
    fn delete(&mut self, at: usize) -> Result<()> {
        let Some(digest) = self.tags[at].certain().map(str::to_owned) else {
            return Ok(());
        };
        let repository = self.tags[at].repository.clone();
        let affected = |tag: &&mut Tag| tag.repository == repository && tag.may_be(&digest);
        for tag in self.tags.iter_mut().filter(affected) {
            tag.may_have_become(None);
        }
        let outcome = self.api.delete_manifest(&repository, &digest);
        for tag in self.tags.iter_mut().filter(affected) {
            match outcome {
                Ok(_) => tag.cannot_be(&digest),
                Err(_) => tag.may_become(None),
            }
        }
        outcome.map(drop)
    }

    /// True when the failure is what faults of the machine look like to an honest client.
    fn excuses(&self, what: &str, error: &Error) -> bool {
        match (self.mode, error.downcast_ref::<Unexpected>()) {
            (Mode::Killed, Some(unexpected)) => unexpected.status >= 500,
            // A request that was cut off came through after all; the session's status tells, and is audited.
            (Mode::Serving, Some(unexpected)) if what == "upload" && unexpected.status == 416 => true,
            (Mode::Serving, Some(_)) => verdict(error) == Verdict::NotNow,
            (_, None) => verdict(error) == Verdict::Cut,
        }
    }

    fn note(&mut self, event: String) {
        if self.log.len() == REMEMBERED {
            self.log.pop_front();
        }
        self.log.push_back(event);
    }

    fn explained(&self, error: Error) -> Error {
        let events: Vec<&str> = self.log.iter().map(String::as_str).collect();
        error.context(format!("writer {}, whose last actions were:\n  {}\n", self.number, events.join("\n  ")))
    }
}
