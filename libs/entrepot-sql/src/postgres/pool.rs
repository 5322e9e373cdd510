//! A bounded number of connections, opened when needed and used by one caller at a time.
//!
//! sqlx has a pool, but one that knows a single address. After a failover the next connection has to be looked for among
//! several servers, and all those that were open before have to go at once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::RngExt;
use sqlx::{Connection, postgres::PgConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use super::{
    PostgresOptions,
    connect::{Connector, Opened, Place, Sighting},
};
use crate::SqlError;

/// Idle for longer, a connection is closed: a pool that was busy once does not hold the server's memory for ever.
const IDLE: Duration = Duration::from_secs(300);

/// Older than this, a connection is closed when it is given back, so that memory, plans and addresses are renewed.
const LIFETIME: Duration = Duration::from_secs(1800);

/// Owing an answer for so long, a server is looked for; again whenever as much time has passed.
const SUSPICION: Duration = Duration::from_secs(1);

/// The longest pause between two searches for a server.
const SEARCH_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Pool {
    connector: Connector,
    acquire_timeout: Duration,
    size: u32,
    permits: Arc<Semaphore>,
    /// The most recently used last.
    idle: Mutex<Vec<Idle>>,
    /// Counts the times a server was lost. Connections from before are not used again.
    generation: AtomicU64,
    /// Connections of generations before this lead to a server that is silent: what waits there waits in vain.
    silent: watch::Sender<u64>,
    /// Whoever holds this looks whether a server is there.
    looking: tokio::sync::Mutex<()>,
}

struct Idle {
    connection: PgConnection,
    age: Age,
    since: Instant,
}

/// When a connection was opened, and where it leads.
#[derive(Clone, Copy)]
pub(super) struct Age {
    opened: Instant,
    generation: u64,
    place: Place,
}

impl Pool {
    pub(super) fn new(options: &PostgresOptions) -> Self {
        Self {
            connector: Connector::new(options),
            acquire_timeout: options.acquire_timeout,
            size: options.max_connections,
            permits: Arc::new(Semaphore::new(usize::try_from(options.max_connections).unwrap_or(usize::MAX))),
            idle: Mutex::default(),
            generation: AtomicU64::new(0),
            silent: watch::Sender::new(0),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for a turn, then for a server.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Pooled, SqlError> {
        let deadline = Instant::now() + self.acquire_timeout;
        let turn = tokio::time::timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = turn.map_err(|_| busy())?.map_err(|_| SqlError::Closed)?;
        let (connection, age) = match self.take_idle() {
            Some(idle) => (idle.connection, idle.age),
            None => self.connect(deadline).await?,
        };
        Ok(Pooled { connection, age, pool: Arc::clone(self), _permit: permit })
    }

    /// A connection that does not count and is not kept.
    pub(super) async fn connect_apart(&self) -> Result<PgConnection, SqlError> {
        Ok(self.connector.connect().await?.connection)
    }

    /// Looks for a server until there is one or the time is over: in a failover there is none for some seconds.
    async fn connect(&self, deadline: Instant) -> Result<(PgConnection, Age), SqlError> {
        let mut last = None;
        loop {
            // Noted before: a server lost meanwhile may be the one found.
            let generation = self.generation.load(Ordering::Acquire);
            let refused = match tokio::time::timeout_at(deadline, self.connector.connect()).await {
                Ok(Ok(Opened { connection, place })) => {
                    return Ok((connection, Age { opened: Instant::now(), generation, place }));
                }
                Ok(Err(refused)) => refused,
                Err(_) => return Err(last.unwrap_or_else(busy)),
            };
            let pause = SEARCH_PAUSE.mul_f64(rand::rng().random_range(0.2..1.0));
            if Instant::now() + pause >= deadline {
                return Err(refused);
            }
            last = Some(refused);
            tokio::time::sleep(pause).await;
        }
    }

    fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle();
        while let Some(found) = idle.pop() {
            if self.is_fresh(&found.age) {
                return Some(found);
            }
        }
        None
    }

    fn is_fresh(&self, age: &Age) -> bool {
        age.generation == self.generation.load(Ordering::Acquire) && age.opened.elapsed() < LIFETIME
    }

    /// Waits for what a server owes on a connection of this age, for `limit` at most, and not for a server that is gone.
    ///
    /// A host that loses its power or its network says nothing, not even that the connection is over. So a server that
    /// owes an answer for a while is looked for on a new connection; when there is none, nobody waits for it any more.
    pub(super) async fn answer<T>(
        &self,
        age: Age,
        limit: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, NoAnswer> {
        let given_up = async {
            let looks = async {
                loop {
                    tokio::time::sleep(SUSPICION).await;
                    if !Box::pin(self.is_there(age)).await {
                        return;
                    }
                }
            };
            let mut silent = self.silent.subscribe();
            tokio::select! {
                _ = tokio::time::timeout(limit, looks) => {}
                _ = silent.wait_for(|silent| age.generation < *silent) => {}
            }
        };
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            () = given_up => {
                tracing::warn!("the database server does not answer");
                Err(NoAnswer)
            }
        }
    }

    /// Whether the session of a connection is still where it was. One caller looks at a time; what it finds counts for all.
    async fn is_there(&self, age: Age) -> bool {
        let _turn = self.looking.lock().await;
        if age.generation < *self.silent.borrow() {
            return false;
        }
        let found = self.connector.look_for(age.place).await;
        if found == Sighting::Nothing {
            self.connector.avoid(age.place);
            self.renounce(age);
            self.silent.send_modify(|silent| *silent = (*silent).max(age.generation + 1));
        }
        found == Sighting::Session
    }

    /// Never again uses a connection that was open when the one of this age was.
    fn renounce(&self, age: Age) {
        let next = age.generation + 1;
        // Of several that find out, one counts.
        if self.generation.compare_exchange(age.generation, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.idle().clear();
        }
    }

    /// Lets running transactions finish and refuses new ones.
    pub(super) async fn close(&self) -> Result<(), SqlError> {
        let all = self.permits.acquire_many(self.size).await.map_err(|_| SqlError::Closed)?;
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            if let Err(error) = idle.connection.close().await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a database connection was not closed cleanly"
                );
            }
        }
        Ok(())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection and the turn to use it. Dropped, the connection is closed; [`give_back`](Self::give_back) keeps it.
pub(super) struct Pooled {
    connection: PgConnection,
    age: Age,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pooled {
    pub(super) fn connection(&mut self) -> (&mut PgConnection, Age) {
        (&mut self.connection, self.age)
    }

    /// Lets others use the connection. Only for one without an open transaction or an answer under way.
    pub(super) fn give_back(self) {
        let Self { connection, age, pool, _permit } = self;
        if !pool.is_fresh(&age) {
            return;
        }
        let now = Instant::now();
        let mut idle = pool.idle();
        idle.retain(|idle| now.duration_since(idle.since) < IDLE);
        idle.push(Idle { connection, age, since: now });
    }

    /// Closes this connection and, as they are used or given back, all others that were open when it was: their server is
    /// gone or takes no writes.
    pub(super) fn discard_all(self) {
        self.pool.renounce(self.age);
    }
}

/// What a server owed and did not give.
#[derive(Debug, thiserror::Error)]
#[error("the database server did not answer in time")]
pub(super) struct NoAnswer;

fn busy() -> SqlError {
    SqlError::Unavailable { source: Arc::new(Busy) }
}

#[derive(Debug, thiserror::Error)]
#[error("no database connection became free in time")]
struct Busy;
