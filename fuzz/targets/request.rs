//! Any request gets an answer of the OCI Distribution API, and in mode `managed` only the right ones get content.
#![no_main]

#[path = "request/registry.rs"]
mod registry;

use std::sync::LazyLock;

use api_gateway::AccessMode;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use entrepot_core::Digest;
use entrepot_runtime::telemetry::{RemoteTrace, in_trace};
use futures_util::stream;
use libfuzzer_sys::fuzz_target;
use registry::Registry;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// What this API answers while its dependencies do.
const STATUSES: [u16; 15] = [200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409, 413, 416, 429];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

// A byte of choices, "METHOD path", lines "name: value", an empty line, the body. `{token}` and `{sig}` stand for a
// valid token and for the signature of the open session.
fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = data.split_first() else { return };
    let mode = if choices & 1 == 1 { AccessMode::Managed } else { AccessMode::Open };
    let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(rest.len());
    let (head, body) = (String::from_utf8_lossy(&rest[..end]), rest.get(end + 2..).unwrap_or_default());
    let signature = registry::signature();
    let mut head = head.replace("{sig}", &signature);
    if head.contains("{token}") {
        head = head.replace("{token}", &registry::token());
    }
    let Some(request) = request(&head, body, choices & 2 == 2) else { return };
    let admitted = mode == AccessMode::Open
        || request.headers().contains_key(header::AUTHORIZATION)
        || request.uri().query().is_some_and(|query| query.contains(&signature));
    let method = request.method().clone();
    RUNTIME.block_on(async {
        let router = Registry::new().await.gateway(mode).router();
        let trace = RemoteTrace::from_headers(request.headers());
        let Ok(response) = in_trace(&trace, tracing::Span::none, router.oneshot(request)).await;
        let status = response.status();
        assert!(STATUSES.contains(&status.as_u16()), "{status}");
        assert!(admitted || !(status.is_success() || status.is_redirection()), "{status}");
        assert!(mode == AccessMode::Managed || !matches!(status.as_u16(), 401 | 403), "{status}");
        check(&method, response).await;
    });
});

fn request(head: &str, body: &[u8], cut: bool) -> Option<Request<Body>> {
    let mut lines = head.lines();
    let (method, uri) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        request = request.header(name, value);
    }
    let body = Bytes::copy_from_slice(body);
    let body = match cut {
        false => Body::from(body),
        true => Body::from_stream(stream::iter([Ok(body), Err("the client went away")])),
    };
    request.body(body).ok()
}

async fn check(method: &Method, response: Response<Body>) {
    let (parts, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    check_headers(&parts.headers);
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH).filter(|_| method != Method::HEAD) {
        assert_eq!(length.to_str().unwrap(), body.len().to_string());
    }
    if parts.status.is_client_error() {
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
        if method != Method::HEAD {
            check_error(&serde_json::from_slice(&body).unwrap());
        }
    }
    let has = |name| parts.headers.contains_key(name);
    assert_eq!(parts.status == StatusCode::UNAUTHORIZED, has(header::WWW_AUTHENTICATE));
    assert_eq!(parts.status == StatusCode::METHOD_NOT_ALLOWED, has(header::ALLOW));
}

fn check_error(body: &Value) {
    let error = &body["errors"][0];
    let code = error["code"].as_str().unwrap();
    assert!(!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    let trace = error["detail"]["traceId"].as_str().unwrap();
    assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

fn check_headers(headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    if let Some(location) = text("location") {
        check_relative(location);
    }
    if let Some(link) = text("link") {
        let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        assert!(!target.contains(['<', '>', '"']));
        check_relative(target);
    }
    if let Some(digest) = text("docker-content-digest") {
        assert!(digest.parse::<Digest>().is_ok());
    }
    if let Some(challenge) = text("www-authenticate") {
        let (realm, rest) = challenge.strip_prefix("Bearer realm=\"").unwrap().split_once('"').unwrap();
        assert!(realm.ends_with("/token") && realm.parse::<Uri>().is_ok(), "{challenge}");
        assert!(rest.starts_with(&format!(",service=\"{}\"", registry::SERVICE)));
    }
}

fn check_relative(target: &str) {
    let uri: Uri = target.parse().unwrap();
    assert!(uri.scheme().is_none() && uri.authority().is_none() && uri.path().starts_with("/v2/"), "{target}");
}
