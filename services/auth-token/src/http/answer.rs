//! What the token endpoint answers.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use entrepot_core::{
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
        let detail = json!({ "traceId": telemetry::current_trace_id() });
        let code = error.oci_code().as_str();
        let body = json!({ "errors": [{ "code": code, "message": error.to_string(), "detail": detail }] });
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
