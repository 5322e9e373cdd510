//! A server that dies and whose synchronous standby takes over, under writes.

use std::time::{Duration, Instant};

use entrepot_sql::{SqlError, testing::Tampering};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::support::{Work, database, insert, names, work};

/// Inserts a name that may be there already.
fn keep(
    name: String,
) -> Work<impl for<'a> Fn(&'a mut dyn entrepot_sql::Tx) -> futures_util::future::BoxFuture<'a, Result<(), SqlError>>> {
    work(move |tx| {
        let name = name.clone();
        Box::pin(async move {
            let sql = "INSERT INTO item (name, size) VALUES ($1, 1) ON CONFLICT DO NOTHING";
            tx.execute(sql, entrepot_sql::params![&name]).await.map(|_| ())
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server to lose: cargo xtask engines gives it one"]
async fn nothing_acknowledged_is_lost_when_the_standby_takes_over() {
    let operator = std::env::var("ENTREPOT_TEST_FAILOVER").unwrap();
    let database = database().await;
    database.write(insert("before")).await.unwrap();
    let process =
        database.replica_with(Tampering::default(), |options| options.connect_timeout(Duration::from_secs(1)));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (process, stopped) = (process.clone(), stopped.clone());
            tokio::spawn(async move {
                let (mut acknowledged, mut longest) = (Vec::new(), Duration::ZERO);
                let mut last = Instant::now();
                for number in 0.. {
                    if *stopped.borrow() {
                        break;
                    }
                    let name = format!("{writer} {number}");
                    match process.write(keep(name.clone())).await {
                        Ok(()) => {
                            longest = longest.max(last.elapsed());
                            last = Instant::now();
                            acknowledged.push(name);
                        }
                        Err(SqlError::InDoubt { .. } | SqlError::Unavailable { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                (acknowledged, longest)
            })
        })
        .collect();
    let mut operator = TcpStream::connect(operator).await.unwrap();
    let begun = Instant::now();
    operator.read_exact(&mut [0; 8]).await.unwrap();
    let failover = begun.elapsed();
    // Each writer gets through again.
    for writer in 0..4 {
        process.write(keep(format!("{writer} after"))).await.unwrap();
    }
    stop.send(true).unwrap();
    let found = names(&process).await;
    let mut outcome = Vec::new();
    for writer in writers {
        outcome.push(writer.await.unwrap());
    }
    let found: std::collections::HashSet<String> = found.into_iter().chain(names(&process).await).collect();
    for (acknowledged, outage) in outcome {
        assert!(acknowledged.iter().all(|name| found.contains(name)), "an acknowledged write is gone");
        assert!(outage < failover + Duration::from_secs(5), "{outage:?} of outage in a failover of {failover:?}");
    }
    assert!(found.contains("before"));
}
