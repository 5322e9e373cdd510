//! `GET /v2/<name>/tags/list`

use axum::body::Body;
use entrepot_core::{Action, RepositoryName, Tag};
use http::Response;
use serde_json::json;

use super::{Call, json as json_response};
use crate::error::ApiError;
use crate::location;

pub(crate) async fn list(call: &Call<'_>, repository: &RepositoryName) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Pull).await?;
    let page = call.query.page()?;
    let limit = page.limit.to_string();
    let found = call.gateway.ports.manifests.list_tags(repository, page).await?;
    let path = format!("/v2/{repository}/tags/list");
    let link = found.next.as_deref().map(|last| location::next(&path, &[("n", &limit), ("last", last)]));
    let tags: Vec<&str> = found.items.iter().map(Tag::as_str).collect();
    Ok(json_response(&json!({ "name": repository.as_str(), "tags": tags }), "application/json", link))
}
