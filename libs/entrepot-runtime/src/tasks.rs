//! The tasks of a process under one roof: a task that fails or panics ends the process with its error, instead of
//! leaving a half-dead one that still answers its liveness probe.

use std::{collections::HashMap, future::Future};

use tokio::task::{Id, JoinError, JoinSet};

use crate::{
    BoxError,
    shutdown::{Drain, Drained, Signals},
};

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

    /// Adds a task that watches the drain itself, such as a server; it may return early without error.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let handle = self.set.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Adds a background task that is dropped, at its next await point, when the listeners close.
    pub fn spawn_background<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send,
    {
        let drain = self.drain.clone();
        self.spawn(name, async move {
            tokio::select! {
                result = task => result,
                () = drain.stopping() => Ok(()),
            }
        });
    }

    /// Adds the task that turns SIGTERM and SIGINT into a drain.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn spawn_signals(&mut self) -> std::io::Result<()> {
        let signals = Signals::install()?;
        let drain = self.drain.clone();
        self.spawn_background::<_, BoxError>("signals", async move {
            signals.watch(drain).await;
            Ok(())
        });
        Ok(())
    }

    /// Runs until the drain has ended, or a task has failed.
    ///
    /// # Errors
    /// The first task that failed or panicked; the others are dropped.
    pub async fn run(mut self) -> Result<Drained, TaskError> {
        let drain = self.drain.clone();
        let mut drained = std::pin::pin!(drain.drive());
        loop {
            tokio::select! {
                outcome = &mut drained => return Ok(outcome),
                Some(joined) = self.set.join_next_with_id() => self.check(joined)?,
            }
        }
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
