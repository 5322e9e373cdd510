//! Connecting to whichever server takes writes, and the settings of a session.

use std::{
    fmt,
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Row,
    postgres::{PgConnectOptions, PgConnection},
    raw_sql,
};

use super::{PostgresOptions, error, hosts};
use crate::{Cause, SqlError};

/// The oldest version whose behaviour is known to fit.
const OLDEST: u32 = 15;

/// How long a server may take to show that it is there, at most.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// A connection, and where it leads.
pub(super) struct Opened {
    pub(super) connection: PgConnection,
    pub(super) place: Place,
}

/// One end of a connection: a server, by its number among those configured, and its process for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    host: usize,
    backend: i32,
}

/// What is found where a session should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// The session, or nothing that speaks against it.
    Session,
    /// A server without it: another one has its address now, or the connection was lost on the way.
    Server,
    /// Nobody.
    Nothing,
}

/// Opens connections.
pub(super) struct Connector {
    hosts: Vec<PgConnectOptions>,
    /// Where the server was last found.
    last: AtomicUsize,
    settings: String,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(options: &PostgresOptions) -> Self {
        let hosts = options.hosts.clone();
        Self { hosts, last: AtomicUsize::new(0), settings: settings(options), timeout: options.connect_timeout }
    }

    /// A connection to a server that takes writes: the one that did last, else the first of the others.
    pub(super) async fn connect(&self) -> Result<Opened, SqlError> {
        let last = self.last.load(Ordering::Relaxed);
        let mut refusals = Vec::new();
        for offset in 0..self.hosts.len() {
            let position = (last + offset) % self.hosts.len();
            let options = &self.hosts[position];
            match tokio::time::timeout(self.timeout, self.open(options)).await {
                Ok(Ok((connection, backend))) => {
                    self.last.store(position, Ordering::Relaxed);
                    return Ok(Opened { connection, place: Place { host: position, backend } });
                }
                Ok(Err(refusal)) => refusals.push((hosts::name(options), refusal)),
                Err(_) => refusals.push((hosts::name(options), Refusal::Silent(self.timeout))),
            }
        }
        Err(SqlError::Unavailable { source: Arc::new(NoServer(refusals)) })
    }

    /// Looks on a new connection whether a session that owes an answer is still there.
    pub(super) async fn look_for(&self, place: Place) -> Sighting {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE pid = {}", place.backend);
        let look = async {
            let mut connection = self.hosts[place.host].connect().await?;
            raw_sql(AssertSqlSafe(sql)).fetch_optional(&mut connection).await
        };
        match tokio::time::timeout(SIGN_OF_LIFE.min(self.timeout), look).await {
            Ok(Ok(Some(_))) => Sighting::Session,
            Ok(Ok(None)) => Sighting::Server,
            Ok(Err(error)) if shows_nobody(&error) => Sighting::Nothing,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &*error::cause(error) as &dyn std::error::Error,
                    "the database server was not seen"
                );
                Sighting::Session
            }
            Err(_) => Sighting::Nothing,
        }
    }

    /// Begins the next search at the servers after the one of `place`, which would only be waited for.
    pub(super) fn avoid(&self, place: Place) {
        let next = (place.host + 1) % self.hosts.len();
        // Unless another was found meanwhile.
        let _ = self.last.compare_exchange(place.host, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn open(&self, options: &PgConnectOptions) -> Result<(PgConnection, i32), Refusal> {
        let refused = |error| Refusal::Error(error::cause(error));
        let mut connection = options.connect().await.map_err(refused)?;
        if let Some(version) = connection.server_version_num().map(|number| number / 10_000)
            && version < OLDEST
        {
            return Err(Refusal::TooOld(version));
        }
        let settings = raw_sql(AssertSqlSafe(self.settings.as_str()));
        let row = settings.fetch_one(&mut connection).await.map_err(refused)?;
        if row.try_get::<bool, _>("standby").map_err(refused)? {
            return Err(Refusal::Standby);
        }
        if row.try_get::<bool, _>("read_only").map_err(refused)? {
            return Err(Refusal::ReadOnly);
        }
        let backend = row.try_get("backend").map_err(refused)?;
        Ok((connection, backend))
    }
}

/// Whether a failed look means that no server is there. Others say nothing of it: it speaks and refuses (all its
/// connections are taken, say), or the fault is on our side (no file descriptor or port is left, a name is not resolved, a
/// certificate not accepted). What waits for it then waits on, as every transaction of the pool would be given up for it.
fn shows_nobody(error: &sqlx::Error) -> bool {
    let sqlx::Error::Io(error) = error else { return false };
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::TimedOut
    )
}

/// What every session begins with. An acknowledged commit survives the loss of a server only if it waits for the disk, and
/// for the standby where there is a synchronous one, so less than `on` is raised, and more is left.
fn settings(options: &PostgresOptions) -> String {
    let statement = options.statement_timeout.as_millis();
    format!(
        "SET statement_timeout = {statement};
         SET lock_timeout = {lock};
         SET idle_in_transaction_session_timeout = {statement};
         SET client_min_messages = warning;
         SET search_path = \"{schema}\";
         SELECT pg_is_in_recovery() AS standby, pg_backend_pid() AS backend,
                current_setting('transaction_read_only') = 'on' AS read_only,
                set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'remote_apply'
                                                      THEN 'remote_apply' ELSE 'on' END, false)",
        lock = statement / 2,
        schema = options.schema,
    )
}

/// Why no server can be used.
#[derive(Debug)]
struct NoServer(Vec<(String, Refusal)>);

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no database server takes writes (")?;
        for (position, (host, refusal)) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{host}: {refusal}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for NoServer {}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Error(Cause),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("is a standby")]
    Standby,
    #[error("is read-only")]
    ReadOnly,
    #[error("is PostgreSQL {0}; {OLDEST} or later is needed")]
    TooOld(u32),
}

#[cfg(test)]
mod tests;
