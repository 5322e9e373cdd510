//! `GET /v2/`: the version check, which is also how clients find the token endpoint.

use axum::body::Body;
use http::Response;
use serde_json::json;

use super::{Call, json as json_response};
use crate::error::ApiError;

pub(crate) async fn get(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    call.gateway.auth.authenticate(call.parts).await?;
    Ok(json_response(&json!({}), "application/json", None))
}
