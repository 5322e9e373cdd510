//! The writer: takes every waiting transaction, runs each in its own savepoint, commits once, then answers.
//!
//! A sync to disk costs far more than a transaction, so under load the time per transaction is the time of a sync
//! divided by how many were waiting. Alone, a transaction is committed at once.

use std::{
    fs::File,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    connection::{Connection, run_body},
};
use crate::{SqlError, Transaction};

/// Bounds what one commit delays: how many transactions share it, and for how long it takes more of them.
const GROUP: usize = 256;
const GROUP_TIME: Duration = Duration::from_millis(10);

pub(super) enum Command {
    Run(Box<dyn Job>),
    Close(oneshot::Sender<Result<(), SqlError>>),
}

/// A transaction of any type, waiting for its commit.
pub(super) trait Job: Send {
    /// Runs the body and keeps its outcome; answers whether its changes stand.
    fn run(&mut self, connection: &mut Connection) -> bool;

    /// Answers the caller: the outcome kept, or why the commit that would have carried it failed.
    fn finish(self: Box<Self>, commit: Result<(), SqlError>);
}

/// What a body answered, and what its caller will be told.
type Outcome<T> = Result<<T as Transaction>::Output, <T as Transaction>::Error>;

pub(super) struct Pending<T: Transaction> {
    body: T,
    outcome: Option<Outcome<T>>,
    reply: oneshot::Sender<Outcome<T>>,
}

impl<T: Transaction> Pending<T> {
    pub(super) fn new(body: T) -> (Self, oneshot::Receiver<Outcome<T>>) {
        let (reply, receiver) = oneshot::channel();
        (Self { body, outcome: None, reply }, receiver)
    }
}

impl<T: Transaction> Job for Pending<T> {
    fn run(&mut self, connection: &mut Connection) -> bool {
        let outcome = run_body(&self.body, connection);
        let stands = outcome.is_ok();
        self.outcome = Some(outcome);
        stands
    }

    fn finish(self: Box<Self>, commit: Result<(), SqlError>) {
        let outcome = match (commit, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(SqlError::Closed.into()),
            (Err(error), _) => Err(error.into()),
        };
        // The caller may have stopped waiting.
        let _ = self.reply.send(outcome);
    }
}

pub(super) struct Writer {
    connection: Connection,
    queue: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    /// Released last, when the file is closed.
    lock: File,
}

impl Writer {
    pub(super) fn new(connection: Connection, queue: mpsc::Receiver<Command>, shared: Arc<Shared>, lock: File) -> Self {
        Self { connection, queue, shared, lock }
    }

    /// Serves until it is told to close or every handle is gone.
    pub(super) fn run(mut self) {
        let mut next = self.queue.blocking_recv();
        loop {
            match next {
                Some(Command::Run(job)) => {
                    next = self.group(job).or_else(|| self.queue.blocking_recv());
                }
                Some(Command::Close(done)) => {
                    let _ = done.send(self.close());
                    return;
                }
                None => {
                    if let Err(error) = self.close() {
                        tracing::warn!(error = &error as &dyn std::error::Error, "cannot close the database cleanly");
                    }
                    return;
                }
            }
        }
    }

    fn close(self) -> Result<(), SqlError> {
        let Self { connection, queue, lock, .. } = self;
        drop(queue);
        let closed = connection.close();
        drop(lock);
        closed
    }

    /// Runs `first` and whatever else waits, and commits them together. Answers a command that it met and left.
    fn group(&mut self, first: Box<dyn Job>) -> Option<Command> {
        if let Err(error) = self.connection.control("BEGIN IMMEDIATE") {
            first.finish(Err(error));
            return None;
        }
        let until = Instant::now() + GROUP_TIME;
        let mut jobs = vec![first];
        let mut left = None;
        let mut outcome = self.savepoint(&mut *jobs[0]);
        while outcome.is_ok() && left.is_none() && jobs.len() < GROUP && Instant::now() < until {
            match self.queue.try_recv() {
                Ok(Command::Run(mut job)) => {
                    outcome = self.savepoint(&mut *job);
                    jobs.push(job);
                }
                Ok(close) => left = Some(close),
                Err(_) => break,
            }
        }
        match outcome.and_then(|()| self.commit()) {
            Ok(()) => self.finish(jobs),
            Err(error) => self.recover(jobs, error),
        }
        left
    }

    /// Runs one job so that it can be undone alone. Fails when the whole group is lost.
    fn savepoint(&mut self, job: &mut dyn Job) -> Result<(), SqlError> {
        self.connection.control("SAVEPOINT job")?;
        let stands = job.run(&mut self.connection);
        if !self.connection.in_transaction() {
            return Err(self.connection.take_failure().unwrap_or(SqlError::Body { fault: "ended its transaction" }));
        }
        if !stands {
            self.connection.control("ROLLBACK TO job")?;
        }
        self.connection.control("RELEASE job")
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        self.connection.control("COMMIT").map_err(|error| match error {
            SqlError::Unavailable { source } => SqlError::InDoubt { source },
            error => error,
        })?;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn finish(&self, jobs: Vec<Box<dyn Job>>) {
        self.shared.transactions.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        for job in jobs {
            job.finish(Ok(()));
        }
    }

    /// After a group was lost: where it is certain that nothing was committed, each job gets a transaction of its
    /// own, so that one that does not fit cannot fail its neighbours.
    fn recover(&mut self, jobs: Vec<Box<dyn Job>>, error: SqlError) {
        if self.connection.in_transaction() && self.connection.control("ROLLBACK").is_err() {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot roll back a failed commit");
        }
        if jobs.len() == 1 || !error.rolled_back() {
            for job in jobs {
                job.finish(Err(error.clone()));
            }
            return;
        }
        for job in jobs {
            self.alone(job);
        }
    }

    fn alone(&mut self, mut job: Box<dyn Job>) {
        let begun = self.connection.control("BEGIN IMMEDIATE");
        let outcome = begun.and_then(|()| self.savepoint(&mut *job)).and_then(|()| self.commit());
        match outcome {
            Ok(()) => self.finish(vec![job]),
            Err(error) => self.recover(vec![job], error),
        }
    }
}
