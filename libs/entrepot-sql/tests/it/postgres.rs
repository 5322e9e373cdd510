//! What only PostgreSQL has: transactions that overlap, several processes, and a server that goes away.

mod connections;
mod schema;
mod silence;

use std::time::Duration;

use entrepot_sql::{
    Database, SqlError, params,
    testing::{Arena, Case, Flaw, Pauses, Tampering},
};
use futures_util::{FutureExt, future::join_all};
use tokio::time::Instant;

use crate::support::{Names, database, insert, names, work};

/// Asks again until it is so.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        tokio::task::yield_now().await;
    }
}

/// How many sessions on this schema sleep.
pub(crate) async fn sleeping(database: &Database) -> i64 {
    let schema = database.schema_name();
    let count = work(move |tx| {
        let schema = schema.clone();
        async move {
            let sql = "SELECT count(*) AS sleeping FROM pg_stat_activity
                       WHERE application_name = $1 AND wait_event = 'PgSleep'";
            tx.query_one(sql, params![&schema]).await?.get("sleeping")
        }
        .boxed()
    });
    database.read(count).await.unwrap()
}

/// A replica that stops before its statement number `allowed`.
pub(crate) fn stopping(database: &Database, allowed: usize) -> (Database, Pauses) {
    let pauses = Pauses::default();
    pauses.begin(Some(allowed));
    (database.replica(Tampering { pauses: Some(pauses.clone()), ..Tampering::default() }), pauses)
}

pub(crate) async fn stopped(pauses: &Pauses) {
    until("the pause", async || pauses.is_holding()).await;
}

/// One value of a session.
pub(crate) async fn show(database: &Database, sql: &'static str) -> String {
    let shown = work(move |tx| async move { tx.query_one(sql, &[]).await?.get::<String>(0) }.boxed());
    database.read(shown).await.unwrap()
}

/// Ends every session on this schema but the one that asks.
pub(crate) async fn end_sessions(database: &Database) {
    let schema = database.schema_name();
    let end = work(move |tx| {
        let schema = schema.clone();
        async move {
            let sql = "SELECT count(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity
                       WHERE application_name = $1 AND pid <> pg_backend_pid()";
            tx.query_one(sql, params![&schema]).await
        }
        .boxed()
    });
    database.read(end).await.unwrap();
}

/// Adds one to the size of `a` by reading and writing it.
pub(crate) async fn count(database: &Database) -> Result<(), SqlError> {
    let count = work(|tx| {
        async {
            let row = tx.query_one("SELECT size FROM item WHERE name = 'a' {update}", &[]).await?;
            let size = row.get::<i64>("size")? + 1;
            tx.execute("UPDATE item SET size = $1 WHERE name = 'a'", params![size]).await.map(|_| ())
        }
        .boxed()
    });
    database.write(count).await
}

#[tokio::test]
async fn a_read_sees_one_snapshot() {
    let database = database().await;
    let (reader, pauses) = stopping(&database, 1);
    let twice = work(|tx| {
        async {
            let before = tx.query("SELECT name FROM item", &[]).await?.len();
            Ok((before, tx.query("SELECT name FROM item", &[]).await?.len()))
        }
        .boxed()
    });
    let reading = tokio::spawn(async move { reader.read(twice).await });
    stopped(&pauses).await;
    database.write(insert("between")).await.unwrap();
    pauses.release();
    assert_eq!(reading.await.unwrap().unwrap(), (0, 0));
    assert_eq!(names(&database).await, ["between"]);
}

#[tokio::test]
async fn a_look_up_by_key_cannot_write() {
    let database = database().await;
    assert!(matches!(database.read_key(insert("no")).await, Err(SqlError::Statement { .. })));
    let returning = work(|tx| tx.query("INSERT INTO item (name, size) VALUES ('no', 1) RETURNING name", &[]));
    assert!(matches!(database.read_key(returning).await, Err(SqlError::Statement { .. })));
    assert_eq!(database.read_key(Names).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_same_parameter_may_be_null_or_not() {
    let database = database().await;
    for (name, parent, body) in
        [("a", None, None), ("b", Some(1), Some(vec![7])), ("c", None, Some(vec![8])), ("d", None, None)]
    {
        let put = work(move |tx| {
            let body = body.clone();
            async move {
                tx.execute("INSERT INTO parent (id) VALUES (1) ON CONFLICT DO NOTHING", &[]).await?;
                let sql = "INSERT INTO item (name, size, parent, body) VALUES ($1, 1, $2, $3)";
                tx.execute(sql, params![name, parent, body.as_ref()]).await?;
                // Here nothing but the text says what the parameter is.
                let row = tx.query_one("SELECT $1 AS same", params![body.as_ref()]).await?;
                assert_eq!(row.get::<Option<bytes::Bytes>>("same")?, body.map(Into::into));
                Ok(())
            }
            .boxed()
        });
        database.write(put).await.unwrap();
    }
    assert_eq!(names(&database).await.len(), 4);
}

#[tokio::test]
async fn processes_that_change_one_row_lose_nothing() {
    let database = database().await;
    database.write(insert("a")).await.unwrap();
    let processes: Vec<_> = (0..4).map(|_| database.replica(Tampering::default())).collect();
    let counts = processes.iter().flat_map(|process| (0..10).map(|_| count(process)));
    join_all(counts).await.into_iter().for_each(|done| done.unwrap());
    assert_eq!(show(&database, "SELECT CAST(size AS text) FROM item").await, "41");
    let commits: u64 = processes.iter().map(|process| process.stats().commits).sum();
    assert_eq!(commits, 40);
}

/// The tool that finds races finds one.
#[tokio::test]
async fn a_lost_update_is_found_where_the_lock_is_missing() {
    let base = database().await;
    for (flaws, found) in [(&[][..], false), (&[Flaw::Unlocked("SELECT size FROM item")][..], true)] {
        let arena = Arena::new(&base, flaws);
        let wrong = arena
            .explore(async |round| {
                let reset = work(|tx| {
                    async {
                        tx.execute("DELETE FROM item", &[]).await?;
                        tx.execute("INSERT INTO item (name, size) VALUES ('a', 1)", &[]).await
                    }
                    .boxed()
                });
                base.write(reset).await.unwrap();
                assert!(round < 100, "it never ends");
                let (first, second, watcher) = (arena.first.clone(), arena.second.clone(), base.clone());
                Case {
                    first: async move { count(&first).await }.boxed(),
                    second: async move { count(&second).await }.boxed(),
                    verify: Box::new(move |first, second| {
                        async move {
                            first.and(second).map_err(|error| error.to_string())?;
                            let sizes = work(|tx| tx.query("SELECT size FROM item", &[]));
                            let size: i64 = watcher.read(sizes).await.unwrap()[0].get(0).unwrap();
                            if size == 3 { Ok(()) } else { Err(format!("counted {size}")) }
                        }
                        .boxed()
                    }),
                }
            })
            .await;
        assert_eq!(wrong.is_some(), found, "{wrong:?}");
    }
}

/// Takes two rows in an order.
fn take(
    first: &'static str,
    second: &'static str,
) -> crate::support::Work<
    impl for<'a> Fn(&'a mut dyn entrepot_sql::Tx) -> futures_util::future::BoxFuture<'a, Result<(), SqlError>>,
> {
    work(move |tx| {
        async move {
            for name in [first, second] {
                tx.execute("UPDATE item SET size = size + 1 WHERE name = $1", params![name]).await?;
            }
            Ok(())
        }
        .boxed()
    })
}

#[tokio::test]
async fn a_deadlock_is_undone_and_tried_again() {
    let database = database().await;
    database.write(insert("a")).await.unwrap();
    database.write(insert("b")).await.unwrap();
    let (one, one_pauses) = stopping(&database, 1);
    let (other, other_pauses) = stopping(&database, 1);
    let one = tokio::spawn(async move { one.write(take("a", "b")).await });
    let other = tokio::spawn(async move { other.write(take("b", "a")).await });
    stopped(&one_pauses).await;
    stopped(&other_pauses).await;
    one_pauses.release();
    other_pauses.release();
    one.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    assert_eq!(show(&database, "SELECT string_agg(CAST(size AS text), ' ') FROM item").await, "3 3");
    let runs = [one_pauses, other_pauses].map(|pauses| pauses.reached().len());
    assert!(runs.iter().any(|statements| *statements > 3), "there was no deadlock: {runs:?}");
}

#[tokio::test]
async fn a_transaction_outlives_its_caller() {
    let database = database().await;
    let (process, pauses) = stopping(&database, 1);
    let abandoned = tokio::spawn(async move { process.write(insert("kept")).await });
    stopped(&pauses).await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    pauses.release();
    until("the commit", async || names(&database).await == ["kept"]).await;
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
    let goes_on = work(|tx| {
        async {
            tx.execute("INSERT INTO item (name, size) VALUES ('on', 1)", &[]).await?;
            let refused = tx.execute("INSERT INTO item (name, size) VALUES ('on', 1)", &[]).await;
            refused.map(|_| ()).or(Ok(()))
        }
        .boxed()
    });
    assert!(matches!(database.write(panics).await, Err(SqlError::Body { .. })));
    assert!(matches!(database.write(goes_on).await, Err(SqlError::Body { .. })));
    database.write(insert("fine")).await.unwrap();
    assert_eq!(names(&database).await, ["fine"]);
}
