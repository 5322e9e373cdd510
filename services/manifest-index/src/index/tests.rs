//! What happens when the outcome of a commit got lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use entrepot_core::ports::uploads::{Finish, UploadIndex};
use entrepot_core::ports::{BlobLinks, ManifestIndex};
use entrepot_core::{Algorithm, Manifest, Principal, Reference, UploadId};
use entrepot_testkit::builders::{ManifestBuilder, content};
use entrepot_testkit::contract::{by_tag, repository, tag};

use super::*;
use crate::transaction::begin_append::BeginAppend;
use crate::transaction::begin_finish::BeginFinish;
use crate::transaction::delete_manifest::DeleteManifest;
use crate::transaction::delete_tag::DeleteTag;
use crate::transaction::finish_upload::FinishUpload;
use crate::transaction::mount_blob::MountBlob;
use crate::transaction::operation::Operation;
use crate::transaction::put_manifest::PutManifest;
use crate::transaction::save_upload::SaveUpload;
use crate::transaction::session::FoundEpoch;
use crate::transaction::unlink_blob::UnlinkBlob;

async fn index() -> Index {
    Index::open(Database::temporary().await.unwrap(), Options::default()).await.unwrap()
}

/// Loses the outcome of its first commits, then finds nothing left to remove.
struct Removal {
    lost: usize,
    runs: Arc<AtomicUsize>,
}

#[async_trait]
impl Transaction for Removal {
    type Output = ();
    type Error = Failure;

    async fn run(&self, _tx: &mut dyn Tx) -> Result<(), Failure> {
        if self.runs.fetch_add(1, Ordering::SeqCst) < self.lost {
            let source = Arc::new(std::io::Error::other("lost"));
            return Err(SqlError::InDoubt { source }.into());
        }
        Err(IndexError::UploadUnknown.into())
    }
}

#[tokio::test]
async fn a_removal_in_doubt_that_finds_nothing_has_succeeded() {
    let index = index().await;
    for (lost, runs_expected) in [(0, 1), (1, 2), (2, 2)] {
        let runs = Arc::new(AtomicUsize::new(0));
        let outcome = index.remove(Removal { lost, runs: Arc::clone(&runs) }, ()).await;
        assert_eq!(runs.load(Ordering::SeqCst), runs_expected);
        match lost {
            0 => assert!(matches!(outcome, Err(IndexError::UploadUnknown)), "an ordinary refusal stays one"),
            1 => outcome.unwrap(),
            _ => assert!(matches!(outcome, Err(IndexError::Unavailable(_))), "not certain after the second time"),
        }
    }
}

async fn finalizing(index: &Index, repository: &RepositoryName, digest: Digest) -> (UploadId, FinishUpload) {
    let id = index.open(repository, &Principal::Anonymous, Algorithm::Sha256).await.unwrap();
    let Finish::Write { position, .. } = index.begin_finish(repository, id, None, digest).await.unwrap() else {
        panic!()
    };
    (id, FinishUpload { id, position, digest, size: 1, lost: None })
}

/// What [`Index::settle`] rests on: a body that runs after it was committed answers the same.
#[tokio::test]
async fn every_body_that_adds_may_run_again_after_its_commit() {
    let index = index().await;
    let (mine, other) = (repository("team/app"), repository("team/other"));
    let config = content("config");

    let id = index.open(&mine, &Principal::Anonymous, Algorithm::Sha256).await.unwrap();
    let before = index.begin_append(&mine, id, None).await.unwrap();
    let save = Arc::new(SaveUpload { id, before, offset: 5, state: "state".into() });
    let (_, finish) = finalizing(&index, &mine, config.digest).await;
    let finish = Arc::new(finish);
    // Its bytes become garbage, and only its own, however often it runs.
    let (_, duplicate) = finalizing(&index, &other, config.digest).await;
    let duplicate = Arc::new(duplicate);
    let mount = Arc::new(MountBlob { repository: other.clone(), from: Some(mine.clone()), digest: config.digest });
    let manifest = ManifestBuilder::image(&config, &[]).build();
    let put = Arc::new(push(&mine, &manifest));
    for _ in 0..2 {
        index.database.write(Shared(Arc::clone(&save))).await.unwrap().unwrap();
        index.database.write(Shared(Arc::clone(&finish))).await.unwrap().unwrap();
        index.database.write(Shared(Arc::clone(&duplicate))).await.unwrap().unwrap();
        assert!(index.database.write(Shared(Arc::clone(&mount))).await.unwrap());
        index.database.write(Shared(Arc::clone(&put))).await.unwrap();
    }
    let count = Count(
        "SELECT (SELECT count(*) FROM blob) AS blobs, (SELECT count(*) FROM garbage) AS garbage,
                       (SELECT count(*) FROM tag_history) AS changes",
    );
    assert_eq!(index.database.read(count).await.unwrap(), [1, 1, 1]);
}

fn push(repository: &RepositoryName, manifest: &Manifest) -> PutManifest {
    PutManifest {
        repository: repository.clone(),
        manifest: manifest.clone(),
        tags: vec![tag("v1")],
        operation: Operation::new(),
    }
}

/// Runs a body, then what somebody else does, then the body again, as after a commit whose answer got lost.
async fn doubt<T: Transaction<Output = (), Error = Failure>>(
    index: &Index,
    body: T,
    between: impl Future<Output = ()>,
) {
    let body = Arc::new(body);
    index.database.write(Shared(Arc::clone(&body))).await.unwrap();
    between.await;
    index.database.write(Shared(body)).await.unwrap();
}

/// The other half: what others did between its runs stands.
#[tokio::test]
async fn a_body_that_runs_again_after_its_commit_takes_no_effect_again() {
    let index = Index::open(Database::temporary().await.unwrap(), Options::UNCACHED).await.unwrap();
    let repository = repository("team/app");
    let config = content("config");
    let complete = async || {
        let (_, finish) = finalizing(&index, &repository, config.digest).await;
        index.database.write(Shared(Arc::new(finish))).await.unwrap().unwrap();
    };
    complete().await;
    let [one, two] = ["one", "two"].map(|name| ManifestBuilder::image(&config, &[]).annotation("name", name).build());
    let put = async |manifest: &Manifest| index.write(push(&repository, manifest), ()).await.unwrap();
    let tagged = async || index.resolve(&repository, &by_tag("v1")).await.ok();

    doubt(&index, push(&repository, &one), put(&two)).await;
    assert_eq!(tagged().await, Some(two.digest), "a push moved the tag back");

    let delete_tag = DeleteTag { repository: repository.clone(), tag: tag("v1"), operation: Operation::new() };
    doubt(&index, delete_tag, put(&one)).await;
    assert_eq!(tagged().await, Some(one.digest), "a deletion took what was pushed after it");

    let delete_manifest =
        DeleteManifest { repository: repository.clone(), digest: one.digest, operation: Operation::new() };
    doubt(&index, delete_manifest, put(&one)).await;
    assert_eq!(tagged().await, Some(one.digest), "a deletion took what was pushed after it");

    for manifest in [&one, &two] {
        index.delete_manifest(&repository, &Reference::Digest(manifest.digest)).await.unwrap();
    }
    let unlink = UnlinkBlob { repository: repository.clone(), digest: config.digest, operation: Operation::new() };
    doubt(&index, unlink, complete()).await;
    index.locate(&repository, config.digest).await.expect("the blob that was pushed after the deletion");
}

/// Takes a session over, again as after a lost commit, and once more when a newer request has it.
async fn overtaken<T: Transaction<Error = Failure>>(index: &Index, takeover: T, newer: impl Future<Output = ()>) {
    let takeover = Arc::new(takeover);
    for _ in 0..2 {
        index.database.write(Shared(Arc::clone(&takeover))).await.map(|_| ()).unwrap();
    }
    newer.await;
    let outcome = index.database.write(Shared(takeover)).await;
    assert!(matches!(outcome, Err(Failure::Refused(IndexError::UploadBusy))));
}

/// A request whose client has gone on meanwhile does not cut off what that sent next.
#[tokio::test]
async fn a_session_that_a_newer_request_has_is_not_taken_over_again() {
    let index = index().await;
    let mine = repository("team/app");
    let digest = content("blob").digest;
    for finishes in [false, true] {
        let id = index.open(&mine, &Principal::Anonymous, Algorithm::Sha256).await.unwrap();
        let (repository, found) = (mine.clone(), FoundEpoch::default());
        let newer = async {
            match finishes {
                true => index.begin_finish(&mine, id, None, digest).await.map(|_| ()).unwrap(),
                false => index.begin_append(&mine, id, None).await.map(|_| ()).unwrap(),
            }
        };
        if finishes {
            overtaken(&index, BeginFinish { repository, id, offset: None, digest, found }, newer).await;
        } else {
            overtaken(&index, BeginAppend { repository, id, offset: None, found }, newer).await;
        }
    }
}

/// The first run may still be on its way when the second begins: that waits, and then knows.
#[cfg(feature = "postgres-tests")]
#[tokio::test]
async fn a_body_that_runs_again_during_its_commit_waits_for_it() {
    use entrepot_sql::testing::{Pauses, Tampering};

    let database = Database::temporary().await.unwrap();
    let index = Index::open(database.clone(), Options::UNCACHED).await.unwrap();
    let repository = repository("team/app");
    let config = content("config");
    let (_, finish) = finalizing(&index, &repository, config.digest).await;
    index.database.write(Shared(Arc::new(finish))).await.unwrap().unwrap();
    let manifest = ManifestBuilder::image(&config, &[]).build();
    index.write(push(&repository, &manifest), ()).await.unwrap();
    let delete = DeleteManifest { repository, digest: manifest.digest, operation: Operation::new() };
    let delete = Arc::new(delete);

    let pauses = Pauses::default();
    let slow = database.replica(Tampering { pauses: Some(pauses.clone()), ..Tampering::default() });
    pauses.begin_until("COMMIT");
    let first = tokio::spawn({
        let delete = Shared(Arc::clone(&delete));
        async move { slow.write(delete).await }
    });
    until("the first run stops", async || pauses.is_holding()).await;
    let second = tokio::spawn({
        let (database, delete) = (database.clone(), Shared(delete));
        async move { database.write(delete).await }
    });
    until("the second run waits", async || database.waiting_for_locks().await.unwrap() == 1).await;
    pauses.release();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[cfg(feature = "postgres-tests")]
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "in vain waited until {what}");
        tokio::task::yield_now().await;
    }
}

struct Count(&'static str);

#[async_trait]
impl Transaction for Count {
    type Output = [i64; 3];
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<[i64; 3], SqlError> {
        let row = tx.query_one(self.0, &[]).await?;
        Ok([row.get(0)?, row.get(1)?, row.get(2)?])
    }
}
