//! What the registry promised about one tag.

use anyhow::{Result, bail};

/// A tag as its only writer knows it.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) repository: String,
    pub(super) name: String,
    /// Every state it may be in; `None` is absence. One state unless a request was cut off.
    possible: Vec<Option<String>>,
    /// What requests that were cut off may still bring: where the server outlives its connections, one of
    /// them may be done after its successors.
    late: Vec<Option<String>>,
}

impl Tag {
    pub(super) fn new(repository: &str, name: &str) -> Self {
        Self { repository: repository.to_owned(), name: name.to_owned(), possible: vec![None], late: Vec::new() }
    }

    /// The digest it must have, if that is certain and it is not absent.
    pub(super) fn certain(&self) -> Option<&str> {
        match self.possible.as_slice() {
            [only] => only.as_deref(),
            _ => None,
        }
    }

    /// True when it may name `digest`.
    pub(super) fn may_be(&self, digest: &str) -> bool {
        self.possible.iter().flatten().any(|possible| possible == digest)
    }

    /// An acknowledged change.
    pub(super) fn became(&mut self, state: Option<String>) {
        self.possible = vec![state];
        self.possible.extend(self.late.clone());
        self.possible.dedup();
    }

    /// The change to `state` was neither acknowledged nor refused and may come at any time.
    pub(super) fn may_become(&mut self, state: Option<String>) {
        self.late.push(state);
    }

    /// A change that nobody acknowledged or refused.
    pub(super) fn may_have_become(&mut self, state: Option<String>) {
        if !self.possible.contains(&state) {
            self.possible.push(state);
        }
    }

    /// An acknowledged deletion of the manifest `digest`.
    pub(super) fn cannot_be(&mut self, digest: &str) {
        self.possible.retain(|state| state.as_deref() != Some(digest) || self.late.contains(state));
    }

    /// Compares with what is there and settles what was in doubt.
    pub(super) fn settle(&mut self, found: Option<String>) -> Result<()> {
        if !self.possible.contains(&found) {
            bail!("{}:{} is {found:?}, acknowledged was {:?}", self.repository, self.name, self.possible);
        }
        self.possible = vec![found];
        self.late.clear();
        Ok(())
    }
}
