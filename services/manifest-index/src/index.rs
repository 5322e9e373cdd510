//! The handle that implements the ports.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use entrepot_core::error::Classify;
use entrepot_core::ports::{IndexError, index::StoredManifest};
use entrepot_core::{Digest, ErrorKind, RepositoryName, Tag};
use entrepot_sql::{Database, Migration, SqlError, Transaction, Tx};

use crate::cache::FreshCache;
use crate::error::Failure;
use crate::repository::{FindRepository, RepositoryId, RepositoryIds};

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "registry", sql: include_str!("../migrations/0001_registry.sql") },
    Migration { version: 2, name: "operations", sql: include_str!("../migrations/0002_operations.sql") },
];

/// Under which the schema's versions are recorded, and the schema that holds the tables on PostgreSQL.
pub const SCHEMA: &str = "registry";

/// The schema, step by step.
pub fn migrations() -> &'static [Migration] {
    MIGRATIONS
}

/// Brings the schema up to date; answers how many steps that took.
///
/// # Errors
/// [`SqlError`] when the database does not answer or was written by a newer program.
pub async fn migrate(database: &Database) -> Result<usize, SqlError> {
    database.migrate(SCHEMA, MIGRATIONS).await
}

/// How much the index may keep in memory.
///
/// Both caches answer only what is provably committed, which takes that this process alone writes to the database,
/// through one [`Index`]. Where others write too, both must be 0.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes for tags and what they point to.
    pub tag_cache_bytes: usize,
    /// Bytes for manifests.
    pub manifest_cache_bytes: usize,
}

impl Options {
    /// For a database that others write to as well.
    pub const UNCACHED: Self = Self { tag_cache_bytes: 0, manifest_cache_bytes: 0 };
}

impl Default for Options {
    fn default() -> Self {
        Self { tag_cache_bytes: 4 << 20, manifest_cache_bytes: 8 << 20 }
    }
}

/// Registry metadata in one database. Implements all four ports of manifest-index.
pub struct Index {
    pub(crate) database: Database,
    pub(crate) repositories: RepositoryIds,
    pub(crate) tags: Arc<FreshCache<Tag, Digest>>,
    pub(crate) manifests: Arc<FreshCache<Digest, StoredManifest>>,
}

impl Index {
    /// Serves from a database. On SQLite, and where it was told to, brings the schema up to date first.
    ///
    /// # Errors
    /// [`SqlError`] when the database does not answer or its schema is not one this program knows.
    pub async fn open(database: Database, options: Options) -> Result<Self, SqlError> {
        database.prepare(SCHEMA, MIGRATIONS).await?;
        Ok(Self {
            database,
            repositories: RepositoryIds::new(),
            tags: Arc::new(FreshCache::new(options.tag_cache_bytes)),
            manifests: Arc::new(FreshCache::new(options.manifest_cache_bytes)),
        })
    }

    /// The id of a repository, if it exists.
    pub(crate) async fn repository(&self, name: &RepositoryName) -> Result<Option<RepositoryId>, IndexError> {
        if let Some(id) = self.repositories.get(name) {
            return Ok(Some(id));
        }
        let found = self.read_key(FindRepository(name.clone())).await?;
        if let Some(id) = found {
            self.repositories.insert(name, id);
        }
        Ok(found)
    }

    /// The id of a repository that must exist.
    pub(crate) async fn known_repository(&self, name: &RepositoryName) -> Result<RepositoryId, IndexError> {
        self.repository(name).await?.ok_or_else(|| IndexError::RepositoryUnknown(name.clone()))
    }

    /// One or two look-ups by key.
    pub(crate) async fn read_key<T>(&self, transaction: T) -> Result<T::Output, IndexError>
    where
        T: Transaction,
        Failure: From<T::Error>,
    {
        self.database.read_key(transaction).await.map_err(answer)
    }

    /// A longer read.
    pub(crate) async fn read<T>(&self, transaction: T) -> Result<T::Output, IndexError>
    where
        T: Transaction,
        Failure: From<T::Error>,
    {
        self.database.read(transaction).await.map_err(answer)
    }

    /// A write. `guard` is dropped once its outcome is known, even if the caller has gone by then.
    pub(crate) async fn write<T, G>(&self, transaction: T, guard: G) -> Result<T::Output, IndexError>
    where
        T: Transaction<Error = Failure>,
        G: Send + 'static,
    {
        self.settle(transaction, guard).await?.0.map_err(IndexError::from)
    }

    /// A write that ends something and does not say so by an [operation](crate::transaction::operation).
    pub(crate) async fn remove<T, G>(&self, transaction: T, guard: G) -> Result<(), IndexError>
    where
        T: Transaction<Output = (), Error = Failure>,
        G: Send + 'static,
    {
        let (outcome, again) = self.settle(transaction, guard).await?;
        match outcome.map_err(IndexError::from) {
            // The first run had it, so it was that run's commit that took it away.
            Err(error) if again && error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Runs a write until its outcome is certain. When that of the commit got lost the body runs again: every body finds
    /// what an earlier run of itself left and answers the same, without a second effect where others may have built on
    /// the first (see [`operation`](crate::transaction::operation)). The second answer says whether it did.
    async fn settle<T, G>(&self, transaction: T, guard: G) -> Result<(Result<T::Output, Failure>, bool), IndexError>
    where
        T: Transaction<Error = Failure>,
        G: Send + 'static,
    {
        let database = self.database.clone();
        let work = async move {
            let _guard = guard;
            let transaction = Arc::new(transaction);
            match database.write(Shared(Arc::clone(&transaction))).await {
                Err(Failure::Sql(SqlError::InDoubt { .. })) => (database.write(Shared(transaction)).await, true),
                outcome => (outcome, false),
            }
        };
        let task = tokio::spawn(tracing::Instrument::in_current_span(work));
        // The task neither panics nor is aborted, so this is a runtime that shuts down.
        task.await.map_err(|stopped| IndexError::Unavailable(Box::new(stopped)))
    }
}

fn answer<E>(error: E) -> IndexError
where
    Failure: From<E>,
{
    Failure::from(error).into()
}

/// A body that can be given to the database twice.
struct Shared<T>(Arc<T>);

#[async_trait]
impl<T: Transaction> Transaction for Shared<T> {
    type Output = T::Output;
    type Error = T::Error;

    async fn run(&self, tx: &mut dyn Tx) -> Result<T::Output, T::Error> {
        self.0.run(tx).await
    }
}

/// The tags of a request, each once.
pub(crate) fn distinct(tags: Vec<Tag>) -> Vec<Tag> {
    let mut seen = HashSet::new();
    tags.into_iter().filter(|tag| seen.insert(tag.clone())).collect()
}

#[cfg(test)]
mod tests;
