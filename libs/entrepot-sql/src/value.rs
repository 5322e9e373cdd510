//! What goes into a statement and what comes out of it.

use bytes::Bytes;

use crate::SqlError;

/// A parameter, borrowed for the length of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// SQL `NULL`.
    Null,
    /// Any integer, date (milliseconds since 1970) or truth value (0 or 1).
    Int(i64),
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl Param<'_> {
    /// An unsigned number, such as a size in bytes.
    ///
    /// # Errors
    /// [`SqlError::Column`] above `i64::MAX`, which no engine can store.
    pub fn unsigned(value: u64) -> Result<Self, SqlError> {
        let value = i64::try_from(value)
            .map_err(|_| SqlError::Column { column: value.to_string(), expected: "an integer below 2^63" })?;
        Ok(Param::Int(value))
    }
}

macro_rules! int_params {
    ($($int:ty),*) => {$(
        impl From<$int> for Param<'_> {
            fn from(value: $int) -> Self {
                Param::Int(i64::from(value))
            }
        }
    )*};
}
int_params!(i64, i32, u32, u16, u8, bool);

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Param::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Param::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Param::Blob(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Param::Blob(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Param<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Param::Blob(value)
    }
}

impl<'a> From<&'a Bytes> for Param<'a> {
    fn from(value: &'a Bytes) -> Self {
        Param::Blob(value)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Param::Null, Into::into)
    }
}

/// The parameters of one statement, in order: `params![name, size, None::<i64>]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::Param::from($value)),*] as &[$crate::Param<'_>]
    };
}

/// A JSON array of texts, for the `{list $n}` fragment.
pub fn list<I>(items: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let items = items.into_iter().map(|item| item.as_ref().into()).collect();
    serde_json::Value::Array(items).to_string()
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// SQL `NULL`.
    Null,
    /// Any integer, date (milliseconds since 1970) or truth value.
    Int(i64),
    /// UTF-8 text.
    Text(String),
    /// Bytes; cloning shares them.
    Blob(Bytes),
}

/// A type that a [`Value`] can be read as.
pub trait FromValue<'r>: Sized {
    /// What an error says was expected.
    const EXPECTED: &'static str;

    /// The value as this type, or `None` where it is another.
    fn from_value(value: &'r Value) -> Option<Self>;
}

macro_rules! int_values {
    ($($int:ty => $expected:literal),*) => {$(
        impl FromValue<'_> for $int {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(int) => Self::try_from(*int).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
int_values!(i64 => "an integer", u64 => "a non-negative integer", u32 => "an integer of 32 bits", u16 => "an integer of 16 bits");

impl FromValue<'_> for bool {
    const EXPECTED: &'static str = "0 or 1";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl<'r> FromValue<'r> for &'r str {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &'r Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl FromValue<'_> for String {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &Value) -> Option<Self> {
        <&str>::from_value(value).map(str::to_owned)
    }
}

impl FromValue<'_> for Bytes {
    const EXPECTED: &'static str = "bytes";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<'r, T: FromValue<'r>> FromValue<'r> for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &'r Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
