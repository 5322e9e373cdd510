use entrepot_core::ErrorKind;
use entrepot_core::error::Cause;
use entrepot_core::ports::blobs::{BlobError, BodyError};

use super::{Params, PortError, param, params};

impl PortError for BlobError {
    fn describe(&self) -> (&'static str, Params) {
        match self {
            Self::NotFound => ("not_found", Params::new()),
            Self::DigestMismatch { expected, actual } => {
                let fields = [("expected", expected.to_string()), ("actual", actual.to_string())];
                ("digest_mismatch", params(fields))
            }
            Self::OffsetMismatch { offset } => ("offset_mismatch", params([("offset", offset.to_string())])),
            Self::Fenced => ("fenced", Params::new()),
            Self::Body(error) => ("body", params([("failure", failure(*error).to_owned())])),
            Self::BadState => ("bad_state", Params::new()),
            Self::NoSpace => ("no_space", Params::new()),
            Self::Unavailable(_) => ("unavailable", Params::new()),
            Self::Internal(_) => ("internal", Params::new()),
            _ => ("other", Params::new()),
        }
    }

    fn from_reason(reason: &str, params: &Params) -> Option<Self> {
        match reason {
            "not_found" => Some(Self::NotFound),
            "digest_mismatch" => {
                Some(Self::DigestMismatch { expected: param(params, "expected")?, actual: param(params, "actual")? })
            }
            "offset_mismatch" => Some(Self::OffsetMismatch { offset: param(params, "offset")? }),
            "fenced" => Some(Self::Fenced),
            "body" => Some(Self::Body(body_error(params.get("failure")?)?)),
            "bad_state" => Some(Self::BadState),
            "no_space" => Some(Self::NoSpace),
            _ => None,
        }
    }

    fn from_kind(kind: ErrorKind, params: &Params) -> Option<Self> {
        match kind {
            ErrorKind::NotFound => Some(Self::NotFound),
            ErrorKind::Conflict => Some(Self::Fenced),
            ErrorKind::OutOfRange => Some(Self::OffsetMismatch { offset: param(params, "offset")? }),
            ErrorKind::NoSpace => Some(Self::NoSpace),
            _ => None,
        }
    }

    fn unavailable(cause: Cause) -> Self {
        Self::Unavailable(cause)
    }

    fn internal(cause: Cause) -> Self {
        Self::Internal(cause)
    }
}

fn failure(error: BodyError) -> &'static str {
    match error {
        BodyError::Cut => "cut",
        BodyError::Stalled => "stalled",
        BodyError::TooLong => "too_long",
    }
}

fn body_error(name: &str) -> Option<BodyError> {
    [BodyError::Cut, BodyError::Stalled, BodyError::TooLong].into_iter().find(|error| failure(*error) == name)
}
