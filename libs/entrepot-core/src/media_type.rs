//! Media types of manifests and blobs.

use std::fmt;
use std::str::FromStr;

/// A media type without parameters, such as `application/vnd.oci.image.manifest.v1+json`.
///
/// Kept exactly as the client wrote it, since it is served back with the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct MediaType(String);

/// Why a text is not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media type is written type/subtype in at most 255 characters (RFC 6838)")]
pub struct MediaTypeError;

impl MediaType {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// The short-lived OCI artifact manifest, still pushed by older clients.
    pub const OCI_ARTIFACT: &'static str = "application/vnd.oci.artifact.manifest.v1+json";
    /// OCI empty descriptor, the config of artifacts that have none.
    pub const OCI_EMPTY: &'static str = "application/vnd.oci.empty.v1+json";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Prefix of Docker schema 1, which is refused.
    pub const DOCKER_SCHEMA1: &'static str = "application/vnd.docker.distribution.manifest.v1";

    /// The media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An index: its entries are manifests (or, in a build cache, layers).
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// The OCI image manifest type; a convenience for builders.
    pub fn oci_manifest() -> Self {
        Self(Self::OCI_MANIFEST.to_owned())
    }

    /// The OCI image index type; a convenience for builders.
    pub fn oci_index() -> Self {
        Self(Self::OCI_INDEX.to_owned())
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    /// Parameters (`; charset=utf-8`) are dropped: some clients add them to `Content-Type`.
    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split_once(';').map_or(text, |(essence, _)| essence).trim();
        let (kind, subtype) = essence.split_once('/').ok_or(MediaTypeError)?;
        if essence.len() <= 255 && is_name(kind) && is_name(subtype) {
            Ok(Self(essence.to_owned()))
        } else {
            Err(MediaTypeError)
        }
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for MediaType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_dropped_and_bad_types_refused() {
        let parsed: MediaType = "application/vnd.oci.image.index.v1+json; charset=utf-8".parse().unwrap();
        assert_eq!(parsed.as_str(), MediaType::OCI_INDEX);
        assert!(parsed.is_index());
        let long = format!("a/{}", "b".repeat(254));
        for text in ["", "text", "/json", "text/", "a b/c", "a/b c", "a/b\r\nX: y", ";", long.as_str()] {
            assert_eq!(text.parse::<MediaType>(), Err(MediaTypeError), "{text:?}");
        }
    }
}
