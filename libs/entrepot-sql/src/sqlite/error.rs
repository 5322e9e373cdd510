//! The only place that looks at SQLite's codes.

use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

use crate::{Cause, ConstraintKind, SqlError};

/// A failure outside any statement of a caller.
pub(super) fn open(error: rusqlite::Error) -> SqlError {
    statement("opening", error)
}

pub(super) fn statement(sql: &str, error: rusqlite::Error) -> SqlError {
    let code = error.sqlite_error().copied();
    let message = error.to_string();
    let source: Cause = Arc::new(error);
    let Some(code) = code else {
        return SqlError::Statement { sql: sql.to_owned(), source };
    };
    match code.code {
        ErrorCode::ConstraintViolation => constraint(code.extended_code, &message, source),
        ErrorCode::DiskFull => SqlError::NoSpace { source },
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => SqlError::Corrupt { source },
        _ if code.extended_code == ffi::SQLITE_IOERR_CORRUPTFS => SqlError::Corrupt { source },
        _ if code.extended_code == ffi::SQLITE_BUSY_SNAPSHOT => SqlError::Serialization { source },
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::PermissionDenied => SqlError::Unavailable { source },
        _ => SqlError::Statement { sql: sql.to_owned(), source },
    }
}

fn constraint(extended: i32, message: &str, source: Cause) -> SqlError {
    let kind = match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            ConstraintKind::Unique
        }
        // `ON DELETE RESTRICT` is a trigger inside SQLite; the schemas have no triggers of their own.
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY | ffi::SQLITE_CONSTRAINT_TRIGGER => ConstraintKind::ForeignKey,
        _ => ConstraintKind::Check,
    };
    let name = message.split_once("constraint failed: ").map_or(message, |(_, name)| name);
    SqlError::Constraint { kind, name: name.to_owned(), source }
}
