//! A server whose host is gone: nothing comes any more, not even the end of a connection.

use std::{net::SocketAddr, time::Duration};

use entrepot_sql::{
    Database, PostgresOptions, SqlError,
    testing::{Pauses, Tampering},
};
use entrepot_testkit::proxy::{Mode, Proxy};
use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, timeout};

use super::{end_sessions, sleeping, stopped, until};
use crate::support::{Names, database, insert, names, work};

/// Far more than it takes to find out that the server is silent, on a machine that has other work too.
const BEYOND: Duration = Duration::from_secs(60);
/// What every wait would last that only a statement's own limit ended.
const STATEMENT: Duration = Duration::from_secs(600);

/// The address of the server, and the URL without it.
fn server() -> (SocketAddr, impl Fn(&str) -> String) {
    let url = entrepot_sql::testing::url();
    let (before, rest) = url.split_at(url.find('@').unwrap() + 1);
    let (server, after) = rest.split_at(rest.find('/').unwrap());
    let (before, after) = (before.to_owned(), after.to_owned());
    (server.parse().unwrap(), move |hosts: &str| format!("{before}{hosts}{after}?sslmode=disable"))
}

/// A process whose server is behind a proxy and, once that is silent, at its own address too.
fn behind_proxy(database: &Database, tampering: Tampering, connections: u32) -> (Database, Proxy) {
    let (server, url) = server();
    let proxy = Proxy::start(server);
    let url = url(&format!("{},{server}", proxy.address()));
    let process = database.replica_with(tampering, |options| {
        let options = options.at(&PostgresOptions::parse(&url).unwrap()).statement_timeout(STATEMENT);
        options.max_connections(connections).acquire_timeout(BEYOND)
    });
    (process, proxy)
}

/// Whatever follows goes to the other address at once: nobody tries or waits for the silent one any more, which would make
/// one connection more to it.
async fn is_left_alone<T>(proxy: &Proxy, connections: usize, next: impl Future<Output = T>) -> T {
    until("the server is looked for", async || proxy.accepted() > connections).await;
    let accepted = proxy.accepted();
    let done = timeout(BEYOND, next).await.expect("it waits");
    assert_eq!(proxy.accepted(), accepted, "the silent server was asked again");
    done
}

/// Sleeps on the server, for longer than it may owe an answer without being looked for.
async fn sleep(process: Database) -> Result<(), SqlError> {
    process.read(work(|tx| async { tx.query("SELECT CAST(pg_sleep(2) AS text)", &[]).await.map(|_| ()) }.boxed())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_it_goes_on_elsewhere() {
    let database = database().await;
    let (process, proxy) = behind_proxy(&database, Tampering::default(), 4);
    // Every connection is at work when it happens.
    let working: Vec<_> = (0..4).map(|_| tokio::spawn(sleep(process.clone()))).collect();
    until("all sleep", async || sleeping(&database).await == 4).await;
    proxy.set(Mode::Stall);
    timeout(BEYOND, process.write(insert("a"))).await.expect("it waits").unwrap();
    for work in timeout(BEYOND, join_all(working)).await.expect("they wait") {
        work.unwrap().unwrap();
    }
    assert_eq!(names(&database).await, ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_to_it_are_given_up_together() {
    let database = database().await;
    let (process, proxy) = behind_proxy(&database, Tampering::default(), 4);
    let working: Vec<_> = (0..4).map(|_| tokio::spawn(sleep(process.clone()))).collect();
    until("all connections are open", async || sleeping(&database).await == 4).await;
    join_all(working).await.into_iter().for_each(|slept| slept.unwrap().unwrap());
    let connections = proxy.accepted();
    proxy.set(Mode::Stall);
    // Callers with less patience than it takes to find out: none of them must leave the next where it began.
    let began = Instant::now();
    while timeout(Duration::from_millis(500), process.read_key(Names)).await.is_err() {
        assert!(began.elapsed() < BEYOND, "each caller waits for another dead connection");
    }
    process.read(Names).now_or_never();
    is_left_alone(&proxy, connections, process.read(Names)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_it_owes_an_answer_is_in_doubt_soon() {
    let database = database().await;
    let pauses = Pauses::default();
    let tampering = Tampering { pauses: Some(pauses.clone()), ..Tampering::default() };
    let (process, proxy) = behind_proxy(&database, tampering, 2);
    pauses.begin_until("COMMIT");
    let writing = tokio::spawn({
        let process = process.clone();
        async move { process.write(insert("a")).await }
    });
    stopped(&pauses).await;
    proxy.set(Mode::Stall);
    pauses.release();
    let outcome = timeout(BEYOND, writing).await.expect("it waits").unwrap();
    assert!(matches!(outcome, Err(SqlError::InDoubt { .. })));
    is_left_alone(&proxy, 1, process.write(insert("b"))).await.unwrap();
}

/// Its address now belongs to another, as after the move of a virtual one: only the session is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_its_server_does_not_have_is_not_waited_for() {
    let database = database().await;
    let (server, url) = server();
    let proxy = Proxy::start(server);
    let url = url(&proxy.address().to_string());
    let process = database.replica_with(Tampering::default(), |options| {
        options.at(&PostgresOptions::parse(&url).unwrap()).statement_timeout(STATEMENT).max_connections(1)
    });
    let working = tokio::spawn(sleep(process.clone()));
    until("it sleeps", async || sleeping(&database).await == 1).await;
    proxy.forget();
    end_sessions(&database).await;
    timeout(BEYOND, working).await.expect("it waits").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_waits_neither_for_a_silent_server_nor_for_requests() {
    let database = database().await;
    let pauses = Pauses::default();
    pauses.begin(Some(0));
    let tampering = Tampering { pauses: Some(pauses.clone()), ..Tampering::default() };
    let (process, proxy) = behind_proxy(&database, tampering, 1);
    let working = tokio::spawn({
        let process = process.clone();
        async move { process.write(insert("a")).await }
    });
    stopped(&pauses).await;
    process.ping().await.unwrap();
    proxy.set(Mode::Stall);
    let silent = timeout(BEYOND, process.ping()).await.expect("it waits for ever");
    assert!(matches!(silent, Err(SqlError::Unavailable { .. })));
    // On the server's other address.
    timeout(BEYOND, process.ping()).await.expect("it waits").unwrap();
    pauses.release();
    working.await.unwrap().unwrap();
}

/// A statement may take its time while the server is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_is_waited_for() {
    let database = database().await;
    let (process, proxy) = behind_proxy(&database, Tampering::default(), 1);
    process.read_key(Names).await.unwrap();
    // Starved, a process may see the answer before it sees how long that took.
    let looked_after = async {
        while proxy.accepted() == 1 {
            sleep(process.clone()).await.unwrap();
        }
    };
    timeout(BEYOND, looked_after).await.expect("nobody looks after it");
    assert_eq!(process.read_key(Names).await.unwrap(), [""; 0]);
}
