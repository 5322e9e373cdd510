//! `/v2/<name>/blobs/uploads/…`: the gateway conducts, index and blob-store never call each other.

mod appending;
mod completion;
#[cfg(test)]
mod fakes;
mod segments;

use std::sync::Arc;

use axum::body::Body;
use entrepot_core::content_range::ContentRange;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::blobs::ByteStream;
use entrepot_core::ports::notices::Notice;
use entrepot_core::{Action, Algorithm, Digest, RepositoryName, Resource, UploadId};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use self::appending::append_all;
use self::completion::{Completion, Failed, Held};
use super::{CONTENT_DIGEST, Call, UPLOAD_UUID, empty};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::{body, location};

/// Starts an upload, or does all of it: `?mount=` links an existing blob, `?digest=` carries the
/// whole blob in this request.
pub(crate) async fn post(
    call: &Call<'_>,
    repository: &RepositoryName,
    request: Body,
) -> Result<Response<Body>, ApiError> {
    let caller = call.authorize(repository, Action::Push).await?;
    if call.gateway.drain.is_draining() {
        return Err(ApiError::draining());
    }
    if let Some(mount) = call.query.get("mount") {
        let digest = parse_digest(mount)?;
        if try_mount(call, &caller, repository, digest).await? {
            return Ok(created(repository, digest));
        }
        // Whatever the reason, the answer is that of a fresh upload: no word on who has the blob.
        return open(call, &caller, repository, Algorithm::Sha256)
            .await
            .map(|id| accepted(call, Session { repository, id }, 0));
    }
    let Some(digest) = call.query.get("digest") else {
        let algorithm = match call.query.get("digest-algorithm") {
            None => Algorithm::Sha256,
            Some(name) => name.parse().map_err(|error| ApiError::digest_invalid(name, &error))?,
        };
        body::discard(request.into_data_stream()).await;
        return open(call, &caller, repository, algorithm)
            .await
            .map(|id| accepted(call, Session { repository, id }, 0));
    };
    let digest = parse_digest(digest)?;
    let id = open(call, &caller, repository, digest.algorithm()).await?;
    let session = Session { repository, id };
    finish(call, session, None, digest, body::stream(request, None), false).await?;
    Ok(created(repository, digest))
}

async fn open(
    call: &Call<'_>,
    caller: &Caller,
    repository: &RepositoryName,
    algorithm: Algorithm,
) -> Result<UploadId, ApiError> {
    Ok(call.gateway.ports.uploads.open(repository, &caller.principal, algorithm).await?)
}

async fn try_mount(
    call: &Call<'_>,
    caller: &Caller,
    repository: &RepositoryName,
    digest: Digest,
) -> Result<bool, ApiError> {
    // Without `from` the blob is looked for in the whole tenant ("automatic content discovery").
    let from = match call.query.get("from").map(str::parse::<RepositoryName>) {
        None => None,
        Some(Ok(from)) => Some(from),
        Some(Err(_)) => return Ok(false),
    };
    let source = from.clone().map_or_else(|| Resource::Tenant(repository.tenant()), Resource::Repository);
    if !call.gateway.auth.may_mount(call.parts, caller, repository, source)? {
        return Ok(false);
    }
    match call.gateway.ports.links.mount(repository, from.as_ref(), digest).await {
        Ok(mounted) => Ok(mounted),
        Err(IndexError::RepositoryUnknown(_) | IndexError::BlobUnknown(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A chunk. Without `Content-Range` the bytes go wherever the upload stands, as docker streams.
///
/// A long one is stored as if it had come in several, for docker and podman send a whole layer in one request.
pub(crate) async fn patch(
    call: &Call<'_>,
    repository: &RepositoryName,
    id: UploadId,
    request: Body,
) -> Result<Response<Body>, ApiError> {
    authorize_session(call, repository, id).await?;
    let session = Session { repository, id };
    let range = chunk_range(&call.parts.headers)?;
    let uploads = &call.gateway.ports.uploads;
    let position = match uploads.begin_append(repository, id, range.map(|range| range.start)).await {
        Ok(position) => position,
        Err(error) => return Err(refuse(call, session, request, error).await),
    };
    let body = body::stream(request, range.map(|range| range.length));
    match append_all(&held(call, session), position, body, call.gateway.segment).await {
        Ok(offset) => Ok(accepted(call, session, offset)),
        Err(Failed::Index(error)) => Err(error.into()),
        Err(Failed::Blob(error)) => Err(error.into()),
    }
}

/// Completes an upload, with the last chunk, the whole blob or nothing in the body.
pub(crate) async fn put(
    call: &Call<'_>,
    repository: &RepositoryName,
    id: UploadId,
    request: Body,
) -> Result<Response<Body>, ApiError> {
    authorize_session(call, repository, id).await?;
    let digest = call.query.get("digest").ok_or_else(|| {
        ApiError::new(
            entrepot_core::ErrorKind::Invalid,
            entrepot_core::OciCode::DigestInvalid,
            "completing an upload takes the query parameter digest",
        )
    })?;
    let digest = parse_digest(digest)?;
    let range = chunk_range(&call.parts.headers)?;
    // Only a body can have a range; some clients send the range of the last chunk with an empty one.
    let range = range.filter(|_| call.parts.headers.get(CONTENT_LENGTH).is_none_or(|length| length != "0"));
    let body = body::stream(request, range.map(|range| range.length));
    let session = Session { repository, id };
    finish(call, session, range.map(|range| range.start), digest, body, true).await?;
    Ok(created(repository, digest))
}

/// The upload session that a request works on.
#[derive(Clone, Copy)]
struct Session<'a> {
    repository: &'a RepositoryName,
    id: UploadId,
}

fn held(call: &Call<'_>, session: Session<'_>) -> Held {
    let ports = &call.gateway.ports;
    let Session { repository, id } = session;
    Held {
        uploads: Arc::clone(&ports.uploads),
        blobs: Arc::clone(&ports.blobs),
        notices: Arc::clone(&ports.notices),
        repository: repository.clone(),
        id,
    }
}

async fn finish(
    call: &Call<'_>,
    session: Session<'_>,
    offset: Option<u64>,
    digest: Digest,
    body: ByteStream,
    resumable: bool,
) -> Result<(), ApiError> {
    let permit = call.take_permit();
    let hold = call.gateway.drain.hold();
    let completion = Completion { held: held(call, session), offset, digest, resumable, _permit: permit, _hold: hold };
    match completion.run(body).await {
        Err(Failed::Index(IndexError::UploadOffset { offset })) => Err(out_of_range(call, session, offset)),
        Err(Failed::Index(error)) => Err(error.into()),
        Err(Failed::Blob(error)) => Err(error.into()),
        Ok(lost) => {
            if let Some(lost) = lost {
                call.gateway.caches.forget_source(lost);
                call.gateway.caches.forget_blob(&(session.repository.clone(), digest));
            }
            Ok(())
        }
    }
}

pub(crate) async fn status(
    call: &Call<'_>,
    repository: &RepositoryName,
    id: UploadId,
) -> Result<Response<Body>, ApiError> {
    authorize_session(call, repository, id).await?;
    let offset = call.gateway.ports.uploads.status(repository, id).await?;
    Ok(empty(StatusCode::NO_CONTENT, session_headers(call, Session { repository, id }, offset)))
}

pub(crate) async fn cancel(
    call: &Call<'_>,
    repository: &RepositoryName,
    id: UploadId,
) -> Result<Response<Body>, ApiError> {
    authorize_session(call, repository, id).await?;
    call.gateway.ports.uploads.release(repository, id, None, false).await?;
    call.gateway.ports.notices.publish(Notice::GarbageQueued);
    Ok(empty(StatusCode::NO_CONTENT, []))
}

/// The signed `Location` is enough: a token that expires during a push cannot stop it. Without it only who opened the
/// session may use it, since its id is no secret.
async fn authorize_session(call: &Call<'_>, repository: &RepositoryName, id: UploadId) -> Result<(), ApiError> {
    let signature = call.query.get("_sig");
    if !signature.is_some_and(|signature| call.gateway.auth.is_session(repository, id, signature)) {
        let caller = call.authorize(repository, Action::Push).await?;
        if call.gateway.ports.uploads.owner(repository, id).await? != caller.principal {
            return Err(IndexError::UploadUnknown.into());
        }
    }
    Ok(())
}

fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error| ApiError::digest_invalid(text, &error))
}

fn chunk_range(headers: &HeaderMap) -> Result<Option<ContentRange>, ApiError> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let range: ContentRange = text.parse().map_err(|error| ApiError::header(&CONTENT_RANGE, &error))?;
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length != range.length && length != 0 => {
            let reason = format!("it covers {} bytes but Content-Length is {length}", range.length);
            Err(ApiError::header(&CONTENT_RANGE, &reason))
        }
        _ => Ok(Some(range)),
    }
}

async fn refuse(call: &Call<'_>, session: Session<'_>, request: Body, error: IndexError) -> ApiError {
    body::discard(request.into_data_stream()).await;
    match error {
        IndexError::UploadOffset { offset } => out_of_range(call, session, offset),
        error => error.into(),
    }
}

/// 416 tells where to go on: `Range` and a `Location` to do it.
fn out_of_range(call: &Call<'_>, session: Session<'_>, offset: u64) -> ApiError {
    let mut error = ApiError::from(IndexError::UploadOffset { offset });
    for (name, value) in session_headers(call, session, offset) {
        error = error.with_header(name, value.to_str().unwrap_or_default());
    }
    error
}

fn session_headers(call: &Call<'_>, session: Session<'_>, offset: u64) -> [(HeaderName, HeaderValue); 3] {
    let Session { repository, id } = session;
    let signature = call.gateway.auth.sign_session(repository, id);
    [
        (LOCATION, location::upload(repository, id, &signature)),
        (RANGE, location::upload_range(offset)),
        (UPLOAD_UUID, location::header(&id.to_string())),
    ]
}

fn accepted(call: &Call<'_>, session: Session<'_>, offset: u64) -> Response<Body> {
    empty(StatusCode::ACCEPTED, session_headers(call, session, offset))
}

fn created(repository: &RepositoryName, digest: Digest) -> Response<Body> {
    empty(
        StatusCode::CREATED,
        [(LOCATION, location::blob(repository, &digest)), (CONTENT_DIGEST, location::header(&digest.to_string()))],
    )
}
