//! Domain types to generated types and back. What comes from the wire is checked as strictly as
//! what comes from a client: a peer of another version may send anything.

mod auth;
mod blob;
pub(crate) mod core;
mod garbage;
mod index;
mod uploads;

use std::str::FromStr;
use std::time::Duration;

/// A message this version cannot understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field {0} is missing or malformed")]
pub struct WireError(pub(crate) &'static str);

impl From<WireError> for tonic::Status {
    fn from(error: WireError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Reads a field that is a text in the domain's own form.
pub(crate) fn parse<T: FromStr>(text: &str, field: &'static str) -> Result<T, WireError> {
    text.parse().map_err(|_| WireError(field))
}

/// Reads a list of such fields.
pub(crate) fn parse_all<T: FromStr>(texts: &[String], field: &'static str) -> Result<Vec<T>, WireError> {
    texts.iter().map(|text| parse(text, field)).collect()
}

/// Converts a message field that must be there.
pub(crate) fn required<M, T: TryFrom<M>>(message: Option<M>, field: &'static str) -> Result<T, WireError> {
    message.and_then(|message| T::try_from(message).ok()).ok_or(WireError(field))
}

/// Converts every message of a list.
pub(crate) fn convert_all<M, T: TryFrom<M, Error = WireError>>(messages: Vec<M>) -> Result<Vec<T>, WireError> {
    messages.into_iter().map(T::try_from).collect()
}

/// Whole milliseconds, rounded up so that a short time does not become none.
pub(crate) fn millis(duration: Duration) -> u64 {
    let rounded = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(rounded).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
