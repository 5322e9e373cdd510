//! `/v2/<name>/blobs/<digest>`

use std::sync::Arc;

use axum::body::Body;
use entrepot_core::ports::BlobError;
use entrepot_core::ports::blobs::BlobSource;
use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::ports::notices::Notice;
use entrepot_core::range::{ByteRange, RangeSet, Selection};
use entrepot_core::{Action, Digest, RepositoryName};
use entrepot_runtime::serve::Peer;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_RANGE, LOCATION, RANGE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::{CONTENT_DIGEST, Call, empty};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::locate::locate;
use crate::redirect::Client;
use crate::source::Object;
use crate::{conditions, host, location, ranges};

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
    let caller = call.authorize(repository, Action::Pull).await?;
    let gateway = call.gateway;
    let read = |blob| answer(call, &caller, repository, digest, blob);
    locate(&gateway.lookups, &gateway.caches, (repository, digest), read).await
}

/// The answer from one key; `None` when it has no bytes.
async fn answer(
    call: &Call<'_>,
    caller: &Caller,
    repository: &RepositoryName,
    digest: Digest,
    blob: LocatedBlob,
) -> Result<Option<Response<Body>>, ApiError> {
    let etag = location::header(&format!("\"{digest}\""));
    let headers = &call.parts.headers;
    // First of all it must be there: what was deleted is not unchanged.
    let object = match open(call, blob).await {
        Err(BlobError::NotFound) => return Ok(None),
        opened => opened?,
    };
    let size = object.size();
    if conditions::is_unchanged(headers, &etag) {
        return Ok(Some(empty(StatusCode::NOT_MODIFIED, [(ETAG, etag)])));
    }
    let Asked { selection, portable } = select(headers, &etag, size);
    if selection == Selection::Unsatisfiable {
        return Err(ranges::unsatisfiable(size));
    }
    call.gateway.rates.bytes(|| repository.tenant(), &caller.principal, selected(&selection, size)).await?;
    if portable && let Some(response) = redirect(call, &object, &selection, digest) {
        return Ok(Some(response));
    }
    call.charge(ranges::kept(&object, &selection)).await?;
    match ranges::respond(call, &object, &selection).await {
        Err(BlobError::NotFound) => Ok(None),
        response => {
            let mut response = response?;
            describe(response.headers_mut(), digest);
            Ok(Some(response))
        }
    }
}

/// 307 to where the bytes are, if this client is to get them there. Nothing may keep it: the URL is good for a while only.
fn redirect(call: &Call<'_>, object: &Object, selection: &Selection, digest: Digest) -> Option<Response<Body>> {
    let BlobSource::Url { url, size } = &object.source else { return None };
    let peer = call.parts.extensions.get::<Peer>();
    let asked = host::asked(call.parts);
    let asked = asked.as_ref().map(Authority::host);
    // Behind a proxy, which may name itself to the registry and end TLS, clients know it by its public URL.
    let public = call.gateway.public.as_ref();
    let registry: Vec<&str> = asked.into_iter().chain(public.map(|url| url.host.as_str())).collect();
    let client = Client {
        address: peer.map(|peer| peer.address.ip()),
        registry: &registry,
        tls: peer.is_some_and(|peer| peer.tls) || public.is_some_and(|url| url.tls),
    };
    if !call.gateway.redirects.applies(&client, url, selection, *size) {
        return None;
    }
    let target = HeaderValue::from_str(url).ok()?;
    metrics::counter!("entrepot_redirects_total").increment(1);
    Some(empty(
        StatusCode::TEMPORARY_REDIRECT,
        [
            (LOCATION, target),
            (CONTENT_DIGEST, location::header(&digest.to_string())),
            (CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
            (CONTENT_LENGTH, HeaderValue::from_static("0")),
        ],
    ))
}

fn selected(selection: &Selection, size: u64) -> u64 {
    match selection {
        Selection::Whole => size,
        Selection::Single(range) => range.len(),
        Selection::Multiple(ranges) => ranges.iter().map(ByteRange::len).sum(),
        Selection::Unsatisfiable => 0,
    }
}

/// What is asked for.
struct Asked {
    selection: Selection,
    /// Whether storage, to which a redirected client sends the same headers, would take them the same way. A range that
    /// does not apply here may well apply there, and what this registry calls an entity tag storage does not know.
    portable: bool,
}

fn select(headers: &HeaderMap, etag: &HeaderValue, size: u64) -> Asked {
    let mut values = headers.get_all(RANGE).iter();
    let Some(value) = values.next() else { return Asked { selection: Selection::Whole, portable: true } };
    let range = value.to_str().ok().and_then(RangeSet::parse);
    match range.filter(|_| conditions::range_applies(headers, etag)) {
        None => Asked { selection: Selection::Whole, portable: false },
        Some(range) => {
            let alone = range.is_single() && values.next().is_none();
            Asked { selection: range.select(size), portable: alone && !headers.contains_key(IF_RANGE) }
        }
    }
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

async fn open(call: &Call<'_>, blob: LocatedBlob) -> Result<Object, BlobError> {
    let (caches, store) = (&call.gateway.caches, &call.gateway.ports.blobs);
    let source = match caches.source(blob.key) {
        Some(source) => source,
        None => {
            let source = store.open(blob.key).await?;
            if source.size() != blob.size {
                // Damaged, and so no 200: the digest in the answer would vouch for bytes that are not there.
                let damage = format!("{} has {} bytes instead of {}", blob.key, source.size(), blob.size);
                return Err(BlobError::Internal(damage.into()));
            }
            caches.keep_source(blob.key, &source);
            source
        }
    };
    Ok(Object { key: blob.key, source, store: Arc::clone(store) })
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
