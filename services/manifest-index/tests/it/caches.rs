//! Answers from memory are those of the database, whatever runs beside them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use async_trait::async_trait;
use entrepot_core::Reference;
use entrepot_sql::{SqlError, Transaction, Tx};
use entrepot_testkit::contract::{IndexPorts, repository};
use tokio::sync::oneshot;

use crate::support::{Query, fresh, fresh_with_database};

/// Holds the writer of the database until it is told to go on.
struct Hold {
    held: Mutex<Option<oneshot::Sender<()>>>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

#[async_trait]
impl Transaction for Hold {
    type Output = ();
    type Error = SqlError;

    async fn run(&self, _tx: &mut dyn Tx) -> Result<(), SqlError> {
        if let Some(held) = self.held.lock().unwrap().take() {
            held.send(()).unwrap();
        }
        self.go_on.lock().unwrap().recv().unwrap();
        Ok(())
    }
}

/// Runs `write` up to its commit, which waits; then `during`; then the commit.
async fn paused<T: Send + 'static>(
    database: &entrepot_sql::Database,
    write: impl Future<Output = T> + Send + 'static,
    during: impl AsyncFn(),
) -> T {
    let (held, is_held) = oneshot::channel();
    let (go_on, wait) = mpsc::channel();
    let hold = Hold { held: Mutex::new(Some(held)), go_on: Mutex::new(wait) };
    let holder = tokio::spawn({
        let database = database.clone();
        async move { database.write(hold).await }
    });
    is_held.await.unwrap();
    let write = tokio::spawn(write);
    // The runtime has one thread: as often as tasks follow one another, the write is in the queue after this.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    during().await;
    go_on.send(()).unwrap();
    holder.await.unwrap().unwrap();
    write.await.unwrap()
}

#[tokio::test]
async fn a_read_during_a_tag_move_does_not_outlive_it() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let old = ports.push_image(&repository, "old", &["v1"]).await;
    let new = ports.image_of(&repository, "new").await;
    assert_eq!(ports.resolve(&repository, "v1").await, Some(old.digest));
    let put = {
        let (ports, repository, new) = (ports.clone(), repository.clone(), new.clone());
        async move { ports.put(&repository, &new, &["v1"]).await }
    };
    let read = async || {
        for _ in 0..2 {
            assert_eq!(ports.resolve(&repository, "v1").await, Some(old.digest), "not acknowledged yet");
        }
    };
    paused(&database, put, read).await.unwrap();
    assert_eq!(ports.resolve(&repository, "v1").await, Some(new.digest));
}

#[tokio::test]
async fn a_read_during_a_deletion_does_not_outlive_it() {
    for by_digest in [false, true] {
        let (ports, database) = fresh_with_database().await;
        let repository = repository("team/app");
        let image = ports.push_image(&repository, "image", &["v1"]).await;
        let reference = if by_digest { Reference::Digest(image.digest) } else { "v1".parse().unwrap() };
        let delete = {
            let (ports, repository) = (ports.clone(), repository.clone());
            async move { ports.manifests.delete_manifest(&repository, &reference).await }
        };
        let read = async || {
            for _ in 0..2 {
                assert_eq!(ports.resolve(&repository, "v1").await, Some(image.digest));
                ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
            }
        };
        read().await;
        paused(&database, delete, read).await.unwrap();
        assert_eq!(ports.resolve(&repository, "v1").await, None);
        assert_eq!(ports.manifests.get_manifest(&repository, image.digest).await.is_err(), by_digest);
    }
}

/// The commit comes although the client has gone; until then nothing may be cached.
#[tokio::test]
async fn a_write_whose_caller_went_away_still_ends_the_old_answer() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let old = ports.push_image(&repository, "old", &["v1"]).await;
    let new = ports.image_of(&repository, "new").await;
    let put = {
        let (ports, repository, new) = (ports.clone(), repository.clone(), new.clone());
        async move {
            let put = tokio::spawn(async move { ports.put(&repository, &new, &["v1"]).await });
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            put.abort();
        }
    };
    paused(&database, put, async || {
        assert_eq!(ports.resolve(&repository, "v1").await, Some(old.digest));
    })
    .await;
    // A later write is answered after the earlier one was committed.
    ports.push_image(&repository, "other", &["v2"]).await;
    assert_eq!(ports.resolve(&repository, "v1").await, Some(new.digest));
}

/// One writer moves a tag through versions; a reader must never see one older than the last acknowledged before it
/// asked, nor go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tag_is_a_linearizable_register() {
    const VERSIONS: usize = 60;
    let ports = fresh().await;
    let repository = repository("team/app");
    let mut images = Vec::new();
    for n in 0..VERSIONS {
        images.push(ports.push_image(&repository, &n.to_string(), &[]).await);
    }
    ports.put(&repository, &images[0], &["v1"]).await.unwrap();
    let version = |images: &[entrepot_core::Manifest], digest| images.iter().position(|i| i.digest == digest).unwrap();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (ports, repository, images) = (ports.clone(), repository.clone(), images.clone());
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let mut newest = 0;
                while newest < VERSIONS - 1 {
                    let floor = acknowledged.load(Ordering::SeqCst).max(newest);
                    newest = version(&images, read(&ports, &repository).await);
                    assert!(newest >= floor, "saw {newest} after {floor}");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for (n, image) in images.iter().enumerate().skip(1) {
        ports.put(&repository, image, &["v1"]).await.unwrap();
        acknowledged.store(n, Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

async fn read(ports: &IndexPorts, repository: &entrepot_core::RepositoryName) -> entrepot_core::Digest {
    ports.resolve(repository, "v1").await.unwrap()
}

/// That the hot reads really are answered from memory: the database under them is closed.
#[tokio::test]
async fn hot_reads_need_no_database() {
    let (ports, database) = fresh_with_database().await;
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1"]).await;
    assert_eq!(ports.resolve(&repository, "v1").await, Some(image.digest));
    ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
    database.close().await.unwrap();
    assert!(database.read_key(Query("SELECT 1")).await.is_err());
    assert_eq!(ports.resolve(&repository, "v1").await, Some(image.digest));
    ports.manifests.resolve(&repository, &Reference::Digest(image.digest)).await.unwrap();
    ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
}
