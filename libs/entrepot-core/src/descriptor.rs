//! Content descriptors (OCI Image Specification, `descriptor.md`).

use std::collections::BTreeMap;

use serde::Deserialize as _;

use crate::digest::Digest;
use crate::media_type::MediaType;

/// One entry of a manifest or index, and of a referrers answer.
///
/// Holds the fields the registry acts on; everything else stays in the manifest's own bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Type of the content named.
    pub media_type: MediaType,
    /// Digest of the content named.
    pub digest: Digest,
    /// Its size in bytes, below 2^63: the specification makes it an int64, and clients in Go read nothing larger.
    #[serde(deserialize_with = "int64")]
    pub size: u64,
    /// Type of the artifact, when the content is a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations; in a referrers answer those of the referrer itself.
    #[serde(default, deserialize_with = "null_as_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Places outside the registry that hold the content ("foreign" layers). Never fetched here.
    #[serde(default, deserialize_with = "null_as_empty", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

fn int64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if i64::try_from(size).is_ok() { Ok(size) } else { Err(serde::de::Error::custom("a size must be below 2^63")) }
}

/// Encoders in Go write an absent map or list as `null`.
pub(crate) fn null_as_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
