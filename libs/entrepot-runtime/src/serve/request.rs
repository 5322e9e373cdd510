use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use http_body::Body;
use hyper::body::Incoming;
use tower::{Service, ServiceExt};
use tracing::info_span;

use super::{
    Peer, ServeOptions,
    body::{RequestBody, ResponseBody},
    io::Activity,
};
use crate::{
    BoxError,
    sendfile::FileSender,
    shutdown::Drain,
    telemetry::{self, RemoteTrace},
};

/// Hands the requests of one connection to the service.
pub(super) struct Requests<S> {
    service: S,
    peer: Peer,
    options: ServeOptions,
    drain: Drain,
    pub(super) activity: Arc<Activity>,
    pub(super) file_sender: Option<FileSender>,
}

impl<S> Requests<S> {
    pub(super) fn new(service: S, peer: Peer, options: ServeOptions, drain: Drain, activity: Arc<Activity>) -> Self {
        Self { service, peer, options, drain, activity, file_sender: None }
    }

    pub(super) fn call<B>(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody<B>>, S::Error>> + Send + 'static + use<S, B>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let in_flight = self.activity.begin();
        let mut request =
            request.map(|incoming| RequestBody::new(incoming, self.activity.clone(), self.options.body_stall));
        request.extensions_mut().insert(self.peer);
        if let Some(sender) = &self.file_sender {
            request.extensions_mut().insert(sender.clone());
        }
        // While draining a client is sent to another replica as soon as it has its answer, not when its next request
        // meets a connection that has just been closed. HTTP/2 has GOAWAY for that.
        let hold = self.drain.is_draining().then(|| {
            self.activity.leave();
            self.drain.hold()
        });
        let drain = (request.version() < Version::HTTP_2).then(|| self.drain.clone());
        let remote = RemoteTrace::from_headers(request.headers());
        let span = || {
            info_span!(
                "http.request",
                otel.name = request.method().as_str(),
                otel.kind = "server",
                http.request.method = request.method().as_str(),
                url.path = request.uri().path(),
                network.peer.address = %self.peer.address.ip(),
            )
        };
        let span = telemetry::spans_enabled().then(span);
        let answer = AssertUnwindSafe(self.service.clone().oneshot(request)).catch_unwind();
        telemetry::in_trace(&remote, move || span.unwrap_or_else(tracing::Span::none), async move {
            match answer.await {
                Ok(answer) => answer.map(|mut response| {
                    if drain.is_some_and(|drain| drain.is_draining()) {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    response.map(|body| ResponseBody::new(Some(body), in_flight, hold))
                }),
                // The panic hook has said where.
                Err(_panic) => {
                    let mut response = Response::new(ResponseBody::new(None, in_flight, hold));
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    Ok(response)
                }
            }
        })
    }
}
