//! The only place that looks at SQLSTATE.

use std::{borrow::Cow, sync::Arc};

use super::{body::Kind, pool::NoAnswer};
use crate::{Cause, ConstraintKind, SqlError};

/// What is left of a transaction that failed, and of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was committed and the connection is good; another try may succeed.
    Conflict,
    /// Nothing was committed, and the server is gone or takes no writes any more: another one may. All connections that
    /// were opened before are suspect.
    Lost,
    /// Nobody knows what was committed, so this is not for us to try again; otherwise as `Lost`.
    Doubtful,
    /// The connection cannot be used again, and another try would not help.
    Broken,
    /// The connection is good, and another try would not help.
    Final,
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failed<E> {
    pub(super) error: E,
    pub(super) verdict: Verdict,
}

impl<E: From<SqlError>> Failed<E> {
    pub(super) fn finally(error: SqlError) -> Self {
        Self { error: error.into(), verdict: Verdict::Final }
    }

    pub(super) fn broken(error: SqlError) -> Self {
        Self { error: error.into(), verdict: Verdict::Broken }
    }
}

impl Failed<SqlError> {
    /// As the body's own error.
    pub(super) fn into_failed<E: From<SqlError>>(self) -> Failed<E> {
        Failed { error: self.error.into(), verdict: self.verdict }
    }
}

/// A statement before the commit: whatever went wrong, nothing was committed.
pub(super) fn statement(sql: &str, error: sqlx::Error, kind: &Kind) -> Failed<SqlError> {
    let state = state(&error);
    let constraint = constraint_name(&error);
    let connection_lost = connection_lost(&error);
    let source = cause(error);
    let failed = |error, verdict| Failed { error, verdict };
    let wrong = |source| SqlError::Statement { sql: sql.to_owned(), source };
    let Some(state) = state else {
        return if connection_lost {
            failed(SqlError::Unavailable { source }, Verdict::Lost)
        } else {
            failed(wrong(source), Verdict::Final)
        };
    };
    match state.as_bytes() {
        // serialization_failure, deadlock_detected
        b"40001" | b"40P01" => failed(SqlError::Serialization { source }, Verdict::Conflict),
        // read_only_sql_transaction: in a read the body's mistake, otherwise a server that was demoted
        b"25006" if kind.writes() => failed(SqlError::Unavailable { source }, Verdict::Lost),
        // lock_not_available, query_canceled by a time limit
        b"55P03" | b"57014" => failed(SqlError::Unavailable { source }, Verdict::Final),
        // disk_full
        b"53100" => failed(SqlError::NoSpace { source }, Verdict::Final),
        // data_corrupted, index_corrupted
        b"XX001" | b"XX002" => failed(SqlError::Corrupt { source }, Verdict::Broken),
        // connection_exception, operator_intervention, idle_in_transaction_session_timeout, system_error: the server
        // says goodbye.
        [b'0', b'8', ..] | [b'5', b'7', ..] | b"25P03" | [b'5', b'8', ..] => {
            failed(SqlError::Unavailable { source }, Verdict::Lost)
        }
        // insufficient_resources
        [b'5', b'3', ..] => failed(SqlError::Unavailable { source }, Verdict::Broken),
        // integrity_constraint_violation
        [b'2', b'3', ..] => {
            let kind = match state.as_str() {
                "23505" | "23P01" => ConstraintKind::Unique,
                // foreign_key_violation, restrict_violation
                "23503" | "23001" => ConstraintKind::ForeignKey,
                _ => ConstraintKind::Check,
            };
            failed(SqlError::Constraint { kind, name: constraint, source }, Verdict::Final)
        }
        _ => failed(wrong(source), Verdict::Final),
    }
}

/// A commit. Only a refusal that says for certain that nothing was committed is one; with anything else (the server
/// stops while it waits for its standby, the connection is cut) the transaction may have taken effect.
pub(super) fn commit<E: From<SqlError>>(error: sqlx::Error) -> Failed<E> {
    match state(&error).as_deref().map(str::as_bytes) {
        Some(b"40001" | b"40P01" | [b'2', b'3', ..]) => statement("COMMIT", error, &Kind::Write).into_failed(),
        _ => in_doubt(cause(error)),
    }
}

/// A commit whose answer never came.
pub(super) fn commit_without_answer<E: From<SqlError>>(silence: NoAnswer) -> Failed<E> {
    in_doubt(Arc::new(silence))
}

fn in_doubt<E: From<SqlError>>(source: Cause) -> Failed<E> {
    // Not to be repeated here: the caller has to find out first.
    Failed { error: SqlError::InDoubt { source }.into(), verdict: Verdict::Doubtful }
}

/// A statement whose answer never came.
pub(super) fn no_answer(silence: NoAnswer) -> Failed<SqlError> {
    Failed { error: SqlError::Unavailable { source: Arc::new(silence) }, verdict: Verdict::Lost }
}

fn state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(Cow::into_owned)
}

fn constraint_name(error: &sqlx::Error) -> String {
    let database = error.as_database_error();
    let name = database.and_then(|error| error.constraint().map(str::to_owned));
    // A column that may not be NULL has no name of its own.
    name.or_else(|| database.map(|error| error.message().to_owned())).unwrap_or_default()
}

fn connection_lost(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed)
}

/// Without sqlx's own sentence in front of what the server said.
pub(super) fn cause(error: sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(error) => Arc::new(Refusal {
            message: error.message().to_owned(),
            state: error.code().map(Cow::into_owned).unwrap_or_default(),
        }),
        sqlx::Error::Io(error) => Arc::new(error),
        error => Arc::new(error),
    }
}

/// What the server said.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {state})")]
struct Refusal {
    message: String,
    state: String,
}
