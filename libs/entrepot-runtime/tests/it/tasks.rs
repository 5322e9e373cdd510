use std::{future::pending, io};

use entrepot_runtime::{
    BoxError,
    shutdown::{Drain, DrainConfig, Drained},
    tasks::{TaskError, Tasks},
    telemetry::Chain,
};
use tokio::time::timeout;

use crate::support::DEADLINE;

fn tasks() -> Tasks {
    Tasks::new(Drain::new(DrainConfig::IMMEDIATE))
}

#[tokio::test]
async fn the_first_failure_ends_the_process_and_names_the_task() {
    let mut tasks = tasks();
    tasks.spawn::<_, BoxError>("short", async { Ok(()) });
    tasks.spawn_background::<_, BoxError>("steady", pending());
    tasks.spawn("flaky", async { Err(io::Error::other("disk gone")) });
    let error = timeout(DEADLINE, tasks.run()).await.unwrap().unwrap_err();
    assert_eq!(Chain(&error).to_string(), "task flaky failed: disk gone");
}

#[tokio::test]
async fn a_panic_ends_the_process() {
    let mut tasks = tasks();
    tasks.spawn_background::<_, BoxError>("shaky", async { panic!("on purpose") });
    let error = timeout(DEADLINE, tasks.run()).await.unwrap().unwrap_err();
    assert!(matches!(error, TaskError::Panicked { name: "shaky", .. }), "{error:?}");
}

#[tokio::test]
async fn background_tasks_stop_on_drain() {
    let mut tasks = tasks();
    let running = std::sync::Arc::new(());
    let held = running.clone();
    tasks.spawn_background::<_, BoxError>("steady", async move {
        pending::<()>().await;
        drop(held);
        Ok(())
    });
    tasks.drain().start();
    assert_eq!(timeout(DEADLINE, tasks.run()).await.unwrap().unwrap(), Drained::Clean);
    crate::support::eventually("the task is dropped", async || std::sync::Arc::strong_count(&running) == 1).await;
}
