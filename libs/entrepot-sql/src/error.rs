//! What can go wrong, by what a caller can do about it.

use std::{error::Error, path::PathBuf, sync::Arc};

/// The engine's own error, shared because one failed commit is the answer to many transactions.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a transaction, a row or a migration failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The engine cannot serve now (locked, input/output error, out of memory). Nothing was committed; try later.
    #[error("the database is unavailable")]
    Unavailable {
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// The commit's answer was lost: the transaction may or may not have taken effect. Read before trying again.
    #[error("the outcome of the commit is unknown")]
    InDoubt {
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// The disk, or the size limit of the database, is full. Nothing was committed.
    #[error("the database has no space left")]
    NoSpace {
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// A constraint refused the change. Nothing was committed.
    #[error("a {kind} constraint ({name}) refused the change")]
    Constraint {
        /// Which sort of constraint; decide by this.
        kind: ConstraintKind,
        /// What the engine calls it (columns on SQLite, the constraint on PostgreSQL); for logs, not for decisions.
        name: String,
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// Another transaction got in between, and trying again did not help. Nothing was committed.
    #[error("the transaction lost to a concurrent one")]
    Serialization {
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// The file is not a database or is damaged: restore it.
    #[error("the database is corrupt")]
    Corrupt {
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// The statement cannot run as written: a defect of the caller.
    #[error("statement `{sql}` cannot run")]
    Statement {
        /// Its text, before expansion.
        sql: String,
        /// What the engine said.
        #[source]
        source: Cause,
    },
    /// A column is missing or holds another type than the one asked for.
    #[error("column {column} does not hold {expected}")]
    Column {
        /// Name or position.
        column: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// `query_one` found no row.
    #[error("statement `{sql}` found no row")]
    NoRow {
        /// Its text, before expansion.
        sql: &'static str,
    },
    /// The body of a transaction broke the rules of [`Transaction`](crate::Transaction). Nothing was committed.
    #[error("the body of a transaction {fault}")]
    Body {
        /// What it did.
        fault: &'static str,
    },
    /// Another process has the database open.
    #[error("database {} is in use by another process", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// The schema on disk was written by a newer version of this program.
    #[error("schema {owner} is at version {found}, newer than this program's {known}: install the newer program")]
    SchemaTooNew {
        /// Whose schema.
        owner: &'static str,
        /// Version in the database.
        found: i64,
        /// Newest version this program knows.
        known: i64,
    },
    /// The schema lacks what this program needs, and this process is not the one to add it.
    #[error("schema {owner} is at version {found}, this program needs {known}: run `entrepot migrate`")]
    SchemaTooOld {
        /// Whose schema.
        owner: &'static str,
        /// Version in the database; 0 where there is none.
        found: i64,
        /// Version this program needs.
        known: i64,
    },
    /// A migration that was already applied has another text now: a defect of the program, or a foreign database.
    #[error("migration {version} of schema {owner} differs from the one applied to this database")]
    SchemaChanged {
        /// Whose schema.
        owner: &'static str,
        /// Version of the migration.
        version: i64,
    },
}

impl SqlError {
    /// Whether the failure says for certain that nothing was committed.
    pub(crate) fn rolled_back(&self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::Constraint { .. })
    }

    pub(crate) fn statement(sql: &str, reason: String) -> Self {
        let cause: Box<dyn Error + Send + Sync> = reason.into();
        Self::Statement { sql: sql.to_owned(), source: cause.into() }
    }
}

/// The sort of constraint that refused a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConstraintKind {
    /// A primary key or unique index.
    Unique,
    /// A row that is referred to, or one that refers to nothing.
    ForeignKey,
    /// A `CHECK`, a `NOT NULL` or a column type.
    Check,
}

impl std::fmt::Display for ConstraintKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unique => "unique",
            Self::ForeignKey => "foreign key",
            Self::Check => "check",
        })
    }
}
