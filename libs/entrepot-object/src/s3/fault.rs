//! What S3 answered, by what the driver does about it.

use std::error::Error;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::{ObjectError, ObjectKey};

/// Why a request did not do what was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no such object.
    Missing,
    /// There is no such multipart upload: completed, aborted, or never begun.
    NoUpload,
    /// There is an object already, and none may be replaced.
    Exists,
    /// The parts are not those that were named.
    Parts(io::Error),
    /// No room, or over quota.
    Full(io::Error),
    /// No answer, or one that says to come again.
    Outage(io::Error),
    /// The store was not asked: it has not answered for some time.
    Paused,
    /// The store was not asked: there were no credentials to sign with, or none yet.
    Unsigned(io::Error),
    /// Any other answer: wrong credentials, a bucket that is gone.
    Refused { code: String, source: io::Error },
}

impl Fault {
    /// Sorts an error of the SDK, after its retries.
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        if lacks_credentials(&error) {
            return Self::Unsigned(io::Error::other(error));
        }
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let code = error.code().unwrap_or_default().to_owned();
        match (code.as_str(), status) {
            ("NoSuchUpload", _) => Self::NoUpload,
            ("NoSuchBucket" | "PermanentRedirect", _) => {
                Self::Refused { code: code.clone(), source: io::Error::other(error) }
            }
            ("NoSuchKey" | "NotFound", _) | ("", 404) => Self::Missing,
            ("PreconditionFailed", _) | (_, 412) => Self::Exists,
            ("InvalidPart" | "InvalidPartOrder" | "EntityTooSmall", _) => Self::Parts(io::Error::other(error)),
            ("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded", _) | (_, 507) => {
                Self::Full(io::Error::other(error))
            }
            // Another request works on the same key; 408 is a client too slow for the store.
            ("ConditionalRequestConflict" | "OperationAborted" | "RequestTimeout" | "SlowDown", _) | (_, 408 | 429) => {
                Self::Outage(io::Error::other(error))
            }
            // An error in the body of a 200 has a code of its own, such as InternalError.
            (_, 400..=499) => Self::Refused { code: code.clone(), source: io::Error::other(error) },
            _ => Self::Outage(io::Error::other(error)),
        }
    }

    /// Whether the store is to blame, and likely to do the same to the next request.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Outage(_))
    }

    /// A request that could not be put together.
    pub(super) fn unusable(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Refused { code: String::new(), source: io::Error::other(error) }
    }

    /// The code that S3 gave; empty if none matters.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    /// An answer that makes no sense.
    pub(super) fn nonsense(what: &'static str) -> Self {
        Self::Outage(io::Error::new(io::ErrorKind::InvalidData, what))
    }

    /// The port's word for it, where the driver itself can do nothing.
    pub(super) fn at(self, action: &'static str, key: &ObjectKey) -> ObjectError {
        match self {
            Self::Missing => ObjectError::NotFound { key: key.clone() },
            Self::Exists => ObjectError::AlreadySealed { key: key.clone() },
            Self::Full(source) => ObjectError::NoSpace { key: key.clone(), source },
            Self::Paused => ObjectError::Busy { action, key: key.clone() },
            Self::NoUpload => Self::Parts(io::Error::other("the multipart upload is gone")).at(action, key),
            Self::Parts(source) | Self::Outage(source) | Self::Unsigned(source) | Self::Refused { source, .. } => {
                ObjectError::Io { action, key: key.to_string(), source }
            }
        }
    }

    /// What the system answered, for an operation that has no key.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Parts(source)
            | Self::Full(source)
            | Self::Outage(source)
            | Self::Unsigned(source)
            | Self::Refused { source, .. } => source,
            Self::Missing | Self::NoUpload => io::ErrorKind::NotFound.into(),
            Self::Exists => io::ErrorKind::AlreadyExists.into(),
            Self::Paused => io::Error::new(io::ErrorKind::WouldBlock, "the store has not answered for some time"),
        }
    }
}

/// Whether the request was never sent because nobody could sign it.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(<dyn Error>::is::<CredentialsError>)
}
