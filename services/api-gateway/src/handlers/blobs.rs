//! `/v2/<name>/blobs/<digest>`

use axum::body::Body;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::ports::notices::Notice;
use entrepot_core::ports::{BlobError, IndexError};
use entrepot_core::range::{RangeSet, Selection};
use entrepot_core::{Action, Digest, RepositoryName};
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::{CONTENT_DIGEST, Call, empty};
use crate::error::ApiError;
use crate::{conditions, location, ranges};

/// Answered from the database and extends the lease: a client that gets 200 skips its upload.
pub(crate) async fn head(
    call: &Call<'_>,
    repository: &RepositoryName,
    digest: Digest,
) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Pull).await?;
    let blob = call.gateway.ports.links.stat(repository, digest).await?;
    let mut response = empty(StatusCode::OK, []);
    describe(response.headers_mut(), digest);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
    Ok(response)
}

pub(crate) async fn get(
    call: &Call<'_>,
    repository: &RepositoryName,
    digest: Digest,
) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Pull).await?;
    let etag = location::header(&format!("\"{digest}\""));
    let headers = &call.parts.headers;
    // First of all it must be there: what was deleted is not unchanged.
    let source = open(call, repository, digest).await?;
    if conditions::is_unchanged(headers, &etag) {
        return Ok(empty(StatusCode::NOT_MODIFIED, [(ETAG, etag)]));
    }
    let selection =
        if conditions::range_applies(headers, &etag) { select(headers, source.size()) } else { Selection::Whole };
    let mut response = ranges::respond(call, source, selection).await?;
    describe(response.headers_mut(), digest);
    Ok(response)
}

fn select(headers: &HeaderMap, size: u64) -> Selection {
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok()).and_then(RangeSet::parse);
    range.map_or(Selection::Whole, |range| range.select(size))
}

fn describe(headers: &mut HeaderMap, digest: Digest) {
    let text = digest.to_string();
    headers.insert(ETAG, location::header(&format!("\"{text}\"")));
    headers.insert(CONTENT_DIGEST, location::header(&text));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A proxy that compressed or changed the bytes would break digest and ranges.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=31536000, immutable, no-transform"));
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
}

async fn open(call: &Call<'_>, repository: &RepositoryName, digest: Digest) -> Result<BlobSource, ApiError> {
    let lookups = &call.gateway.lookups;
    match open_at(call, lookups.location(repository, digest).await?).await {
        // The remembered key may be gone while the blob lives on under a new one: look once more.
        Err(BlobError::NotFound) => call.gateway.caches.forget_blob(&(repository.clone(), digest)),
        opened => return Ok(opened?),
    }
    let blob = lookups.location(repository, digest).await?;
    match open_at(call, blob).await {
        Ok(source) => Ok(source),
        // Deleted since it was located, or lost: keys are no business of the client's.
        Err(BlobError::NotFound) => {
            call.gateway.caches.forget_blob(&(repository.clone(), digest));
            tracing::error!(repo.name = %repository, blob.digest = %digest, blob.key = %blob.key, "no bytes for {digest}");
            Err(IndexError::BlobUnknown(digest).into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn open_at(call: &Call<'_>, blob: LocatedBlob) -> Result<BlobSource, BlobError> {
    if let Some(source) = call.gateway.caches.source(blob.key) {
        return Ok(source);
    }
    let source = call.gateway.ports.blobs.open(blob.key).await?;
    call.gateway.caches.keep_source(blob.key, &source);
    Ok(source)
}

pub(crate) async fn delete(
    call: &Call<'_>,
    repository: &RepositoryName,
    digest: Digest,
) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Delete).await?;
    let result = call.gateway.ports.links.unlink(repository, digest).await;
    call.gateway.caches.forget_blob(&(repository.clone(), digest));
    call.tell_unless_unknown(&result, Notice::BlobDeleted(repository.clone(), digest));
    result?;
    Ok(empty(StatusCode::ACCEPTED, []))
}
