//! Rows, read by column name or position.

use std::{fmt, sync::Arc};

use crate::{FromValue, SqlError, Value};

/// One row of an answer.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) columns: Arc<[Box<str>]>,
    pub(crate) values: Vec<Value>,
}

impl Row {
    /// The value of a column: an integer, text, bytes, or an `Option` of one where it may be `NULL`.
    ///
    /// # Errors
    /// [`SqlError::Column`] when there is no such column or it holds another type.
    pub fn get<'r, T: FromValue<'r>>(&'r self, column: impl Column) -> Result<T, SqlError> {
        column
            .find(&self.columns)
            .and_then(|position| self.values.get(position))
            .and_then(T::from_value)
            .ok_or_else(|| SqlError::Column { column: column.to_string(), expected: T::EXPECTED })
    }
}

/// A column's name or its position from 0.
pub trait Column: Copy + fmt::Display {
    /// The position among these names.
    fn find(self, columns: &[Box<str>]) -> Option<usize>;
}

impl Column for &str {
    fn find(self, columns: &[Box<str>]) -> Option<usize> {
        columns.iter().position(|column| &**column == self)
    }
}

impl Column for usize {
    fn find(self, _columns: &[Box<str>]) -> Option<usize> {
        Some(self)
    }
}
