//! One module per resource; each function is one verb: authorise, call a port, render.

pub(crate) mod base;
pub(crate) mod blobs;
pub(crate) mod catalog;
pub(crate) mod manifests;
pub(crate) mod referrers;
pub(crate) mod tags;
pub(crate) mod uploads;

use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use entrepot_core::error::Classify;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::notices::Notice;
use entrepot_core::{Action, ErrorKind, RepositoryName};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::admission::Permit;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::gateway::Inner;
use crate::query::Query;

/// `Docker-Content-Digest`
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// `Docker-Upload-UUID`
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// A request under way.
pub(crate) struct Call<'a> {
    pub(crate) gateway: &'a Inner,
    pub(crate) parts: &'a Parts,
    pub(crate) query: &'a Query<'a>,
    /// The request's place, for whoever knows better what it needs or lasts longer than the request.
    pub(crate) permit: Mutex<Option<Permit>>,
}

impl Call<'_> {
    /// Authenticates the caller, requires `action` on `repository`, and takes the request from the caller's budgets.
    pub(crate) async fn authorize(&self, repository: &RepositoryName, action: Action) -> Result<Caller, ApiError> {
        let caller = self.gateway.auth.authorize(self.parts, repository, action).await?;
        self.gateway.rates.request(|| repository.tenant(), &caller.principal).await?;
        Ok(caller)
    }

    /// The place of the request, for work that goes on without it.
    pub(crate) fn take_permit(&self) -> Option<Permit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Counts `bytes` of bodies in memory, if they are more than the request was let in with.
    pub(crate) async fn charge(&self, bytes: u64) -> Result<(), ApiError> {
        let Some(permit) = self.take_permit() else { return Ok(()) };
        let permit = permit.charge(bytes).await?;
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        Ok(())
    }

    /// Tells the other gateways of a deletion; also of one whose answer got lost.
    pub(crate) fn tell_unless_unknown(&self, result: &Result<(), IndexError>, notice: Notice) {
        if !result.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            self.gateway.ports.notices.publish(notice);
        }
    }

    pub(crate) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }
}

/// An answer without a body.
pub(crate) fn empty(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}

/// A JSON answer with an optional `Link` to the next page.
pub(crate) fn json(body: &serde_json::Value, content_type: &'static str, link: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(link) = link {
        response.headers_mut().insert(http::header::LINK, link);
    }
    response
}
