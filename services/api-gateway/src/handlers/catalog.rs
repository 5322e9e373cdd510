//! `GET /v2/_catalog`: the repositories the caller may pull.

use axum::body::Body;
use http::Response;
use serde_json::json;

use super::{Call, json as json_response};
use crate::error::ApiError;
use crate::location;

pub(crate) async fn get(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let visibility = call.gateway.auth.catalog(call.parts).await?;
    let page = call.query.page()?;
    let limit = page.limit.to_string();
    let found = call.gateway.ports.manifests.list_repositories(&visibility, page).await?;
    let link = found.next.as_deref().map(|last| location::next("/v2/_catalog", &[("n", &limit), ("last", last)]));
    let names: Vec<&str> = found.items.iter().map(entrepot_core::RepositoryName::as_str).collect();
    Ok(json_response(&json!({ "repositories": names }), "application/json", link))
}
