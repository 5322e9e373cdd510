use std::{future::pending, io, sync::Arc};

use entrepot_runtime::{
    BoxError,
    shutdown::{Drain, DrainConfig, Drained},
    tasks::{TaskError, Tasks},
    telemetry::Chain,
};
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::support::DEADLINE;

fn tasks() -> Tasks {
    Tasks::new(Drain::new(DrainConfig::IMMEDIATE))
}

#[tokio::test]
async fn the_first_failure_ends_the_process_and_names_the_task() {
    let mut tasks = tasks();
    tasks.spawn::<_, BoxError>("short", async { Ok(()) });
    tasks.spawn::<_, BoxError>("steady", pending());
    tasks.spawn("flaky", async { Err(io::Error::other("disk gone")) });
    let error = timeout(DEADLINE, tasks.run()).await.unwrap().unwrap_err();
    assert_eq!(Chain(&error).to_string(), "task flaky failed: disk gone");
}

#[tokio::test]
async fn a_panic_ends_the_process() {
    let mut tasks = tasks();
    tasks.spawn::<_, BoxError>("shaky", async { panic!("on purpose") });
    let error = timeout(DEADLINE, tasks.run()).await.unwrap().unwrap_err();
    assert!(matches!(error, TaskError::Panicked { name: "shaky", .. }), "{error:?}");
}

/// Certificates are reloaded and notices heard for as long as anybody is served, and not longer.
#[tokio::test]
async fn background_tasks_outlast_the_last_request() {
    let mut tasks = tasks();
    let running = Arc::new(());
    let held = running.clone();
    tasks.spawn::<_, BoxError>("steady", async move {
        pending::<()>().await;
        drop(held);
        Ok(())
    });
    let drain = tasks.drain().clone();
    let request = drain.hold();
    drain.start();
    let mut run = Box::pin(tasks.run());
    tokio::select! {
        outcome = &mut run => panic!("{outcome:?}"),
        stopping = timeout(DEADLINE, drain.stopping()) => stopping.unwrap(),
    }
    // Whoever waited for that moment, too, has had many turns by then.
    for _ in 0..100 {
        assert!((&mut run).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert_eq!(Arc::strong_count(&running), 2, "a request is still served");
    drop(request);
    assert_eq!(timeout(DEADLINE, run).await.unwrap().unwrap(), Drained::Clean);
    assert_eq!(Arc::strong_count(&running), 1, "what it works with can be closed");
}
