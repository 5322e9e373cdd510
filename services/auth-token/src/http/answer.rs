//! What the token endpoint answers.

use std::net::IpAddr;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use entrepot_core::{
    ErrorKind,
    error::Classify,
    ports::{AuthError, auth::IssuedToken},
};
use entrepot_runtime::telemetry;
use serde_json::{Value, json};

/// The token under both of its names: `token` for docker, `access_token` for OAuth2 clients.
pub(super) fn token(issued: &IssuedToken) -> Response {
    let mut body = json!({
        "token": issued.token,
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in.as_secs(),
        "issued_at": rfc3339(issued.issued_at),
    });
    if let Some(refresh_token) = &issued.refresh_token {
        body["refresh_token"] = Value::from(refresh_token.as_str());
    }
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// One line about a login that was refused. What was presented as its secret never gets here.
pub(super) fn log_denial(error: &AuthError, account: Option<&str>, client: Option<IpAddr>) {
    let kind = error.kind();
    if !matches!(kind, ErrorKind::Unauthenticated | ErrorKind::TooManyRequests) {
        return;
    }
    // A request that nobody traces has an id only once it was asked for: before that the line would have none.
    telemetry::current_trace_id();
    let client = client.map(tracing::field::display);
    tracing::info!(
        status = kind.http_status(),
        account.name = account,
        client.address = client,
        reason = %error,
        "a token was refused"
    );
}

/// An error in the format of the OCI Distribution Specification.
pub(super) struct Refused(pub(super) AuthError);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = &self.0;
        let kind = error.kind();
        let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(error = %telemetry::Chain(error), "no token issued");
        }
        let trace_id = telemetry::current_trace_id();
        let code = error.oci_code().as_str();
        // Docker shows nothing but the message, so the trace id stands there too.
        let message = if kind.is_retryable() { format!("{error} (trace id {trace_id})") } else { error.to_string() };
        let detail = json!({ "traceId": trace_id });
        let body = json!({ "errors": [{ "code": code, "message": message, "detail": detail }] });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
        }
        let retry_after = match error {
            AuthError::TooManyAttempts { retry_after } => Some(retry_after.as_secs().max(1)),
            _ => kind.is_retryable().then_some(5),
        };
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Seconds since 1970 as RFC 3339 (the proleptic Gregorian calendar in 400-year cycles that start on 1 March).
fn rfc3339(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests;
