use std::{path::Path, time::Duration};

use entrepot_sql::{Database, SqlError, SqliteOptions};
use futures_util::{FutureExt, StreamExt, future::join_all, stream::FuturesUnordered};

use crate::support::{Gate, Insert, MIGRATIONS, Names, database, insert, names, work};

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
