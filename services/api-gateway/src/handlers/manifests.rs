//! `/v2/<name>/manifests/<reference>`

use std::time::Duration;

use axum::body::Body;
use entrepot_core::manifest::{MAX_MANIFEST_BYTES, ManifestError};
use entrepot_core::ports::BlobError;
use entrepot_core::ports::blobs::BodyError;
use entrepot_core::ports::notices::Notice;
use entrepot_core::{Action, Algorithm, Digest, Manifest, MediaType, Reference, RepositoryName, Tag};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::{CONTENT_DIGEST, Call, empty};
use crate::error::ApiError;
use crate::{body, conditions, location};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// For the whole body of a PUT, which unlike a blob is small and held in memory.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Most `tag` parameters of one PUT; the specification lets a registry refuse more than ten.
const MAX_TAG_PARAMETERS: usize = 10;

pub(crate) async fn get(
    call: &Call<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Pull).await?;
    let lookups = &call.gateway.lookups;
    let manifest = match reference {
        Reference::Tag(_) => lookups.tagged_manifest(repository, reference).await?,
        Reference::Digest(digest) if call.is_head() => lookups.present_manifest(&(repository.clone(), *digest)).await?,
        Reference::Digest(digest) => lookups.manifest(&(repository.clone(), *digest)).await?,
    };
    let unchanged = conditions::is_unchanged(&call.parts.headers, &manifest.etag);
    let mut response = match (unchanged, call.is_head()) {
        (true, _) => empty(StatusCode::NOT_MODIFIED, []),
        (false, true) => Response::new(Body::empty()),
        (false, false) => Response::new(Body::from(manifest.payload.clone())),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, manifest.digest.clone());
    headers.insert(ETAG, manifest.etag.clone());
    if !unchanged {
        headers.insert(CONTENT_TYPE, manifest.media_type.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(manifest.payload.len()));
    }
    Ok(response)
}

pub(crate) async fn put(
    call: &Call<'_>,
    repository: &RepositoryName,
    reference: &Reference,
    request: Body,
) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Push).await?;
    let tags = tags(call, reference)?;
    let content_type = content_type(&call.parts.headers)?;
    let mut room = call.gateway.manifest_room.enter();
    let payload = body::read(request, MAX_MANIFEST_BYTES, &mut room, || ManifestError::TooLarge.into());
    let payload =
        tokio::time::timeout(BODY_TIMEOUT, payload).await.map_err(|_| BlobError::Body(BodyError::Stalled))??;
    let digest = match reference {
        Reference::Digest(expected) => verify(*expected, Digest::of(expected.algorithm(), &payload))?,
        Reference::Tag(_) => match call.query.get("digest") {
            Some(text) => {
                let expected: Digest = text.parse().map_err(|error| ApiError::digest_invalid(text, &error))?;
                verify(expected, Digest::of(expected.algorithm(), &payload))?
            }
            None => Digest::of(Algorithm::Sha256, &payload),
        },
    };
    let manifest = Manifest::parse(content_type.as_ref(), payload, digest)?;
    let subject = manifest.subject;
    call.gateway.ports.manifests.put_manifest(repository, manifest, tags).await?;
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, location::manifest(repository, &digest));
    headers.insert(CONTENT_DIGEST, location::header(&digest.to_string()));
    if let Some(subject) = subject {
        headers.insert(OCI_SUBJECT, location::header(&subject.to_string()));
    }
    for tag in call.query.all("tag") {
        headers.append(OCI_TAG, location::header(tag));
    }
    let mut response = empty(StatusCode::CREATED, []);
    response.headers_mut().extend(headers);
    Ok(response)
}

fn verify(expected: Digest, actual: Digest) -> Result<Digest, ApiError> {
    if expected == actual {
        return Ok(actual);
    }
    Err(entrepot_core::ports::BlobError::DigestMismatch { expected, actual }.into())
}

/// The tag of the path and those of `?tag=` parameters.
fn tags(call: &Call<'_>, reference: &Reference) -> Result<Vec<Tag>, ApiError> {
    let mut tags: Vec<Tag> = match reference {
        Reference::Tag(tag) => vec![tag.clone()],
        Reference::Digest(_) => Vec::new(),
    };
    for (count, text) in call.query.all("tag").enumerate() {
        if count >= MAX_TAG_PARAMETERS {
            return Err(ApiError::new(
                entrepot_core::ErrorKind::TooLarge,
                entrepot_core::OciCode::TagInvalid,
                format!("a manifest takes at most {MAX_TAG_PARAMETERS} tag parameters in one request"),
            ));
        }
        tags.push(
            text.parse()
                .map_err(|error: entrepot_core::tag::TagError| ApiError::reference_invalid(text, &error.into()))?,
        );
    }
    Ok(tags)
}

fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let malformed = || {
        ApiError::new(
            entrepot_core::ErrorKind::Invalid,
            entrepot_core::OciCode::ManifestInvalid,
            "Content-Type is not a media type",
        )
    };
    let parsed: MediaType = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
    // Generic types say nothing about the manifest; its own mediaType counts then.
    let generic = matches!(parsed.as_str(), "application/json" | "application/octet-stream" | "text/plain");
    Ok((!generic).then_some(parsed))
}

pub(crate) async fn delete(
    call: &Call<'_>,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ApiError> {
    call.authorize(repository, Action::Delete).await?;
    let result = call.gateway.ports.manifests.delete_manifest(repository, reference).await;
    if let Reference::Digest(digest) = reference {
        call.gateway.caches.manifests.forget(&(repository.clone(), *digest));
        call.tell_unless_unknown(&result, Notice::ManifestDeleted(repository.clone(), *digest));
    }
    result?;
    Ok(empty(StatusCode::ACCEPTED, []))
}
