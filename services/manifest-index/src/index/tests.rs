//! What happens when the outcome of a commit got lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use entrepot_core::ports::uploads::{Finish, UploadIndex};
use entrepot_core::{Algorithm, Principal, UploadId};
use entrepot_testkit::builders::{ManifestBuilder, content};
use entrepot_testkit::contract::{repository, tag};

use super::*;
use crate::transaction::finish_upload::FinishUpload;
use crate::transaction::mount_blob::MountBlob;
use crate::transaction::put_manifest::PutManifest;
use crate::transaction::save_upload::SaveUpload;

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
    let put = Arc::new(PutManifest { repository: mine, manifest, tags: vec![tag("v1")] });
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
