//! What a request asks of the gateway, before anything of it is done.

use entrepot_core::manifest::MAX_MANIFEST_BYTES;
use entrepot_core::{RepositoryName, TenantName};
use http::Method;

use super::Class;
use crate::route::Route;

/// What an upload counts as that has more: the buffers that it has for sure on their way to the disk. Where it is alone it
/// has more, out of memory that has a limit of its own (`limits.upload_memory`). A gateway of a fleet holds less, a window of
/// HTTP/2 towards blob-store; counting the same there bounds how many uploads come to that.
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

    /// What `method` on `route` asks for with a body of `length` bytes, or of a length that is not announced.
    pub(crate) fn new(route: &Route, method: &Method, length: Option<u64>) -> Self {
        let in_memory = |most: u64| length.map_or(most, |length| length.min(most));
        let (class, bytes) = match (route, method) {
            (Route::Manifest(..), &Method::PUT) => (Class::Finish, in_memory(MAX_MANIFEST_BYTES as u64)),
            (Route::Upload(..), _) => (Class::Finish, in_memory(UPLOAD_BYTES)),
            (Route::Uploads(_), _) => (Class::Start, in_memory(UPLOAD_BYTES)),
            (Route::Blob(..), &Method::GET) => (Class::Blob, DOWNLOAD_BYTES),
            _ => (Class::Metadata, 0),
        };
        Self { class, tenant: route.repository().map(RepositoryName::tenant), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_route_has_its_class() {
        let ask = |method: &str, path: &str, length| {
            let ask = Ask::new(&Route::parse(path).unwrap().unwrap(), &method.parse().unwrap(), length);
            (ask.class, ask.tenant.map(|tenant| tenant.to_string()), ask.bytes)
        };
        let (team, none) = (|| Some("team".to_owned()), Some(0));
        let upload = "/v2/team/app/blobs/uploads/5f0c7a3e-5b1c-4f7e-9d8a-0c6c3b6f2a10";
        let blob = format!("/v2/team/app/blobs/{SHA}");
        assert_eq!(ask("GET", "/v2/", none), (Class::Metadata, None, 0));
        assert_eq!(ask("GET", &blob, none), (Class::Blob, team(), DOWNLOAD_BYTES));
        assert_eq!(ask("HEAD", &blob, none), (Class::Metadata, team(), 0));
        assert_eq!(ask("DELETE", &blob, none), (Class::Metadata, team(), 0));
        assert_eq!(ask("GET", "/v2/team/app/manifests/v1", none), (Class::Metadata, team(), 0));
        assert_eq!(ask("GET", "/v2/app/tags/list", none), (Class::Metadata, Some("library".to_owned()), 0));
        assert_eq!(ask("POST", "/v2/team/app/blobs/uploads/", none), (Class::Start, team(), 0));
        assert_eq!(ask("PUT", "/v2/team/app/manifests/v1", Some(700)), (Class::Finish, team(), 700));
        assert_eq!(ask("PUT", "/v2/team/app/manifests/v1", None), (Class::Finish, team(), 4 << 20));
        assert_eq!(ask("PATCH", upload, Some(1 << 40)), (Class::Finish, team(), UPLOAD_BYTES));
        assert_eq!(ask("PATCH", upload, None), (Class::Finish, team(), UPLOAD_BYTES));
        assert_eq!(ask("GET", upload, none), (Class::Finish, team(), 0));
    }
}
