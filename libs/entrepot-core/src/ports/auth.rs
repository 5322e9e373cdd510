//! Tokens: the port of auth-token.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Cause, Classify, ErrorKind, OciCode};
use crate::principal::Principal;
use crate::scope::Scope;

/// How the caller of the token endpoint proves who it is.
#[derive(Clone)]
pub enum Credentials {
    /// None given: an anonymous token.
    Anonymous,
    /// Name and password, or robot name and secret.
    Password {
        /// Account name.
        name: String,
        /// Its secret; never logged.
        password: String,
    },
    /// A refresh token given out before.
    Refresh(String),
}

impl Credentials {
    /// The account they claim to be of, for the log; cut, since it is the client's text.
    pub fn account(&self) -> Option<&str> {
        const MOST: usize = 300;
        match self {
            Self::Password { name, .. } => Some(&name[..name.floor_char_boundary(MOST)]),
            Self::Anonymous | Self::Refresh(_) => None,
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { name, .. } => write!(f, "Password {{ name: {name:?} }}"),
            Self::Refresh(_) => f.write_str("Refresh"),
        }
    }
}

/// A request at the token endpoint.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Who asks.
    pub credentials: Credentials,
    /// The service the token is for; must be the registry's own name.
    pub service: Option<String>,
    /// What is asked for. The token grants what of it the caller may do.
    pub scopes: Vec<Scope>,
    /// True when a refresh token is wanted too (`offline_token`, `access_type=offline`).
    pub offline: bool,
    /// Where the request came from, for limits on failed logins.
    pub peer: Option<IpAddr>,
}

/// A token.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The signed token (JWT, ES256).
    pub token: String,
    /// Seconds it is valid for.
    pub expires_in: Duration,
    /// When it was issued, in seconds since the epoch.
    pub issued_at: u64,
    /// A refresh token, when asked for and the caller is not anonymous.
    pub refresh_token: Option<String>,
}

/// What the rights of a caller are without a token: the answer to Basic credentials sent straight
/// to the registry, and of mode `open`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized {
    /// Who it is.
    pub principal: Principal,
    /// What of the requested scopes is granted.
    pub granted: Vec<Scope>,
}

/// One change of what somebody may do: a grant given, replaced or taken away, an account removed, a secret changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightsChange {
    /// Whose rights changed; [`Principal::Anonymous`] stands for everybody's.
    pub subject: Principal,
    /// Which change it was: they are counted up as they are committed.
    pub generation: u64,
}

/// A part of the list of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RightsChanges {
    /// The last change of each principal that changed since, oldest first.
    pub changes: Vec<RightsChange>,
    /// From where to go on.
    pub cursor: u64,
    /// True when there is more already.
    pub more: bool,
}

/// Issues tokens, publishes the keys to verify them, and tells whose rights have changed since.
///
/// # Contract
/// - Granted is requested ∩ allowed, decided for each scope by itself; nothing granted is still a
///   valid token (the registry then answers 403 with a reason), never an error.
/// - Unknown users and wrong passwords cost the same time and give the same error.
/// - A token says which generation of rights had been committed before anything was read for it. One that says less
///   than the generation of a later change of its principal, or of everybody, may say too much.
/// - A change that was acknowledged before a call of `changes` is in its answer (or in the next parts of it) for
///   [`CHANGES_KEPT`], which no token outlives on a clock that is less than an hour off.
#[async_trait]
pub trait TokenService: Send + Sync + 'static {
    /// Issues a token.
    async fn issue(&self, request: TokenRequest) -> Result<IssuedToken, AuthError>;

    /// Checks credentials and scopes without issuing a token.
    async fn authorize(&self, request: TokenRequest) -> Result<Authorized, AuthError>;

    /// The public keys as a JSON Web Key Set (RFC 7517), current first.
    async fn key_set(&self) -> Result<String, AuthError>;

    /// The changes of rights after the generation `after`: 0 at first, later the `cursor` of the last answer.
    async fn changes(&self, after: u64) -> Result<RightsChanges, AuthError>;
}

/// How long a change of rights is told of.
pub const CHANGES_KEPT: Duration = Duration::from_secs(2 * 3600);

/// Why auth-token did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Unknown account or wrong secret.
    #[error("the user name or password is wrong")]
    InvalidCredentials,
    /// Too many failed attempts.
    #[error("too many failed logins; try again later")]
    TooManyAttempts {
        /// When to try again.
        retry_after: Duration,
    },
    /// The request makes no sense.
    #[error("{0}")]
    InvalidRequest(String),
    /// The database does not answer.
    #[error("the token service does not answer")]
    Unavailable(#[source] Cause),
    /// A fault.
    #[error("the token service failed")]
    Internal(#[source] Cause),
}

impl Classify for AuthError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidCredentials => ErrorKind::Unauthenticated,
            Self::TooManyAttempts { .. } => ErrorKind::TooManyRequests,
            Self::InvalidRequest(_) => ErrorKind::Invalid,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn oci_code(&self) -> OciCode {
        match self {
            Self::InvalidCredentials => OciCode::Unauthorized,
            Self::TooManyAttempts { .. } => OciCode::TooManyRequests,
            Self::InvalidRequest(_) => OciCode::Unsupported,
            Self::Unavailable(_) => OciCode::Unavailable,
            Self::Internal(_) => OciCode::Unknown,
        }
    }
}
