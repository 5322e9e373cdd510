//! Paths of the OCI Distribution API. Repository names have slashes, so a path is read from its end.

use std::borrow::Cow;

use entrepot_core::{Digest, Reference, RepositoryName, UploadId};
use http::Method;
use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// What a path names. Whether the method fits is decided by [`Route::allowed`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepositoryName),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(RepositoryName, UploadId),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

impl Route {
    /// Reads a path that begins with `/v2`; `None` for a path that is not part of the API.
    pub(crate) fn parse(path: &str) -> Option<Result<Self, ApiError>> {
        let rest = path.strip_prefix("/v2")?;
        if rest.is_empty() || rest == "/" {
            return Some(Ok(Self::Base));
        }
        let rest = rest.strip_prefix('/')?;
        if rest == "_catalog" {
            return Some(Ok(Self::Catalog));
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(repository(name).map(Self::Tags));
        }
        // Old tools leave out the slash after `uploads`.
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Some(repository(name).map(Self::Uploads));
        }
        let (head, last) = rest.rsplit_once('/')?;
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            return Some(repository(name).and_then(|name| upload(last).map(|id| Self::Upload(name, id))));
        }
        let (name, kind) = head.rsplit_once('/')?;
        match kind {
            "manifests" => {
                Some(repository(name).and_then(|name| reference(last).map(|last| Self::Manifest(name, last))))
            }
            "blobs" => Some(repository(name).and_then(|name| digest(last).map(|last| Self::Blob(name, last)))),
            "referrers" => Some(repository(name).and_then(|name| digest(last).map(|last| Self::Referrers(name, last)))),
            _ => None,
        }
    }

    /// The repository it belongs to, if any.
    pub(crate) fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name) | Self::Uploads(name) => Some(name),
            Self::Manifest(name, _) | Self::Blob(name, _) | Self::Upload(name, _) | Self::Referrers(name, _) => {
                Some(name)
            }
        }
    }

    /// The methods of the route, for `Allow`.
    pub(crate) fn allowed(&self) -> &'static [Method] {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => &[Method::GET, Method::HEAD],
            Self::Manifest(..) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Self::Blob(..) => &[Method::GET, Method::HEAD, Method::DELETE],
            Self::Uploads(_) => &[Method::POST],
            Self::Upload(..) => &[Method::GET, Method::HEAD, Method::PATCH, Method::PUT, Method::DELETE],
        }
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn repository(name: &str) -> Result<RepositoryName, ApiError> {
    // No character of a valid name needs an escape; decoding here would make `a%2Fb` a second spelling.
    name.parse().map_err(|error| ApiError::name_invalid(name, &error))
}

fn reference(text: &str) -> Result<Reference, ApiError> {
    decode(text).parse().map_err(|error| ApiError::reference_invalid(text, &error))
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    decode(text).parse().map_err(|error| ApiError::digest_invalid(text, &error))
}

fn upload(text: &str) -> Result<UploadId, ApiError> {
    text.parse().map_err(|error| ApiError::upload_unknown(&error))
}

#[cfg(test)]
mod tests {
    use entrepot_core::OciCode;

    use super::*;

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(path: &str) -> Route {
        Route::parse(path).expect("a route").expect("valid")
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn reads_every_route() {
        let id = UploadId::random();
        assert_eq!(parse("/v2"), Route::Base);
        assert_eq!(parse("/v2/"), Route::Base);
        assert_eq!(parse("/v2/_catalog"), Route::Catalog);
        assert_eq!(parse("/v2/a/b/tags/list"), Route::Tags(name("a/b")));
        assert_eq!(parse("/v2/a/manifests/v1"), Route::Manifest(name("a"), "v1".parse().unwrap()));
        assert_eq!(parse(&format!("/v2/a/manifests/{SHA}")), Route::Manifest(name("a"), SHA.parse().unwrap()));
        assert_eq!(
            parse(&format!("/v2/a/b/c/blobs/{}", SHA.replace(':', "%3A"))),
            Route::Blob(name("a/b/c"), SHA.parse().unwrap())
        );
        assert_eq!(parse(&format!("/v2/a/blobs/uploads/{id}")), Route::Upload(name("a"), id));
        assert_eq!(parse(&format!("/v2/a/referrers/{SHA}")), Route::Referrers(name("a"), SHA.parse().unwrap()));
    }

    /// Old tools omit the trailing slash.
    #[test]
    fn uploads_with_and_without_trailing_slash() {
        for path in ["/v2/a/b/blobs/uploads/", "/v2/a/b/blobs/uploads"] {
            assert_eq!(parse(path), Route::Uploads(name("a/b")));
        }
    }

    /// A repository may be called like a part of the API.
    #[test]
    fn names_that_look_like_routes() {
        assert_eq!(parse("/v2/a/manifests/manifests/v1"), Route::Manifest(name("a/manifests"), "v1".parse().unwrap()));
        assert_eq!(parse("/v2/blobs/uploads/tags/list"), Route::Tags(name("blobs/uploads")));
        assert_eq!(parse("/v2/tags/list/tags/list"), Route::Tags(name("tags/list")));
        assert_eq!(parse("/v2/v2/manifests/v2"), Route::Manifest(name("v2"), "v2".parse().unwrap()));
    }

    #[test]
    fn refuses_with_the_code_of_the_wrong_part() {
        for (path, code) in [
            ("/v2/A/tags/list", OciCode::NameInvalid),
            ("/v2/a%2Fb/tags/list", OciCode::NameInvalid),
            ("/v2/../etc/tags/list", OciCode::NameInvalid),
            ("/v2//tags/list", OciCode::NameInvalid),
            ("/v2/a/manifests/.bad", OciCode::TagInvalid),
            ("/v2/a/manifests/sha256:zz", OciCode::DigestInvalid),
            ("/v2/a/blobs/latest", OciCode::DigestInvalid),
            ("/v2/a/blobs/sha256:..%2F..%2Fetc", OciCode::DigestInvalid),
            ("/v2/a/blobs/uploads/not-a-uuid", OciCode::BlobUploadUnknown),
            ("/v2/a/referrers/latest", OciCode::DigestInvalid),
        ] {
            assert_eq!(Route::parse(path).expect("a route").unwrap_err().code(), code, "{path}");
        }
        for path in ["/", "/v1/", "/v2x", "/v2/a", "/v2/a/unknown/b", "/token"] {
            assert!(Route::parse(path).is_none(), "{path}");
        }
    }
}
