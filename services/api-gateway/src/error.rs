//! Errors as clients see them (OCI Distribution Specification, "Error codes").

use std::error::Error;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Body;
use entrepot_core::error::Classify;
use entrepot_core::manifest::ManifestError;
use entrepot_core::ports::{AuthError, BlobError, IndexError};
use entrepot_core::reference::ReferenceError;
use entrepot_core::{ErrorKind, OciCode, Principal, RepositoryName};
use entrepot_runtime::telemetry;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::json;

/// When to come back where nothing better is known; each client gets its own time.
const RETRY_AFTER_SECONDS: RangeInclusive<u16> = 2..=6;
/// Nobody waits longer than this without asking again.
const MAX_RETRY_AFTER: u128 = 3600;

/// An error answer: what went wrong in words for the person in front of the client, and nothing of
/// what only the log should know.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Answer>);

#[derive(Debug)]
struct Answer {
    kind: ErrorKind,
    code: OciCode,
    message: String,
    detail: serde_json::Value,
    headers: HeaderMap,
    principal: Option<Principal>,
    login: Option<Login>,
}

/// A login that was tried.
#[derive(Debug)]
struct Login {
    account: Option<String>,
    client: Option<IpAddr>,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, code: OciCode, message: impl Into<String>) -> Self {
        let (message, detail, headers) = (message.into(), json!({}), HeaderMap::new());
        Self(Box::new(Answer { kind, code, message, detail, headers, principal: None, login: None }))
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> OciCode {
        self.0.code
    }

    /// A header of the answer; a value that is no header text is left out.
    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn with_detail(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.0.detail[key] = value.into();
        self
    }

    /// Who was refused, for the log.
    pub(crate) fn with_principal(mut self, principal: &Principal) -> Self {
        self.0.principal = Some(principal.clone());
        self
    }

    /// The account that somebody tried to log in to, and from where, for the log.
    pub(crate) fn with_login(mut self, account: Option<String>, client: Option<IpAddr>) -> Self {
        self.0.login = Some(Login { account, client });
        self
    }

    /// One line about what was refused to somebody: not to a client that has only not logged in yet.
    pub(crate) fn log_denial(&self, repository: Option<&RepositoryName>, has_credentials: bool) {
        let is_denial = match self.0.kind {
            ErrorKind::Denied | ErrorKind::TooManyRequests => true,
            ErrorKind::Unauthenticated => has_credentials,
            _ => false,
        };
        if !is_denial {
            return;
        }
        trace_this();
        let repository = repository.map(RepositoryName::as_str);
        let principal = self.0.principal.as_ref().map(tracing::field::display);
        let account = self.0.login.as_ref().and_then(|login| login.account.as_deref());
        let client = self.0.login.as_ref().and_then(|login| login.client).map(tracing::field::display);
        let (status, reason) = (self.0.kind.http_status(), &self.0.message);
        tracing::info!(
            status,
            repo.name = repository,
            principal,
            account.name = account,
            client.address = client,
            reason,
            "a request was refused"
        );
    }

    pub(crate) fn name_invalid(name: &str, error: &dyn Display) -> Self {
        Self::new(ErrorKind::Invalid, OciCode::NameInvalid, error.to_string()).with_detail("name", shorten(name))
    }

    pub(crate) fn digest_invalid(digest: &str, error: &dyn Display) -> Self {
        Self::new(ErrorKind::Invalid, OciCode::DigestInvalid, error.to_string()).with_detail("digest", shorten(digest))
    }

    pub(crate) fn reference_invalid(text: &str, error: &ReferenceError) -> Self {
        let code = match error {
            ReferenceError::Digest(_) => OciCode::DigestInvalid,
            ReferenceError::Tag(_) => OciCode::TagInvalid,
        };
        Self::new(ErrorKind::Invalid, code, error.to_string()).with_detail("reference", shorten(text))
    }

    pub(crate) fn upload_unknown(error: &dyn Display) -> Self {
        Self::new(ErrorKind::NotFound, OciCode::BlobUploadUnknown, error.to_string())
    }

    pub(crate) fn query(name: &str, expected: &str) -> Self {
        Self::new(ErrorKind::Invalid, OciCode::Unsupported, format!("the query parameter {name} must be {expected}"))
    }

    pub(crate) fn header(name: &HeaderName, expected: &dyn Display) -> Self {
        Self::new(ErrorKind::Invalid, OciCode::BlobUploadInvalid, format!("the header {name} is wrong: {expected}"))
    }

    pub(crate) fn method(allowed: &[Method]) -> Self {
        let list = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        Self::new(ErrorKind::Unsupported, OciCode::Unsupported, format!("this path takes {list}"))
            .with_header(ALLOW, &list)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            ErrorKind::NotFound,
            OciCode::NameUnknown,
            "no such path in the OCI Distribution API; it begins with /v2/",
        )
    }

    pub(crate) fn unauthorized(message: &str, challenge: &str) -> Self {
        Self::new(ErrorKind::Unauthenticated, OciCode::Unauthorized, message).with_header(WWW_AUTHENTICATE, challenge)
    }

    pub(crate) fn draining() -> Self {
        Self::new(ErrorKind::Unavailable, OciCode::Unavailable, "this replica is shutting down; try again")
    }

    fn of(error: &(impl Classify + 'static)) -> Self {
        let kind = error.kind();
        if matches!(kind, ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::NoSpace) {
            log(error, kind);
        }
        Self::new(kind, error.oci_code(), error.to_string())
    }

    /// Renders the answer. Docker shows nothing but `message`, so the trace id stands there too.
    pub(crate) fn into_response(self) -> Response<Body> {
        let answer = *self.0;
        let status = StatusCode::from_u16(answer.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let trace_id = telemetry::current_trace_id();
        let mut detail = answer.detail;
        detail["traceId"] = json!(trace_id);
        let logged = status.is_server_error() || matches!(answer.kind, ErrorKind::Denied | ErrorKind::TooManyRequests);
        let message = if logged { format!("{} (trace id {trace_id})", answer.message) } else { answer.message };
        let body = json!({"errors": [{"code": answer.code.as_str(), "message": message, "detail": detail}]});
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        *response.headers_mut() = answer.headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if answer.kind.is_retryable() && !response.headers().contains_key(RETRY_AFTER) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(rand::random_range(RETRY_AFTER_SECONDS)));
        }
        metrics::counter!("entrepot_http_errors_total", "kind" => answer.kind.as_str()).increment(1);
        response
    }
}

/// A request that nobody traces has an id only once it was asked for: before that its log lines would have none.
fn trace_this() {
    telemetry::current_trace_id();
}

fn log(error: &(dyn Error + 'static), kind: ErrorKind) {
    trace_this();
    let chain = telemetry::Chain(error);
    if kind == ErrorKind::Internal {
        tracing::error!(error = %chain, "a request failed");
    } else {
        tracing::warn!(error = %chain, "a dependency refused a request");
    }
}

/// Client text echoed in an answer is cut, so that an answer never grows with the request.
fn shorten(text: &str) -> String {
    text.chars().take(300).collect()
}

impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> Self {
        Self::of_index(&error)
    }
}

impl ApiError {
    /// As from the error itself, which other requests may have got too.
    pub(crate) fn of_index(error: &IndexError) -> Self {
        let answer = Self::of(error);
        match error {
            IndexError::ReferencesMissing(digests) => {
                answer.with_detail("missing", digests.iter().take(20).map(ToString::to_string).collect::<Vec<_>>())
            }
            IndexError::RepositoryUnknown(name) => answer.with_detail("name", name.as_str()),
            _ => answer,
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        Self::of(&error)
    }
}

impl From<ManifestError> for ApiError {
    fn from(error: ManifestError) -> Self {
        Self::of(&error)
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let answer = Self::of(&error);
        match error {
            AuthError::TooManyAttempts { retry_after } => answer.with_retry_after(retry_after),
            _ => answer,
        }
    }
}

impl ApiError {
    /// At least that long, and a little longer for some: clients refused together must not come back together.
    pub(crate) fn with_retry_after(self, after: Duration) -> Self {
        let seconds = after.as_millis().div_ceil(1000).clamp(1, MAX_RETRY_AFTER);
        let seconds = seconds + rand::random_range(0..=seconds / 4 + 1);
        self.with_header(RETRY_AFTER, &seconds.to_string())
    }
}
