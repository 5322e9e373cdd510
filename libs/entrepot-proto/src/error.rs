//! Errors of the ports across a call: every variant arrives as the variant it left as.
//!
//! The gRPC status carries the code of the error's kind; a trailer carries [`pb::ErrorDetail`]. A
//! status without one was made by something between the two ports (no connection, a deadline).

mod auth;
mod blob;
mod index;

use std::collections::BTreeMap;
use std::error::Error;
use std::str::FromStr;

use bytes::Bytes;
use entrepot_core::ErrorKind;
use entrepot_core::error::{Cause, Classify};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::pb::error::v1 as pb;

/// The trailer that carries [`pb::ErrorDetail`].
const TRAILER: &str = "entrepot-error-bin";
/// Longest text of causes: trailers are bounded by the receiver (16 KiB in hyper).
const MAX_MESSAGE_BYTES: usize = 2048;

/// The fields of a variant by name.
pub(crate) type Params = BTreeMap<String, String>;

/// The error enum of a port, as far as the wire is concerned.
pub(crate) trait PortError: Classify + Sized + 'static {
    /// The stable name of the variant and its fields.
    fn describe(&self) -> (&'static str, Params);
    /// The variant of that name; `None` when the name is unknown or a field is missing.
    fn from_reason(reason: &str, params: &Params) -> Option<Self>;
    /// The variant that lets a caller do the right thing about an unknown reason of this kind.
    fn from_kind(kind: ErrorKind, params: &Params) -> Option<Self>;
    /// The peer could not be asked.
    fn unavailable(cause: Cause) -> Self;
    /// Anything else.
    fn internal(cause: Cause) -> Self;
}

/// What a peer said about a fault of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RemoteFault(String);

/// The status that carries `error`.
pub(crate) fn to_status<E: PortError>(error: &E) -> Status {
    let (reason, params) = error.describe();
    let kind = error.kind();
    let detail = pb::ErrorDetail {
        reason: reason.to_owned(),
        kind: pb::ErrorKind::from(kind).into(),
        params,
        message: shorten(chain(error)),
    };
    let mut trailers = MetadataMap::new();
    trailers.insert_bin(TRAILER, MetadataValue::from_bytes(&detail.encode_to_vec()));
    Status::with_metadata(Code::from_i32(kind.grpc_code()), kind.as_str(), trailers)
}

/// The error that `status` carries.
pub(crate) fn from_status<E: PortError>(status: &Status) -> E {
    match detail(status) {
        Some(detail) => from_detail(detail),
        None if is_refusal(status.code()) => E::internal(Box::new(status.clone())),
        None => E::unavailable(Box::new(status.clone())),
    }
}

fn detail(status: &Status) -> Option<pb::ErrorDetail> {
    let bytes: Bytes = status.metadata().get_bin(TRAILER)?.to_bytes().ok()?;
    pb::ErrorDetail::decode(bytes).ok()
}

fn from_detail<E: PortError>(detail: pb::ErrorDetail) -> E {
    let wire = pb::ErrorKind::try_from(detail.kind).unwrap_or_default();
    let kind = ErrorKind::ALL.into_iter().find(|kind| pb::ErrorKind::from(*kind) == wire);
    let cause = |message| Box::new(RemoteFault(message));
    match kind {
        Some(ErrorKind::Unavailable) => E::unavailable(cause(detail.message)),
        _ => E::from_reason(&detail.reason, &detail.params)
            .or_else(|| E::from_kind(kind?, &detail.params))
            .unwrap_or_else(|| E::internal(cause(detail.message))),
    }
}

/// Codes that say "the peer understood and refuses": asking again gives the same answer.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::ResourceExhausted
    )
}

/// The error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

fn shorten(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
    text
}

/// Fields for [`PortError::describe`].
fn params<const N: usize>(fields: [(&str, String); N]) -> Params {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A field for [`PortError::from_reason`].
fn param<T: FromStr>(params: &Params, name: &str) -> Option<T> {
    params.get(name)?.parse().ok()
}

impl From<ErrorKind> for pb::ErrorKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Unauthenticated => Self::Unauthenticated,
            ErrorKind::Denied => Self::Denied,
            ErrorKind::OutOfRange => Self::OutOfRange,
            ErrorKind::TooLarge => Self::TooLarge,
            ErrorKind::TooManyRequests => Self::TooManyRequests,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::NoSpace => Self::NoSpace,
            ErrorKind::Unsupported => Self::Unsupported,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
