//! Domain types as column values.

use std::str::FromStr;

use bytes::Bytes;
use entrepot_core::{Algorithm, Digest};
use entrepot_sql::Row;

use crate::error::{Failure, Malformed};

/// A digest as stored: one byte for the algorithm, then the raw hash. Sorts as the text does.
pub(crate) fn digest(digest: &Digest) -> Vec<u8> {
    let algorithm = match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    };
    let mut bytes = Vec::with_capacity(1 + digest.raw().len());
    bytes.push(algorithm);
    bytes.extend_from_slice(digest.raw());
    bytes
}

fn parse_digest(bytes: &[u8]) -> Option<Digest> {
    let (algorithm, raw) = bytes.split_first()?;
    let algorithm = match algorithm {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha512,
        _ => return None,
    };
    Digest::from_raw(algorithm, raw)
}

/// Reads a digest.
pub(crate) fn get_digest(row: &Row, column: &'static str) -> Result<Digest, Failure> {
    let bytes: Bytes = row.get(column)?;
    Ok(parse_digest(&bytes).ok_or(Malformed { column })?)
}

/// Reads a digest that may be `NULL`.
pub(crate) fn get_digest_opt(row: &Row, column: &'static str) -> Result<Option<Digest>, Failure> {
    let bytes: Option<Bytes> = row.get(column)?;
    bytes.map(|bytes| parse_digest(&bytes).ok_or(Malformed { column }.into())).transpose()
}

/// Reads a domain type from its text.
pub(crate) fn get_parsed<T: FromStr>(row: &Row, column: &'static str) -> Result<T, Failure> {
    let text: &str = row.get(column)?;
    Ok(text.parse().map_err(|_| Malformed { column })?)
}

/// An id that was never used before: reusing one would let a late request hit something newer.
pub(crate) fn fresh_id() -> i64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    // 59 of these bits are random, the others are the version of the UUID. Never negative: ids travel unsigned.
    i64::from_ne_bytes((high >> 1).to_ne_bytes())
}
