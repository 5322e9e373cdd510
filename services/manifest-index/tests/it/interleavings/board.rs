//! Where two requests meet.

use std::sync::Arc;

use entrepot_core::ErrorKind;
use entrepot_core::error::Classify;
use entrepot_core::ports::IndexError;
use entrepot_sql::Database;
use entrepot_sql::testing::{Arena, Case, Flaw, LostAnswers, Verdict};
use entrepot_testkit::contract::IndexPorts;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use manifest_index::{Index, Options};

use crate::support::{Query, ports};

/// What a port answers, whatever it is.
pub(crate) type Answer<T> = Result<T, IndexError>;

/// One process.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) ports: IndexPorts,
    pub(crate) database: Database,
}

impl Side {
    async fn new(database: &Database) -> Self {
        let index = Index::open(database.clone(), Options::UNCACHED).await.unwrap();
        Self { ports: ports(&Arc::new(index), database), database: database.clone() }
    }
}

/// Two processes that meet, and one that looks on.
pub(crate) struct Board {
    arena: Arena,
    pub(crate) watcher: Side,
    pub(crate) first: Side,
    pub(crate) second: Side,
}

impl Board {
    pub(crate) async fn new(flaws: &[Flaw]) -> Self {
        let arena = Arena::new(&Database::temporary().await.unwrap(), flaws);
        let watcher = Side::new(&arena.watcher).await;
        let (first, second) = (Side::new(&arena.first).await, Side::new(&arena.second).await);
        Self { arena, watcher, first, second }
    }

    /// Commits of the first process whose answer gets lost.
    pub(crate) fn lost_answers(&self) -> &LostAnswers {
        &self.arena.lost_answers
    }

    /// Both at once, without stops; whether one of them had to begin again.
    pub(crate) async fn collide<A, B>(
        &self,
        first: impl Future<Output = A> + Send + 'static,
        second: impl Future<Output = B> + Send + 'static,
    ) -> (A, B, bool)
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        self.arena.collide(first.boxed(), second.boxed()).await
    }

    pub(crate) async fn explore<A, B>(&self, case: impl AsyncFn(usize) -> Case<A, B>) -> Option<String>
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        self.arena.explore(case).await
    }
}

/// Nothing goes wrong as it is, and something does without any one of the guards.
pub(crate) async fn guarded(race: impl AsyncFn(&Board) -> Option<String>, guards: &[Flaw]) {
    assert_eq!(race(&Board::new(&[]).await).await, None);
    for guard in guards {
        assert!(race(&Board::new(&[*guard]).await).await.is_some(), "nothing goes wrong without {guard:?}");
    }
}

/// A meeting whose answers are to be sound, and leave a sound database, in which `also` holds.
pub(crate) fn case<A, B>(
    board: &Board,
    first: impl Future<Output = Answer<A>> + Send + 'static,
    second: impl Future<Output = Answer<B>> + Send + 'static,
    also: impl FnOnce(IndexPorts, Answer<A>, Answer<B>) -> BoxFuture<'static, Verdict> + Send + 'static,
) -> Case<Answer<A>, Answer<B>>
where
    A: Send + 'static,
    B: Send + 'static,
{
    let watcher = board.watcher.clone();
    Case {
        first: first.boxed(),
        second: second.boxed(),
        verify: Box::new(move |first, second| {
            async move {
                sound(&first)?;
                sound(&second)?;
                audit(watcher.database).await?;
                also(watcher.ports, first, second).await
            }
            .boxed()
        }),
    }
}

/// A refusal is an answer; a fault is none, and nothing here takes long enough to be unavailable.
fn sound<T>(answer: &Answer<T>) -> Verdict {
    match answer {
        Err(error) if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) => Err(format!("{error:?}")),
        _ => Ok(()),
    }
}

/// `Ok` where it holds.
pub(crate) fn demand(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// What must be true of the tables whatever happened before.
const AUDIT: &str = "
    SELECT 'a manifest needs a blob that is not live' AS finding FROM manifest_blob AS needs
    JOIN link ON link.tenant = needs.tenant AND link.repository = needs.repository AND link.digest = needs.digest
    JOIN blob ON blob.id = link.blob WHERE blob.state <> 'live'
    UNION ALL
    SELECT 'a blob that is being deleted has a link' FROM link JOIN blob ON blob.id = link.blob
    WHERE blob.state = 'deleting'
    UNION ALL
    SELECT 'bytes that a blob stands for are garbage' FROM garbage JOIN blob ON blob.key = garbage.key
    WHERE blob.state = 'live'
    UNION ALL
    SELECT 'bytes that nothing stands for are not garbage' FROM upload WHERE upload.state IN ('done', 'dead')
    AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.key = upload.key)
    AND NOT EXISTS (SELECT 1 FROM garbage WHERE garbage.key = upload.key)
    UNION ALL
    SELECT 'a tag is not where its history ends' FROM (
        SELECT DISTINCT ON (tenant, repository, name) tenant, repository, name, digest FROM tag_history
        ORDER BY tenant, repository, name, version DESC
    ) AS past FULL JOIN tag ON tag.tenant = past.tenant AND tag.repository = past.repository AND tag.name = past.name
    WHERE past.digest IS DISTINCT FROM tag.digest
    UNION ALL
    SELECT 'two versions of a tag in a row are the same' FROM (
        SELECT digest, lag(digest) OVER tags AS before, lag(version) OVER tags AS version FROM tag_history
        WINDOW tags AS (PARTITION BY tenant, repository, name ORDER BY version)
    ) AS changes WHERE version IS NOT NULL AND digest IS NOT DISTINCT FROM before
    UNION ALL
    SELECT 'a manifest that nothing keeps is not reviewed' FROM manifest
    WHERE NOT EXISTS (SELECT 1 FROM tag WHERE tag.tenant = manifest.tenant AND tag.repository = manifest.repository
                      AND tag.digest = manifest.digest)
    AND NOT EXISTS (SELECT 1 FROM manifest_child AS child WHERE child.tenant = manifest.tenant
                    AND child.repository = manifest.repository AND child.child = manifest.digest)
    AND NOT EXISTS (SELECT 1 FROM gc_review WHERE kind = 'manifest' AND gc_review.tenant = manifest.tenant
                    AND gc_review.repository = manifest.repository AND gc_review.digest = manifest.digest)
    UNION ALL
    SELECT 'a link that only its lease keeps is not reviewed' FROM link
    WHERE NOT EXISTS (SELECT 1 FROM manifest_blob AS needs WHERE needs.tenant = link.tenant
                      AND needs.repository = link.repository AND needs.digest = link.digest)
    AND NOT EXISTS (SELECT 1 FROM gc_review WHERE kind = 'link' AND gc_review.tenant = link.tenant
                    AND gc_review.repository = link.repository AND gc_review.digest = link.digest)";

async fn audit(database: Database) -> Verdict {
    let findings = database.read(Query(AUDIT)).await.unwrap();
    match findings.first() {
        Some(finding) => Err(finding.get("finding").unwrap()),
        None => Ok(()),
    }
}
