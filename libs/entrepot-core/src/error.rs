//! One table from what went wrong to what a client is told.
//!
//! Every port error has a [`ErrorKind`] and, where a client of the OCI API may see it, an
//! [`OciCode`]. The two matches below are the only place where a status is chosen.

use std::fmt;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request can never work; change it.
    Invalid,
    /// The thing named does not exist, or the caller may not know of it.
    NotFound,
    /// The state of the thing forbids it now; look again, then decide.
    Conflict,
    /// No or bad credentials.
    Unauthenticated,
    /// Known, and not allowed.
    Denied,
    /// An offset or range outside what there is.
    OutOfRange,
    /// More bytes or entries than allowed.
    TooLarge,
    /// Too many requests; later.
    TooManyRequests,
    /// A dependency does not answer; later.
    Unavailable,
    /// No room left to store it.
    NoSpace,
    /// The registry does not do this.
    Unsupported,
    /// A fault of ours; the log knows more.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Unauthenticated,
        Self::Denied,
        Self::OutOfRange,
        Self::TooLarge,
        Self::TooManyRequests,
        Self::Unavailable,
        Self::NoSpace,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The HTTP status.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Unsupported => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::OutOfRange => 416,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::NoSpace => 507,
        }
    }

    /// The gRPC status code as a number (`google.rpc.Code`).
    pub const fn grpc_code(self) -> i32 {
        match self {
            Self::Invalid | Self::TooLarge => 3,
            Self::NotFound => 5,
            Self::Denied => 7,
            Self::TooManyRequests | Self::NoSpace => 8,
            Self::Conflict => 9,
            Self::OutOfRange => 11,
            Self::Unsupported => 12,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }

    /// A stable name for the wire and for metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::OutOfRange => "out_of_range",
            Self::TooLarge => "too_large",
            Self::TooManyRequests => "too_many_requests",
            Self::Unavailable => "unavailable",
            Self::NoSpace => "no_space",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }

    /// True when the same request may work later: the answer carries `Retry-After`.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::TooManyRequests | Self::Unavailable | Self::NoSpace)
    }
}

/// An error code of the OCI Distribution Specification ("Error codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OciCode {
    /// Blob unknown to the repository.
    BlobUnknown,
    /// Upload request invalid.
    BlobUploadInvalid,
    /// Upload session unknown.
    BlobUploadUnknown,
    /// Digest malformed or not that of the content.
    DigestInvalid,
    /// A manifest names content that the repository does not have.
    ManifestBlobUnknown,
    /// Manifest invalid.
    ManifestInvalid,
    /// Manifest unknown to the repository.
    ManifestUnknown,
    /// Repository name invalid.
    NameInvalid,
    /// Repository unknown.
    NameUnknown,
    /// Length given and length received differ, or too large.
    SizeInvalid,
    /// A tag that breaks the grammar. Distribution's code; the specification has none.
    TagInvalid,
    /// Authentication required.
    Unauthorized,
    /// Access denied.
    Denied,
    /// The operation is unsupported.
    Unsupported,
    /// Too many requests.
    TooManyRequests,
    /// The registry cannot answer now. Distribution's code.
    Unavailable,
    /// A fault of the registry. Distribution's code.
    Unknown,
}

impl OciCode {
    /// The code as written in the error body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for OciCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What every port error can say about itself.
pub trait Classify: std::error::Error {
    /// What the caller can do about it.
    fn kind(&self) -> ErrorKind;
    /// The code of the OCI error body.
    fn oci_code(&self) -> OciCode;
}

/// The cause of a fault behind a port: logged with its chain, never shown to a client.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_kind_has_its_own_http_status_and_name() {
        let statuses: HashSet<u16> = ErrorKind::ALL.iter().map(|kind| kind.http_status()).collect();
        let names: HashSet<&str> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!((statuses.len(), names.len()), (ErrorKind::ALL.len(), ErrorKind::ALL.len()));
    }

    #[test]
    fn only_faults_are_server_errors() {
        for kind in ErrorKind::ALL {
            let fault = matches!(kind, ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::NoSpace);
            assert_eq!(kind.http_status() >= 500, fault, "{kind:?}");
            assert!((1..=16).contains(&kind.grpc_code()));
        }
    }
}
