//! The tasks of a process under one roof: a task that fails or panics ends the process with its error, instead of
//! leaving a half-dead one that still answers its liveness probe.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::task::{Id, JoinError, JoinSet};

use crate::{
    BoxError,
    shutdown::{Drain, Drained, Signals},
};

/// How long tasks may take to come to an await point once they are dropped.
const DROPPED: Duration = Duration::from_secs(1);

/// Why the process ends although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The task returned an error.
    #[error("task {name} failed")]
    Failed {
        /// The task's name.
        name: &'static str,
        /// What it returned.
        #[source]
        source: BoxError,
    },
    /// The task panicked.
    #[error("task {name} panicked")]
    Panicked {
        /// The task's name.
        name: &'static str,
        /// The panic as the runtime reports it.
        #[source]
        source: JoinError,
    },
}

/// A named set of tasks that live and die together.
#[derive(Debug)]
pub struct Tasks {
    drain: Drain,
    set: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// An empty set that ends with `drain`.
    pub fn new(drain: Drain) -> Self {
        Self { drain, set: JoinSet::new(), names: HashMap::new() }
    }

    /// The shutdown state that the tasks share.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Adds a task. It may return early without error, as a server does that watches the drain itself. Whatever runs for ever
    /// serves requests until the last one has ended: then it is dropped, at its next await point.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let handle = self.set.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Turns SIGTERM and SIGINT into a drain, and a second one into the end of the process.
    ///
    /// Not one of the tasks: for as long as the handlers are installed, which is until the process ends, somebody must
    /// listen, also while requests in flight finish and after the last of them.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn watch_signals(&self) -> std::io::Result<()> {
        let signals = Signals::install()?;
        tokio::spawn(signals.watch(self.drain.clone()));
        Ok(())
    }

    /// Runs until the drain has ended, or a task has failed. The tasks are dropped before this returns, so that what they
    /// work with can be closed.
    ///
    /// # Errors
    /// The first task that failed or panicked.
    pub async fn run(mut self) -> Result<Drained, TaskError> {
        let drain = self.drain.clone();
        let mut drained = std::pin::pin!(drain.drive());
        let outcome = loop {
            tokio::select! {
                outcome = &mut drained => break Ok(outcome),
                Some(joined) = self.set.join_next_with_id() => {
                    if let Err(error) = self.check(joined) {
                        break Err(error);
                    }
                }
            }
        };
        let dropped = tokio::time::timeout(DROPPED, self.set.shutdown()).await;
        if dropped.is_err() {
            tracing::warn!(tasks = self.set.len(), "tasks do not end");
        }
        outcome
    }

    fn check(&mut self, joined: Result<(Id, Result<(), BoxError>), JoinError>) -> Result<(), TaskError> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).unwrap_or("unnamed");
        match joined {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(source))) => Err(TaskError::Failed { name, source }),
            Err(source) => Err(TaskError::Panicked { name, source }),
        }
    }
}
