//! What only SQLite has: commits that waiting transactions share, and files.

use std::{
    error::Error,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use entrepot_sql::{Database, SqlError, SqliteOptions, params};
use futures_util::{FutureExt, StreamExt, future::join_all, stream::FuturesUnordered};

use crate::support::{Insert, MIGRATIONS, Names, database, insert, names, work};

/// Starts every insert, in this order, while the writer is held, then lets it go; answers what each was told.
async fn together(database: &Database, inserts: Vec<Insert>) -> Vec<Result<(), SqlError>> {
    let gate = Gate::close(database).await;
    let mut writes: Vec<_> = inserts.into_iter().map(|insert| database.write(insert).boxed()).collect();
    for write in &mut writes {
        assert!(write.now_or_never().is_none(), "the writer is not held");
    }
    drop(gate);
    join_all(writes).await
}

#[tokio::test]
async fn waiting_transactions_share_one_commit() {
    let database = database().await;
    let before = database.stats();
    let outcomes = together(&database, (0..200).map(|n| insert(format!("{n:03}"))).collect()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let after = database.stats();
    assert_eq!(after.transactions - before.transactions, 201);
    let commits = after.commits - before.commits;
    assert!(commits <= 3, "{commits} commits");
    assert_eq!(names(&database).await.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_at_once_need_fewer_commits() {
    let database = database().await;
    let before = database.stats();
    let callers: FuturesUnordered<_> = (0..200)
        .map(|n| {
            let database = database.clone();
            tokio::spawn(async move { database.write(insert(n.to_string())).await })
        })
        .collect();
    callers.for_each(|done| async { done.unwrap().unwrap() }).await;
    let after = database.stats();
    assert_eq!(after.transactions - before.transactions, 200);
    assert!(after.commits - before.commits < 100, "{} commits", after.commits - before.commits);
}

#[tokio::test]
async fn a_failed_transaction_undoes_only_itself() {
    let database = database().await;
    let failing = Insert { fail: true, ..insert("b") };
    let outcomes = together(&database, vec![insert("a"), failing, insert("c"), insert("a")]).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert!(matches!(outcomes[1], Err(SqlError::NoRow { .. })));
    assert!(matches!(outcomes[3], Err(SqlError::Constraint { .. })));
    assert_eq!(names(&database).await, ["a", "c"]);
}

#[tokio::test]
async fn a_neighbour_that_cannot_commit_fails_alone() {
    let database = database().await;
    let orphan = Insert { parent: Some(7), ..insert("orphan") };
    let outcomes = together(&database, vec![insert("a"), orphan, insert("b")]).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert!(matches!(outcomes[1], Err(SqlError::Constraint { .. })));
    assert_eq!(names(&database).await, ["a", "b"]);
}

#[tokio::test]
async fn an_answer_means_that_the_files_hold_the_change() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.db");
    let database = SqliteOptions::new(&path).open().unwrap();
    database.migrate("test", MIGRATIONS).await.unwrap();
    for n in 0..8 {
        database.write(insert(n.to_string())).await.unwrap();
        // The copy is what a machine that stopped right now would find.
        let copy = directory.path().join(format!("copy-{n}.db"));
        copy_files(&path, &copy);
        let found = names(&SqliteOptions::new(&copy).open().unwrap()).await;
        assert_eq!(found.len(), n + 1);
    }
}

fn copy_files(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        std::fs::copy(name(from), name(to)).unwrap();
    }
}

#[tokio::test]
async fn commits_are_synced_to_disk() {
    let database = database().await;
    let level = work(|tx| {
        async {
            let row = tx.query_one("PRAGMA synchronous", &[]).await?;
            row.get::<i64>(0)
        }
        .boxed()
    });
    assert_eq!(database.write(level).await.unwrap(), 2, "not FULL");
}

#[tokio::test]
async fn a_transaction_outlives_its_caller() {
    let database = database().await;
    let gate = Gate::close(&database).await;
    let mut abandoned = database.write(insert("kept")).boxed();
    assert!((&mut abandoned).now_or_never().is_none());
    drop(abandoned);
    drop(gate);
    database.write(insert("later")).await.unwrap();
    assert_eq!(names(&database).await, ["kept", "later"]);
}

#[tokio::test]
async fn bodies_that_break_the_rules_are_undone_and_harm_nobody() {
    let database = database().await;
    let panics = work(|tx| {
        async {
            tx.execute("INSERT INTO item (name, size) VALUES ('panic', 1)", &[]).await?;
            assert!(tx.query("SELECT 1", &[]).await?.is_empty(), "on purpose");
            Ok(())
        }
        .boxed()
    });
    let waits = work(|tx| {
        async {
            tx.execute("INSERT INTO item (name, size) VALUES ('wait', 1)", &[]).await?;
            tokio::task::yield_now().await;
            Ok(())
        }
        .boxed()
    });
    let goes_on = work(|tx| {
        async {
            tx.execute("INSERT INTO item (name, size) VALUES ('on', 1)", &[]).await?;
            let refused = tx.execute("INSERT INTO item (name, size) VALUES ('on', 1)", &[]).await;
            refused.map(|_| ()).or(Ok(()))
        }
        .boxed()
    });
    assert!(matches!(database.write(panics).await, Err(SqlError::Body { .. })));
    assert!(matches!(database.write(waits).await, Err(SqlError::Body { .. })));
    assert!(matches!(database.write(goes_on).await, Err(SqlError::Body { .. })));
    database.write(insert("fine")).await.unwrap();
    assert_eq!(names(&database).await, ["fine"]);
}

#[tokio::test]
async fn closing_finishes_what_was_asked_and_empties_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("closing.db");
    let database = SqliteOptions::new(&path).open().unwrap();
    database.migrate("test", MIGRATIONS).await.unwrap();
    let (written, closed) = futures_util::future::join(database.write(insert("last")), database.close()).await;
    written.unwrap();
    closed.unwrap();
    assert!(!path.with_extension("db-wal").exists());
    assert!(matches!(database.write(insert("late")).await, Err(SqlError::Closed)));
    assert!(matches!(database.read(Names).await, Err(SqlError::Closed)));
    assert!(matches!(database.close().await, Err(SqlError::Closed)));
    let again = SqliteOptions::new(&path).open().unwrap();
    assert_eq!(names(&again).await, ["last"]);
}

#[tokio::test]
async fn dropping_every_handle_lets_the_file_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dropped.db");
    drop(SqliteOptions::new(&path).open().unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while SqliteOptions::new(&path).open().is_err() {
        assert!(tokio::time::Instant::now() < deadline, "still in use");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn readers_see_only_what_is_committed_and_never_wait_for_the_writer() {
    let database = database().await;
    let gate = Gate::close(&database).await;
    let mut write = database.write(insert("new")).boxed();
    assert!((&mut write).now_or_never().is_none());
    assert!(names(&database).await.is_empty());
    drop(gate);
    write.await.unwrap();
    assert_eq!(names(&database).await, ["new"]);
    assert_eq!(database.read_key(Names).await.unwrap(), ["new"]);
}

#[tokio::test]
async fn a_read_sees_one_snapshot() {
    let database = database().await;
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let (started, start) = tokio::sync::oneshot::channel();
    let shared = Arc::new(Mutex::new((told, Some(started))));
    let twice = work(move |tx| {
        let shared = Arc::clone(&shared);
        async move {
            let before = tx.query("SELECT name FROM item", &[]).await?.len();
            {
                let mut shared = shared.lock().unwrap();
                shared.1.take().unwrap().send(()).unwrap();
                shared.0.recv().unwrap();
            }
            Ok((before, tx.query("SELECT name FROM item", &[]).await?.len()))
        }
        .boxed()
    });
    let reading = tokio::spawn({
        let database = database.clone();
        async move { database.read(twice).await }
    });
    start.await.unwrap();
    database.write(insert("between")).await.unwrap();
    tell.send(()).unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), (0, 0));
    assert_eq!(names(&database).await, ["between"]);
}

#[tokio::test]
async fn a_full_database_refuses_what_does_not_fit_and_keeps_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(directory.path().join("full.db")).max_pages(32);
    let database = options.open().unwrap();
    database.migrate("test", MIGRATIONS).await.unwrap();
    let large = || {
        let body = vec![7; 1 << 20];
        work(move |tx| {
            let body = body.clone();
            async move {
                let sql = "INSERT INTO item (name, size, body) VALUES ('large', 1, $1)";
                tx.execute(sql, params![&body]).await
            }
            .boxed()
        })
    };
    let alone = database.write(large()).await.unwrap_err();
    assert!(matches!(alone, SqlError::NoSpace { .. }), "{alone:?}");

    let gate = Gate::close(&database).await;
    let mut first = database.write(insert("first")).boxed();
    let mut full = database.write(large()).boxed();
    let mut last = database.write(insert("last")).boxed();
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut full).now_or_never().is_none());
    assert!((&mut last).now_or_never().is_none());
    drop(gate);
    let (first, full, last) = futures_util::future::join3(first, full, last).await;
    first.unwrap();
    last.unwrap();
    assert!(matches!(full.unwrap_err(), SqlError::NoSpace { .. }));
    assert_eq!(names(&database).await, ["first", "last"]);
}

#[tokio::test]
async fn a_second_opener_is_told_who_is_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.db");
    let database = SqliteOptions::new(&path).open().unwrap();
    let refused = SqliteOptions::new(&path).open().err().unwrap();
    assert!(matches!(refused, SqlError::InUse { .. }));
    assert!(refused.to_string().contains("shared.db"), "{refused}");
    database.close().await.unwrap();
    SqliteOptions::new(&path).open().unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.db");
    std::fs::write(&path, "not a database, and longer than the header of one would have to be; ".repeat(64)).unwrap();
    let refused = SqliteOptions::new(&path).open().err().unwrap();
    assert!(matches!(refused, SqlError::Corrupt { .. }), "{refused:?}");
    assert!(refused.source().is_some());
}

#[tokio::test]
async fn a_missing_directory_is_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let refused = SqliteOptions::new(directory.path().join("absent/x.db")).open().err().unwrap();
    assert!(matches!(refused, SqlError::Unavailable { .. }));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let database = SqliteOptions::new(directory.path().join("private.db")).open().unwrap();
    database.migrate("test", MIGRATIONS).await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        seen += 1;
    }
    assert_eq!(seen, 4, "the database, its log, its index and its lock");
}

/// Holds the writer inside a transaction until it is dropped, so that what is asked meanwhile shares its commit.
pub(crate) struct Gate {
    _open: mpsc::Sender<()>,
}

impl Gate {
    pub(crate) async fn close(database: &Database) -> Self {
        let (open, opened) = mpsc::channel::<()>();
        let (entered, entry) = tokio::sync::oneshot::channel();
        let shared = Mutex::new((opened, Some(entered)));
        let held = work(move |_| {
            let mut shared = shared.lock().unwrap();
            if let Some(entered) = shared.1.take() {
                entered.send(()).unwrap();
                let _ = shared.0.recv();
            }
            Box::pin(async { Ok(()) })
        });
        let database = database.clone();
        tokio::spawn(async move { database.write(held).await });
        entry.await.unwrap();
        Self { _open: open }
    }
}
