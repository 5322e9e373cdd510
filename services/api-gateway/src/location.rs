//! `Location` and `Link` values: always relative, built from typed values, never from what a client sent.

use entrepot_core::{Digest, RepositoryName, UploadId};
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Unreserved characters of RFC 3986 stay; the rest is escaped.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// A header value of ASCII text built by this module.
pub(crate) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("/v2/"))
}

/// Relative, since behind a TLS-terminating proxy the scheme is not ours to know.
pub(crate) fn upload(repository: &RepositoryName, id: UploadId, signature: &str) -> HeaderValue {
    header(&format!("/v2/{repository}/blobs/uploads/{id}?_sig={signature}"))
}

pub(crate) fn blob(repository: &RepositoryName, digest: &Digest) -> HeaderValue {
    header(&format!("/v2/{repository}/blobs/{digest}"))
}

pub(crate) fn manifest(repository: &RepositoryName, digest: &Digest) -> HeaderValue {
    header(&format!("/v2/{repository}/manifests/{digest}"))
}

/// `Link: <path?…>; rel="next"` (RFC 8288).
pub(crate) fn next(path: &str, parameters: &[(&str, &str)]) -> HeaderValue {
    let query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, VALUE))).collect();
    header(&format!("<{path}?{}>; rel=\"next\"", query.join("&")))
}

/// `Range` of an upload: `0-<last>`, without a unit. An empty upload is `0-0`, as Distribution
/// says it, since clients parse the number.
pub(crate) fn upload_range(offset: u64) -> HeaderValue {
    header(&format!("0-{}", offset.saturating_sub(1)))
}
