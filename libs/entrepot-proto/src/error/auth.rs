use std::time::Duration;

use entrepot_core::ErrorKind;
use entrepot_core::error::Cause;
use entrepot_core::ports::auth::AuthError;

use super::{Params, PortError, param, params, shorten};
use crate::wire::millis;

impl PortError for AuthError {
    fn describe(&self) -> (&'static str, Params) {
        match self {
            Self::InvalidCredentials => ("invalid_credentials", Params::new()),
            Self::TooManyAttempts { retry_after } => {
                ("too_many_attempts", params([("retry_after_millis", millis(*retry_after).to_string())]))
            }
            Self::InvalidRequest(text) => ("invalid_request", params([("text", shorten(text.clone()))])),
            Self::Unavailable(_) => ("unavailable", Params::new()),
            Self::Internal(_) => ("internal", Params::new()),
            _ => ("other", Params::new()),
        }
    }

    fn from_reason(reason: &str, params: &Params) -> Option<Self> {
        match reason {
            "invalid_credentials" => Some(Self::InvalidCredentials),
            "too_many_attempts" => {
                let retry_after = Duration::from_millis(param(params, "retry_after_millis")?);
                Some(Self::TooManyAttempts { retry_after })
            }
            "invalid_request" => Some(Self::InvalidRequest(param(params, "text")?)),
            _ => None,
        }
    }

    fn from_kind(kind: ErrorKind, params: &Params) -> Option<Self> {
        match kind {
            ErrorKind::Unauthenticated => Some(Self::InvalidCredentials),
            ErrorKind::TooManyRequests => Some(Self::TooManyAttempts { retry_after: Duration::from_secs(1) }),
            ErrorKind::Invalid => Some(Self::InvalidRequest(param(params, "text")?)),
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
