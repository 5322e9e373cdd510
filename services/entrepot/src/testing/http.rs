//! A small blocking HTTP client, and what tests expect of an answer.

use std::io;
use std::net::IpAddr;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::TestRegistry;

type Body = BoxBody<Bytes, io::Error>;

/// The runtime of the clients, so that they outlive any registry.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    })
}

fn client(from: Option<IpAddr>) -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(from);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// A request under construction; [`Call::send`] sends it.
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    request: http::request::Builder,
    body: Body,
    from: Option<IpAddr>,
}

impl TestRegistry {
    /// A request for `target`, a path with its query.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::new(method, &format!("{}{target}", self.url()))
    }

    /// Sends a GET.
    pub fn get(&self, target: &str) -> Response {
        self.call("GET", target).send()
    }

    /// Sends a HEAD.
    pub fn head(&self, target: &str) -> Response {
        self.call("HEAD", target).send()
    }

    /// Sends a DELETE.
    pub fn delete(&self, target: &str) -> Response {
        self.call("DELETE", target).send()
    }

    /// Sends a POST without a body.
    pub fn post(&self, target: &str) -> Response {
        self.call("POST", target).send()
    }

    /// Asks the token endpoint; without a user for an anonymous token.
    pub fn token(&self, user: Option<(&str, &str)>, scopes: &[&str]) -> String {
        let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
        let call = self.call("GET", &format!("/token?service=entrepot{scopes}"));
        let call = match user {
            Some((name, password)) => call.basic(name, password),
            None => call,
        };
        let answer = call.send().expect(200).json();
        answer["token"].as_str().expect("a token").to_owned()
    }
}

impl Call {
    /// A request for an absolute URL.
    pub fn new(method: &str, url: &str) -> Self {
        let request = Request::builder().method(method).uri(url);
        Self { request, body: Empty::new().map_err(|never| match never {}).boxed(), from: None }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    /// Presents a token.
    pub fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    /// Presents a name and a password.
    pub fn basic(self, name: &str, password: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
    }

    /// Sends these bytes with their length.
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Full::new(bytes.into()).map_err(|never| match never {}).boxed();
        self
    }

    /// Sends these chunks without a length.
    pub fn chunked(mut self, chunks: Vec<Bytes>) -> Self {
        let frames = chunks.into_iter().map(|chunk| Ok(http_body::Frame::data(chunk)));
        self.body = BodyExt::boxed(StreamBody::new(stream::iter(frames)));
        self
    }

    /// Sends chunks that come when they come, without a length.
    pub fn streamed(mut self, chunks: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Self {
        let frames = chunks.map(|chunk| Ok(http_body::Frame::data(chunk)));
        self.body = BodyExt::boxed(StreamBody::new(frames));
        self
    }

    /// Sends it from this address, one of the machine's own.
    pub fn from(mut self, address: &str) -> Self {
        self.from = Some(address.parse().expect("an address"));
        self
    }

    /// Sends the request and reads the whole answer.
    pub fn send(self) -> Response {
        static CLIENT: OnceLock<Client<HttpConnector, Body>> = OnceLock::new();
        let client = match self.from {
            None => CLIENT.get_or_init(|| client(None)).clone(),
            from => client(from),
        };
        let request = self.request.body(self.body).expect("a well-formed request");
        let what = format!("{} {}", request.method(), request.uri());
        runtime().block_on(async {
            let response = client.request(request).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap_or_else(|error| panic!("body of {what}: {error:?}")).to_bytes();
            Response { what, status: parts.status, headers: parts.headers, body }
        })
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    what: String,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Response {
    /// Requires a status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, String::from_utf8_lossy(&self.body));
        self
    }

    /// The value of a header, if there is one.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of ASCII"))
    }

    /// The value of a header that must be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("{} has no {name}: {:?}", self.what, self.headers))
    }

    /// `Location`, which must be relative.
    #[track_caller]
    pub fn location(&self) -> &str {
        let location = self.header(LOCATION.as_str());
        assert!(location.starts_with("/v2/"), "{}: {location} is not relative", self.what);
        location
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {:?}", self.what, self.body))
    }

    /// Requires an error in the OCI format with `code`; gives its `errors[0]`.
    #[track_caller]
    pub fn error(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.what, String::from_utf8_lossy(&self.body));
        assert_eq!(self.header(CONTENT_TYPE.as_str()), "application/json", "{}", self.what);
        let body = self.json();
        let [error] = body["errors"].as_array().expect("errors").as_slice() else { panic!("not one error: {body}") };
        assert_eq!(error["code"], code, "{}: {body}", self.what);
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        let trace = error["detail"]["traceId"].as_str().unwrap_or_default();
        assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}: {body}", self.what);
        error.clone()
    }
}
