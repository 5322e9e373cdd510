//! What a request asks of the gateway, by its route and headers alone.

use entrepot_core::manifest::MAX_MANIFEST_BYTES;
use entrepot_core::{RepositoryName, TenantName};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method};

use super::Class;
use crate::route::Route;

/// What an upload holds of a body that has more: four buffers of 1 MiB on their way to the disk or to blob-store.
const UPLOAD_BYTES: u64 = 4 << 20;
/// What a download holds for a client that is slower than the storage.
const DOWNLOAD_BYTES: u64 = 256 << 10;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(super) class: Class,
    pub(super) tenant: Option<TenantName>,
    pub(super) bytes: u64,
}

impl Ask {
    /// A look-up that belongs to no tenant.
    pub(crate) const LOOK_UP: Self = Self { class: Class::Metadata, tenant: None, bytes: 0 };

    pub(crate) fn new(route: &Route, parts: &Parts) -> Self {
        let headers = &parts.headers;
        let (class, bytes) = match (route, &parts.method) {
            (Route::Manifest(..), &Method::PUT) => (Class::Finish, body(headers, MAX_MANIFEST_BYTES as u64)),
            (Route::Upload(..), _) => (Class::Finish, body(headers, UPLOAD_BYTES)),
            (Route::Uploads(_), _) => (Class::Start, body(headers, UPLOAD_BYTES)),
            (Route::Blob(..), &Method::GET) => (Class::Blob, DOWNLOAD_BYTES),
            _ => (Class::Metadata, 0),
        };
        Self { class, tenant: route.repository().map(RepositoryName::tenant), bytes }
    }
}

/// Bytes of a request body that may be in memory at once; `most` where no length is announced.
fn body(headers: &HeaderMap, most: u64) -> u64 {
    match headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok()) {
        Some(length) => length.min(most),
        // Over HTTP/2 a body needs no announcement, but uploads that begin with none say so.
        None if headers.contains_key(TRANSFER_ENCODING) => most,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn ask(method: &str, path: &str, header: Option<(&str, &str)>) -> (Class, Option<String>, u64) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let ask = Ask::new(&Route::parse(path).unwrap().unwrap(), &parts);
        (ask.class, ask.tenant.map(|tenant| tenant.to_string()), ask.bytes)
    }

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_route_has_its_class() {
        let team = || Some("team".to_owned());
        let upload = "/v2/team/app/blobs/uploads/5f0c7a3e-5b1c-4f7e-9d8a-0c6c3b6f2a10";
        let blob = format!("/v2/team/app/blobs/{SHA}");
        assert_eq!(ask("GET", "/v2/", None), (Class::Metadata, None, 0));
        assert_eq!(ask("GET", &blob, None), (Class::Blob, team(), DOWNLOAD_BYTES));
        assert_eq!(ask("HEAD", &blob, None), (Class::Metadata, team(), 0));
        assert_eq!(ask("DELETE", &blob, None), (Class::Metadata, team(), 0));
        assert_eq!(ask("GET", "/v2/team/app/manifests/v1", None), (Class::Metadata, team(), 0));
        assert_eq!(ask("GET", "/v2/app/tags/list", None), (Class::Metadata, Some("library".to_owned()), 0));
        let length = |length| Some(("content-length", length));
        assert_eq!(ask("POST", "/v2/team/app/blobs/uploads/", length("0")), (Class::Start, team(), 0));
        assert_eq!(ask("PUT", "/v2/team/app/manifests/v1", length("700")), (Class::Finish, team(), 700));
        assert_eq!(ask("PATCH", upload, length("99999999999")), (Class::Finish, team(), UPLOAD_BYTES));
        assert_eq!(ask("PATCH", upload, Some(("transfer-encoding", "chunked"))), (Class::Finish, team(), UPLOAD_BYTES));
        assert_eq!(ask("PATCH", upload, length("-1")), (Class::Finish, team(), 0));
        assert_eq!(ask("GET", upload, None), (Class::Finish, team(), 0));
    }
}
