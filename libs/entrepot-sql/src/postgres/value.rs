//! Parameters and values in PostgreSQL's binary form.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::{
    Arguments, Column, Postgres, Row as _, Type, ValueRef,
    encode::{Encode, IsNull},
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgValueFormat, types::Oid},
};

use crate::{Param, Row, Value};

/// Parameters in order.
pub(super) fn arguments<'p>(params: impl Iterator<Item = Param<'p>>) -> Result<PgArguments, BoxDynError> {
    let mut arguments = PgArguments::default();
    for param in params {
        match param {
            Param::Null => arguments.add(Null)?,
            Param::Int(int) => arguments.add(int)?,
            Param::Text(text) => arguments.add(text)?,
            Param::Blob(bytes) => arguments.add(bytes)?,
        }
    }
    Ok(arguments)
}

/// A `NULL` whose type the server finds by where it stands.
struct Null;

impl Type<Postgres> for Null {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Null {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// Rows of an answer. The error says what cannot be read.
pub(super) fn rows(rows: &[PgRow]) -> Result<Vec<Row>, String> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let columns: Arc<[Box<str>]> = first.columns().iter().map(|column| column.name().into()).collect();
    let row = |row: &PgRow| {
        let values = (0..columns.len()).map(|position| value(row, position)).collect::<Result<_, _>>()?;
        Ok(Row { columns: Arc::clone(&columns), values })
    };
    rows.iter().map(row).collect()
}

fn value(row: &PgRow, position: usize) -> Result<Value, String> {
    let raw = row.try_get_raw(position).map_err(|error| error.to_string())?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let bytes = raw.as_bytes().map_err(|error| error.to_string())?;
    let other = || format!("column {position} has the type {}, which has no counterpart here", raw.type_info());
    if raw.format() != PgValueFormat::Binary {
        return Err(other());
    }
    let oid = raw.type_info().oid().map_or(0, |oid| oid.0);
    let integer = |value: Option<i64>| value.map(Value::Int).ok_or_else(other);
    match oid {
        BOOL => integer(bytes.first().map(|byte| i64::from(*byte != 0))),
        INT2 => integer(bytes.try_into().ok().map(|bytes| i16::from_be_bytes(bytes).into())),
        INT4 => integer(bytes.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).into())),
        INT8 => integer(bytes.try_into().ok().map(i64::from_be_bytes)),
        TEXT | VARCHAR | NAME => {
            Ok(Value::Text(std::str::from_utf8(bytes).map_err(|error| error.to_string())?.to_owned()))
        }
        BYTEA => Ok(Value::Blob(Bytes::copy_from_slice(bytes))),
        _ => Err(other()),
    }
}

// Numbers of the built-in types (pg_type.dat), which never change.
const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const NAME: u32 = 19;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const VARCHAR: u32 = 1043;
