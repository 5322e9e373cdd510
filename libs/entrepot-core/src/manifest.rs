//! Manifests and indexes: what the registry reads out of them, and what it refuses.
//!
//! A manifest is stored and served byte for byte; unknown fields and media types stay in it
//! untouched. Parsing only finds what the content depends on and rejects documents that two
//! readers could understand differently (GHSA-qq97-vm5h-rrhg, GHSA-mc8v-mgrf-8f4m).

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde::Deserialize;

use crate::descriptor::{Descriptor, null_as_empty};
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind, OciCode};
use crate::media_type::MediaType;
use crate::strict_json::{self, StrictJsonError};

/// Largest manifest in bytes; the size other registries accept (OCI asks for at least 4 MiB).
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Most descriptors in one manifest.
pub const MAX_DESCRIPTORS: usize = 10_000;
/// Most bytes in the keys and values together of the annotations of a manifest with a `subject`. Lists of referrers repeat
/// them, so that a few large ones would make a list that clients refuse to read. Those of other manifests are limited by
/// [`MAX_MANIFEST_BYTES`] alone: the conformance suite fills a manifest with them.
pub const MAX_ANNOTATION_BYTES: usize = 512 << 10;

/// A parsed manifest, index or artifact together with its own bytes.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Type it is served with.
    pub media_type: MediaType,
    /// The bytes as pushed.
    pub payload: Bytes,
    /// Digest of `payload`.
    pub digest: Digest,
    /// The manifest this one refers to; it may not exist yet.
    pub subject: Option<Digest>,
    /// Type reported in referrers answers: `artifactType`, else the config's media type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What must stay stored as long as this manifest does, each digest once, sorted.
    pub references: Vec<ManifestReference>,
}

/// Content that a manifest depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestReference {
    /// Digest of the content.
    pub digest: Digest,
    /// Size its descriptor states.
    pub size: u64,
    /// Where to look for it.
    pub kind: ReferenceKind,
}

/// Where the content of a reference is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A blob: config or layer.
    Blob,
    /// A layer that may live elsewhere (it has `urls` or is not distributable): linked when
    /// present, not required.
    ForeignBlob,
    /// An entry of an index: a manifest of the same repository, or a blob (`BuildKit` caches list
    /// their layers in an index).
    Child,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Over [`MAX_MANIFEST_BYTES`].
    #[error("the manifest is larger than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge,
    /// Not acceptable as JSON.
    #[error("the manifest is not acceptable JSON: {}", .0.reason())]
    Json(#[source] StrictJsonError),
    /// JSON, but fields have the wrong form.
    #[error("the manifest has a malformed field: {0}")]
    Field(String),
    /// Docker schema 1.
    #[error("Docker image manifest schema 1 is not supported; push the image again with a current client")]
    Schema1,
    /// `schemaVersion` is missing or not 2.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// The body says another type than the request.
    #[error("the manifest says mediaType {body} but the request says Content-Type {header}")]
    MediaTypeMismatch {
        /// `mediaType` in the body.
        body: MediaType,
        /// `Content-Type` of the request.
        header: MediaType,
    },
    /// Fields of an image and of an index together.
    #[error("a manifest has either config and layers or manifests, not both")]
    Ambiguous,
    /// A field that its media type requires is missing.
    #[error("a manifest of type {media_type} must have {field}")]
    MissingField {
        /// The type.
        media_type: MediaType,
        /// The field.
        field: &'static str,
    },
    /// No `Content-Type`, no `mediaType`, and the fields do not tell either.
    #[error("the type of the manifest is unknown: send Content-Type")]
    UnknownType,
    /// `artifactType` holds control characters. That it is a media type is not asked: clients push names of their own.
    #[error("artifactType holds a control character; it should be a media type such as application/vnd.example.sbom")]
    ArtifactType,
    /// Over [`MAX_DESCRIPTORS`].
    #[error("the manifest has more than {MAX_DESCRIPTORS} descriptors")]
    TooManyDescriptors,
    /// Over [`MAX_ANNOTATION_BYTES`].
    #[error(
        "the annotations of the manifest have {size} bytes in keys and values, more than {MAX_ANNOTATION_BYTES}, which \
         lists of the referrers of its subject would have to repeat: put large values into a layer"
    )]
    AnnotationsTooLarge {
        /// What they have.
        size: usize,
    },
}

impl Classify for ManifestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        }
    }

    fn oci_code(&self) -> OciCode {
        match self {
            Self::TooLarge => OciCode::SizeInvalid,
            _ => OciCode::ManifestInvalid,
        }
    }
}

/// The fields of every manifest kind; all optional, so that one shape reads them all.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u32>,
    media_type: Option<MediaType>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_as_empty")]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Parses and checks `payload`, whose digest the caller has computed.
    ///
    /// `content_type` is the request's `Content-Type`; without one the body's `mediaType` counts.
    pub fn parse(content_type: Option<&MediaType>, payload: Bytes, digest: Digest) -> Result<Self, ManifestError> {
        if payload.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        // Before the body: that of a signed one is no single JSON value, and the reason would not help.
        content_type.map_or(Ok(()), refuse_schema1)?;
        strict_json::check(&payload).map_err(ManifestError::Json)?;
        let document: Document =
            serde_json::from_slice(&payload).map_err(|error| ManifestError::Field(error.to_string()))?;
        let media_type = document.resolve_type(content_type)?;
        refuse_schema1(&media_type)?;
        document.check(&media_type)?;
        document.check_annotations()?;
        document.check_artifact_type()?;
        Ok(Self {
            references: document.references()?,
            artifact_type: document.artifact_type(&media_type),
            subject: document.subject.as_ref().map(|subject| subject.digest),
            annotations: document.annotations,
            media_type,
            payload,
            digest,
        })
    }
}

impl Document {
    fn resolve_type(&self, content_type: Option<&MediaType>) -> Result<MediaType, ManifestError> {
        match (content_type, &self.media_type) {
            (Some(header), Some(body)) if header != body => {
                Err(ManifestError::MediaTypeMismatch { body: body.clone(), header: header.clone() })
            }
            (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type.clone()),
            (None, None) if self.manifests.is_some() => Ok(MediaType::oci_index()),
            (None, None) if self.config.is_some() => Ok(MediaType::oci_manifest()),
            (None, None) => Err(ManifestError::UnknownType),
        }
    }

    fn check(&self, media_type: &MediaType) -> Result<(), ManifestError> {
        let image_like = self.config.is_some() || self.layers.is_some() || self.blobs.is_some();
        if image_like && self.manifests.is_some() {
            return Err(ManifestError::Ambiguous);
        }
        let require = |present: bool, field| {
            if present { Ok(()) } else { Err(ManifestError::MissingField { media_type: media_type.clone(), field }) }
        };
        match media_type.as_str() {
            MediaType::OCI_MANIFEST | MediaType::DOCKER_MANIFEST => {
                require(self.config.is_some(), "config")?;
                require(self.layers.is_some(), "layers")?;
            }
            MediaType::OCI_INDEX | MediaType::DOCKER_LIST => require(self.manifests.is_some(), "manifests")?,
            // The artifact manifest has no schemaVersion, and unknown types follow rules of their own.
            _ => return Ok(()),
        }
        if self.schema_version == Some(2) { Ok(()) } else { Err(ManifestError::SchemaVersion) }
    }

    fn check_annotations(&self) -> Result<(), ManifestError> {
        if self.subject.is_none() {
            return Ok(());
        }
        let size = self.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > MAX_ANNOTATION_BYTES { Err(ManifestError::AnnotationsTooLarge { size }) } else { Ok(()) }
    }

    /// It is stored and served as text.
    fn check_artifact_type(&self) -> Result<(), ManifestError> {
        let control = self.artifact_type.as_ref().is_some_and(|text| text.contains(char::is_control));
        if control { Err(ManifestError::ArtifactType) } else { Ok(()) }
    }

    fn artifact_type(&self, media_type: &MediaType) -> Option<String> {
        let own = self.artifact_type.clone().filter(|text| !text.is_empty());
        let of_config = || self.config.as_ref().map(|config| config.media_type.to_string());
        own.or_else(|| if media_type.is_index() { None } else { of_config() })
    }

    fn references(&self) -> Result<Vec<ManifestReference>, ManifestError> {
        let blobs = self.config.iter().chain(self.layers.iter().flatten()).chain(self.blobs.iter().flatten());
        let children = self.manifests.iter().flatten();
        let all = blobs
            .map(|descriptor| {
                (descriptor, if is_foreign(descriptor) { ReferenceKind::ForeignBlob } else { ReferenceKind::Blob })
            })
            .chain(children.map(|descriptor| (descriptor, ReferenceKind::Child)));
        let mut seen = HashSet::new();
        let mut references = Vec::new();
        for (count, (descriptor, kind)) in all.enumerate() {
            if count >= MAX_DESCRIPTORS {
                return Err(ManifestError::TooManyDescriptors);
            }
            if seen.insert(descriptor.digest) {
                references.push(ManifestReference { digest: descriptor.digest, size: descriptor.size, kind });
            }
        }
        references.sort_by_key(|reference| reference.digest);
        Ok(references)
    }
}

fn refuse_schema1(media_type: &MediaType) -> Result<(), ManifestError> {
    if media_type.as_str().starts_with(MediaType::DOCKER_SCHEMA1) { Err(ManifestError::Schema1) } else { Ok(()) }
}

fn is_foreign(descriptor: &Descriptor) -> bool {
    let name = descriptor.media_type.as_str();
    !descriptor.urls.is_empty() || name.contains(".nondistributable.") || name.contains(".foreign.")
}

#[cfg(test)]
mod tests;
