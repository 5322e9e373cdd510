//! Connections: how many, to which server, and what happens when they are cut.

use std::time::Duration;

use entrepot_sql::{
    Database, PostgresOptions, SqlError,
    testing::{Pauses, Tampering},
};
use futures_util::{FutureExt, future::join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{count, end_sessions, show, stopped, stopping, until};
use crate::support::{Names, database, insert, names, work};

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
async fn deaf_proxy() -> String {
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
    format!("{through}?sslmode=disable")
}

async fn pass_until_commit(mut client: TcpStream, mut server: TcpStream) {
    let (mut up, mut down) = ([0; 16384], [0; 16384]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                server.write_all(&up[..read]).await.unwrap();
                if up[..read].windows(7).any(|window| window == b"COMMIT\0") {
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
    let url = deaf_proxy().await;
    let through = PostgresOptions::parse(&url).unwrap().schema(&database.schema_name()).open();
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

/// The process of the server behind the one connection that is free.
async fn backend(database: &Database) -> i64 {
    let backend =
        work(|tx| async { tx.query_one("SELECT pg_backend_pid() AS pid", &[]).await?.get::<i64>("pid") }.boxed());
    database.read(backend).await.unwrap()
}

/// The server is suspect then, and what is idle may lead to the same one.
#[tokio::test]
async fn after_a_commit_in_doubt_no_connection_from_before_is_used() {
    let database = database().await;
    let (process, pauses) = stopping(&database, 0);
    let reading = tokio::spawn({
        let process = process.clone();
        async move { backend(&process).await }
    });
    stopped(&pauses).await;
    // Stops on a second connection.
    let writing = tokio::spawn({
        let process = process.clone();
        async move { process.write(insert("a")).await }
    });
    until("both are stopped", async || pauses.reached().len() == 2).await;
    pauses.begin_until("COMMIT");
    let idle = reading.await.unwrap();
    stopped(&pauses).await;
    let schema = database.schema_name();
    let end = work(move |tx| {
        let schema = schema.clone();
        async move {
            let sql = "SELECT count(pg_terminate_backend(pid)) AS ended FROM pg_stat_activity
                       WHERE application_name = $1 AND state = 'idle in transaction'";
            tx.query_one(sql, entrepot_sql::params![&schema]).await
        }
        .boxed()
    });
    database.read(end).await.unwrap();
    pauses.release();
    assert!(matches!(writing.await.unwrap(), Err(SqlError::InDoubt { .. })));
    assert_ne!(backend(&process).await, idle);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_its_connection_to_others() {
    let database = database().await;
    let pauses = Pauses::default();
    let process = database
        .replica_with(Tampering { pauses: Some(pauses.clone()), ..Tampering::default() }, |options| {
            options.max_connections(1)
        });
    let used = backend(&process).await;
    pauses.begin(Some(0));
    let abandoned = tokio::spawn({
        let process = process.clone();
        async move { process.read(Names).await }
    });
    stopped(&pauses).await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    pauses.release();
    assert_eq!(backend(&process).await, used);
}

/// A commit may wait for its standby for longer than a statement may run. Stopped by the server it would look committed and
/// be on one machine only; that the server does not count this time is what we rely on.
#[tokio::test]
async fn a_commit_has_no_time_limit() {
    let database = database().await;
    let slow = work(|tx| {
        tx.batch(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION slow()",
        )
    });
    database.write(slow).await.unwrap();
    let hurried =
        database.replica_with(Tampering::default(), |options| options.statement_timeout(Duration::from_millis(300)));
    hurried.write(insert("kept")).await.unwrap();
    assert_eq!(names(&database).await, ["kept"]);
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

#[tokio::test]
async fn when_a_server_is_lost_connections_in_use_are_not_kept_either() {
    let database = database().await;
    database.write(insert("a")).await.unwrap();
    let (holder, pauses) = stopping(&database, 1);
    let holding = tokio::spawn(async move { count(&holder).await });
    stopped(&pauses).await;
    let process = database.replica(Tampering::default());
    // Waits for the holder, on a connection whose number it answers.
    let waits = work(|tx| {
        async {
            tx.execute("UPDATE item SET size = size + 1 WHERE name = 'a'", &[]).await?;
            tx.query_one("SELECT pg_backend_pid() AS pid", &[]).await?.get::<i64>("pid")
        }
        .boxed()
    });
    let waiting = tokio::spawn({
        let process = process.clone();
        async move { process.write(waits).await }
    });
    until("the wait", async || database.waiting_for_locks().await.unwrap() == 1).await;
    // Meanwhile another connection of the same pool finds out that its server takes no writes.
    let turn = work(|tx| tx.batch("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"));
    process.write(turn).await.unwrap();
    process.write(insert("b")).await.unwrap();
    pauses.release();
    holding.await.unwrap().unwrap();
    let used = waiting.await.unwrap().unwrap();
    let next =
        work(|tx| async { tx.query_one("SELECT pg_backend_pid() AS pid", &[]).await?.get::<i64>("pid") }.boxed());
    assert_ne!(process.write(next).await.unwrap(), used);
}

fn at(url: &str, database: &Database) -> Database {
    PostgresOptions::parse(url).unwrap().schema(&database.schema_name()).open()
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
