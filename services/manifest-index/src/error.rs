//! From the database's errors to the ports': the only place that decides.

use entrepot_core::ports::IndexError;
use entrepot_sql::SqlError;

/// Why the body of a transaction undid itself.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The answer of the port.
    Refused(IndexError),
    /// The database.
    Sql(SqlError),
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::Refused(error)
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<Failure> for IndexError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Sql(SqlError::NoSpace { .. }) => Self::NoSpace,
            Failure::Sql(
                error @ (SqlError::Unavailable { .. }
                | SqlError::InDoubt { .. }
                | SqlError::Serialization { .. }
                | SqlError::Closed),
            ) => Self::Unavailable(Box::new(error)),
            Failure::Sql(error) => Self::Internal(Box::new(error)),
        }
    }
}

/// A stored value that this program would not have written.
#[derive(Debug, thiserror::Error)]
#[error("column {column} holds a value that cannot be read")]
pub(crate) struct Malformed {
    pub(crate) column: &'static str,
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Refused(IndexError::Internal(Box::new(malformed)))
    }
}
