//! `GET /v2/<name>/referrers/<digest>`: always 200 with an index; 404 would mean "no such API".

use axum::body::Body;
use entrepot_core::ports::index::Referrer;
use entrepot_core::{Action, Digest, MediaType, Page, RepositoryName};
use http::{HeaderName, HeaderValue, Response};
use serde_json::{Value, json};

use super::{Call, json as json_response};
use crate::error::ApiError;
use crate::location;

/// Entries of one answer: with the largest annotations a manifest may have this stays far below
/// what clients read, and real answers fit in one page.
const PAGE: u64 = 250;

pub(crate) async fn list(
    call: &Call<'_>,
    repository: &RepositoryName,
    subject: Digest,
) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Pull).await?;
    let filter = call.query.text("artifactType")?;
    let asked = call.query.page()?;
    let page = Page::new(asked.after, Some(u64::from(asked.limit).clamp(1, PAGE)));
    let limit = page.limit.to_string();
    let found = call.gateway.ports.manifests.list_referrers(repository, subject, filter, page).await?;
    let path = format!("/v2/{repository}/referrers/{subject}");
    let link = found.next.as_deref().map(|last| {
        let mut parameters = vec![("n", limit.as_str()), ("last", last)];
        parameters.extend(filter.map(|filter| ("artifactType", filter)));
        location::next(&path, &parameters)
    });
    let body = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": found.items.iter().map(descriptor).collect::<Vec<_>>(),
    });
    let mut response = json_response(&body, MediaType::OCI_INDEX, link);
    if filter.is_some() {
        const APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
        response.headers_mut().insert(APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn descriptor(referrer: &Referrer) -> Value {
    let mut descriptor = json!({
        "mediaType": referrer.media_type.as_str(),
        "digest": referrer.digest,
        "size": referrer.size,
    });
    if let Some(artifact_type) = &referrer.artifact_type {
        descriptor["artifactType"] = json!(artifact_type);
    }
    if !referrer.annotations.is_empty() {
        descriptor["annotations"] = json!(referrer.annotations);
    }
    descriptor
}
