//! What only PostgreSQL has: concurrent transactions, several processes, and a server that goes away.

use std::time::Duration;

use entrepot_sql::{
    Database, Migration, PostgresOptions, SqlError, params,
    testing::{Arena, Case, Pauses, Tampering},
};
use futures_util::{FutureExt, future::join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::support::{MIGRATIONS, Names, database, insert, names, work};

/// Asks again until it is so.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        tokio::task::yield_now().await;
    }
}

/// A replica that stops before its statement number `allowed`.
fn stopping(database: &Database, allowed: usize) -> (Database, Pauses) {
    let pauses = Pauses::default();
    pauses.begin(Some(allowed));
    (database.replica(Tampering { pauses: Some(pauses.clone()), ..Tampering::default() }), pauses)
}

async fn stopped(pauses: &Pauses) {
    until("the pause", async || pauses.is_holding()).await;
}

/// One value of a session.
async fn show(database: &Database, sql: &'static str) -> String {
    let shown = work(move |tx| async move { tx.query_one(sql, &[]).await?.get::<String>(0) }.boxed());
    database.read(shown).await.unwrap()
}

/// Ends every session on this schema but the one that asks.
async fn end_sessions(database: &Database) {
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

/// Adds one to the size of `a` by reading and writing it.
async fn count(database: &Database) -> Result<(), SqlError> {
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
    for (without_locks, found) in [(&[][..], false), (&["SELECT size FROM item"][..], true)] {
        let arena = Arena::new(&base, without_locks);
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
async fn connections_that_were_cut_are_replaced() {
    let database = database().await;
    let process = database.replica(Tampering::default());
    for n in 0..4 {
        // Several at once, so that there are several to cut.
        let writes = (0..4).map(|m| process.write(insert(format!("{n} {m}"))));
        join_all(writes).await.into_iter().for_each(|done| done.unwrap());
        end_sessions(&database).await;
    }
    process.read(Names).await.unwrap();
    assert_eq!(names(&database).await.len(), 16);
}

#[tokio::test]
async fn a_connection_cut_before_the_commit_leaves_nothing_and_is_tried_again() {
    let database = database().await;
    let (process, pauses) = stopping(&database, 1);
    let writing = tokio::spawn(async move {
        process
            .write(work(|tx| {
                async {
                    tx.execute("INSERT INTO item (name, size) VALUES ('a', 1)", &[]).await?;
                    tx.execute("INSERT INTO item (name, size) VALUES ('b', 1)", &[]).await
                }
                .boxed()
            }))
            .await
    });
    stopped(&pauses).await;
    end_sessions(&database).await;
    pauses.release();
    writing.await.unwrap().unwrap();
    assert_eq!(names(&database).await, ["a", "b"]);
    assert_eq!(pauses.reached().len(), 5, "two statements, two again, one commit");
}

/// Passes everything on, until the client says `COMMIT`: that reaches the server, and its answer nobody.
async fn deaf_proxy() -> (u16, impl Fn(&str) -> String) {
    let url = entrepot_sql::testing::url();
    let (_, server) = url.rsplit_once('@').unwrap();
    let server = server.split_once('/').unwrap().0.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let through = url.replace(&server, &format!("127.0.0.1:{port}"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(pass_until_commit(client, server));
        }
    });
    (port, move |parameters| format!("{through}?sslmode=disable{parameters}"))
}

async fn pass_until_commit(mut client: TcpStream, mut server: TcpStream) {
    let (mut up, mut down) = ([0; 16384], [0; 16384]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                server.write_all(&up[..read]).await.unwrap();
                if up[..read].windows(8).any(|window| window == b"; COMMIT") {
                    // The answer shows that it is committed; the client never sees it.
                    let _ = server.read(&mut down).await;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&down[..read]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_got_lost_is_in_doubt() {
    let database = database().await;
    let (_, url) = deaf_proxy().await;
    let through = PostgresOptions::parse(&url("")).unwrap().schema(&database.schema_name()).open();
    let lost = through.write(insert("kept")).await.unwrap_err();
    assert!(matches!(lost, SqlError::InDoubt { .. }), "{lost:?}");
    assert_eq!(names(&database).await, ["kept"]);
}

#[tokio::test]
async fn a_connection_cut_in_the_commit_is_in_doubt() {
    let database = database().await;
    let (process, pauses) = stopping(&database, 1);
    let writing = tokio::spawn(async move { process.write(insert("a")).await });
    stopped(&pauses).await;
    assert_eq!(pauses.reached().last(), Some(&"COMMIT"));
    end_sessions(&database).await;
    pauses.release();
    assert!(matches!(writing.await.unwrap(), Err(SqlError::InDoubt { .. })));
    assert_eq!(names(&database).await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_turns_read_only_is_left() {
    let database = database().await;
    let process = database.replica_with(Tampering::default(), |options| options.max_connections(1));
    let turn = work(|tx| tx.batch("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"));
    process.write(turn).await.unwrap();
    process.write(insert("a")).await.unwrap();
    assert_eq!(names(&database).await, ["a"]);
}

fn at(url: &str, database: &Database) -> Database {
    let options = PostgresOptions::parse(url).unwrap().acquire_timeout(Duration::from_secs(2));
    options.schema(&database.schema_name()).open()
}

#[tokio::test]
async fn of_several_servers_the_one_that_takes_writes_is_used() {
    let database = database().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = entrepot_sql::testing::url().replace("127.0.0.1", &format!("127.0.0.1:{closed},127.0.0.1"));
    at(&url, &database).write(insert("a")).await.unwrap();
    assert_eq!(names(&database).await, ["a"]);
}

#[tokio::test]
async fn a_read_only_server_is_not_used_and_the_error_says_why() {
    use std::error::Error;

    let database = database().await;
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", entrepot_sql::testing::url());
    let refused = at(&url, &database).write(insert("a")).await.unwrap_err();
    assert!(matches!(refused, SqlError::Unavailable { .. }));
    let reason = refused.source().unwrap().to_string();
    assert!(reason.contains("127.0.0.1:") && reason.contains("is read-only"), "{reason}");
    assert!(!reason.contains("postgres://"), "{reason}");
}

#[tokio::test]
async fn sessions_are_durable_and_bounded_whatever_the_url_says() {
    let database = database().await;
    let url =
        format!("{}?options=-c%20synchronous_commit%3Doff%20-c%20statement_timeout%3D0", entrepot_sql::testing::url());
    let process = at(&url, &database);
    assert_eq!(show(&process, "SELECT current_setting('synchronous_commit')").await, "on");
    assert_eq!(show(&process, "SELECT current_setting('statement_timeout')").await, "10s");
    assert_eq!(show(&process, "SELECT current_setting('lock_timeout')").await, "5s");
    assert_eq!(show(&process, "SELECT current_setting('idle_in_transaction_session_timeout')").await, "10s");
    assert_eq!(show(&process, "SELECT current_setting('transaction_isolation')").await, "repeatable read");
    let raised = format!("{}?options=-c%20synchronous_commit%3Dremote_apply", entrepot_sql::testing::url());
    assert_eq!(show(&at(&raised, &database), "SELECT current_setting('synchronous_commit')").await, "remote_apply");
}

#[tokio::test]
async fn a_pool_that_is_used_up_and_a_lock_that_is_not_given_are_unavailable() {
    let database = database().await;
    database.write(insert("a")).await.unwrap();
    let pauses = Pauses::default();
    pauses.begin(Some(1));
    let small = database.replica_with(Tampering { pauses: Some(pauses.clone()), ..Tampering::default() }, |options| {
        options.max_connections(1).acquire_timeout(Duration::from_secs(1))
    });
    let holder = small.clone();
    let holding = tokio::spawn(async move { count(&holder).await });
    stopped(&pauses).await;
    assert!(matches!(small.read(Names).await, Err(SqlError::Unavailable { .. })));
    let patient =
        database.replica_with(Tampering::default(), |options| options.statement_timeout(Duration::from_millis(400)));
    assert!(matches!(count(&patient).await, Err(SqlError::Unavailable { .. })));
    // The connection that waited in vain is as good as before.
    patient.write(insert("b")).await.unwrap();
    pauses.release();
    holding.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped() {
    let database = database().await;
    let process =
        database.replica_with(Tampering::default(), |options| options.statement_timeout(Duration::from_millis(200)));
    let slow = work(|tx| tx.query("SELECT CAST(pg_sleep(30) AS text) AS slept", &[]));
    assert!(matches!(process.read(slow).await, Err(SqlError::Unavailable { .. })));
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

#[tokio::test]
async fn closing_waits_for_what_runs_and_refuses_the_rest() {
    let database = database().await;
    let (process, pauses) = stopping(&database, 1);
    let writing = tokio::spawn({
        let process = process.clone();
        async move { process.write(insert("last")).await }
    });
    stopped(&pauses).await;
    let closing = tokio::spawn({
        let process = process.clone();
        async move { process.close().await }
    });
    pauses.release();
    writing.await.unwrap().unwrap();
    closing.await.unwrap().unwrap();
    assert!(matches!(process.write(insert("late")).await, Err(SqlError::Closed)));
    assert!(matches!(process.close().await, Err(SqlError::Closed)));
    assert_eq!(names(&database).await, ["last"]);
}

const MORE: Migration = Migration { version: 2, name: "more", sql: "ALTER TABLE item ADD COLUMN more {int}" };
const WITH_MORE: &[Migration] = &[MIGRATIONS[0], MORE];
const WITH_LESS: &[Migration] = &[MIGRATIONS[0], MORE, LESS];
const LESS: Migration = Migration { version: 3, name: "contract: less", sql: "ALTER TABLE item DROP COLUMN body" };

#[tokio::test]
async fn a_process_that_may_not_migrate_only_looks() {
    let database = Database::temporary().await.unwrap();
    let service = database.replica_with(Tampering::default(), |options| options.migrate(false));
    let missing = service.prepare("test", MIGRATIONS).await.unwrap_err();
    assert!(matches!(missing, SqlError::SchemaTooOld { found: 0, known: 1, .. }));
    assert!(missing.to_string().contains("entrepot migrate"), "{missing}");
    assert_eq!(database.migrate("test", MIGRATIONS).await.unwrap(), 1);
    assert_eq!(service.prepare("test", MIGRATIONS).await.unwrap(), 0);
    let older = service.prepare("test", WITH_MORE).await.unwrap_err();
    assert!(matches!(older, SqlError::SchemaTooOld { found: 1, known: 2, .. }));
    assert!(matches!(service.prepare("test", &[MORE]).await, Err(SqlError::SchemaChanged { .. })));
    // What was added since does not concern the old release; what was taken away does.
    assert_eq!(database.migrate("test", WITH_MORE).await.unwrap(), 1);
    assert_eq!(service.prepare("test", MIGRATIONS).await.unwrap(), 0);
    assert_eq!(database.migrate("test", WITH_LESS).await.unwrap(), 1);
    let newer = service.prepare("test", MIGRATIONS).await.unwrap_err();
    assert!(matches!(newer, SqlError::SchemaTooNew { found: 3, known: 1, .. }), "{newer:?}");
}

#[tokio::test]
async fn of_processes_that_migrate_at_once_one_does() {
    let database = Database::temporary().await.unwrap();
    let processes: Vec<_> = (0..4).map(|_| database.replica(Tampering::default())).collect();
    let migrated = join_all(processes.iter().map(|process| process.migrate("test", MIGRATIONS))).await;
    let mut steps: Vec<usize> = migrated.into_iter().map(Result::unwrap).collect();
    steps.sort_unstable();
    assert_eq!(steps, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_migration_makes_the_schema_that_is_missing() {
    let database = database().await;
    let schema = format!("{}_b", database.schema_name());
    let other = PostgresOptions::parse(&entrepot_sql::testing::url()).unwrap().schema(&schema).open();
    assert_eq!(other.migrate("test", MIGRATIONS).await.unwrap(), 1);
    other.write(insert("there")).await.unwrap();
    assert_eq!(names(&database).await, [""; 0]);
    let drop = work(|tx| tx.batch("DO $$ BEGIN EXECUTE format('DROP SCHEMA %I CASCADE', current_schema()); END $$"));
    other.write(drop).await.unwrap();
}
