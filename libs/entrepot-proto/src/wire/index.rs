use entrepot_core::manifest::{ManifestReference, ReferenceKind};
use entrepot_core::ports::index::{Referrer, StoredManifest, Visibility};
use entrepot_core::{Manifest, Reference};

use super::{WireError, convert_all, parse, required};
use crate::pb::index::v1 as pb;
use crate::pb::index::v1::reference::Name;
use crate::pb::index::v1::visibility::{All, Only, Scope};

impl From<&Reference> for pb::Reference {
    fn from(reference: &Reference) -> Self {
        let name = match reference {
            Reference::Tag(tag) => Name::Tag(tag.to_string()),
            Reference::Digest(digest) => Name::Digest((*digest).into()),
        };
        Self { name: Some(name) }
    }
}

impl TryFrom<pb::Reference> for Reference {
    type Error = WireError;

    fn try_from(reference: pb::Reference) -> Result<Self, WireError> {
        match reference.name.ok_or(WireError("reference"))? {
            Name::Tag(tag) => Ok(Self::Tag(parse(&tag, "reference.tag")?)),
            Name::Digest(digest) => Ok(Self::Digest(digest.try_into()?)),
        }
    }
}

impl From<StoredManifest> for pb::GetManifestResponse {
    fn from(manifest: StoredManifest) -> Self {
        Self {
            digest: Some(manifest.digest.into()),
            media_type: manifest.media_type.to_string(),
            payload: manifest.payload,
        }
    }
}

impl TryFrom<pb::GetManifestResponse> for StoredManifest {
    type Error = WireError;

    fn try_from(response: pb::GetManifestResponse) -> Result<Self, WireError> {
        Ok(Self {
            digest: required(response.digest, "digest")?,
            media_type: parse(&response.media_type, "media_type")?,
            payload: response.payload,
        })
    }
}

impl From<ManifestReference> for pb::ManifestReference {
    fn from(reference: ManifestReference) -> Self {
        let kind = match reference.kind {
            ReferenceKind::Blob => pb::ReferenceKind::Blob,
            ReferenceKind::ForeignBlob => pb::ReferenceKind::ForeignBlob,
            ReferenceKind::Child => pb::ReferenceKind::Child,
        };
        Self { digest: Some(reference.digest.into()), size: reference.size, kind: kind.into() }
    }
}

impl TryFrom<pb::ManifestReference> for ManifestReference {
    type Error = WireError;

    fn try_from(reference: pb::ManifestReference) -> Result<Self, WireError> {
        let kind = match pb::ReferenceKind::try_from(reference.kind) {
            Ok(pb::ReferenceKind::Blob) => ReferenceKind::Blob,
            Ok(pb::ReferenceKind::ForeignBlob) => ReferenceKind::ForeignBlob,
            Ok(pb::ReferenceKind::Child) => ReferenceKind::Child,
            Ok(pb::ReferenceKind::Unspecified) | Err(_) => return Err(WireError("references.kind")),
        };
        Ok(Self { digest: required(reference.digest, "references.digest")?, size: reference.size, kind })
    }
}

impl From<Manifest> for pb::Manifest {
    fn from(manifest: Manifest) -> Self {
        let Manifest { media_type, payload, digest, subject, artifact_type, annotations, references } = manifest;
        Self {
            media_type: media_type.to_string(),
            payload,
            digest: Some(digest.into()),
            subject: subject.map(Into::into),
            artifact_type,
            annotations,
            references: references.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Manifest> for Manifest {
    type Error = WireError;

    fn try_from(manifest: pb::Manifest) -> Result<Self, WireError> {
        Ok(Self {
            media_type: parse(&manifest.media_type, "manifest.media_type")?,
            payload: manifest.payload,
            digest: required(manifest.digest, "manifest.digest")?,
            subject: manifest.subject.map(TryInto::try_into).transpose()?,
            artifact_type: manifest.artifact_type,
            annotations: manifest.annotations,
            references: convert_all(manifest.references)?,
        })
    }
}

impl From<&Visibility> for pb::Visibility {
    fn from(visibility: &Visibility) -> Self {
        let scope = match visibility {
            Visibility::All => Scope::All(All {}),
            Visibility::Only(names) => Scope::Only(Only { names: names.clone() }),
        };
        Self { scope: Some(scope) }
    }
}

impl TryFrom<pb::Visibility> for Visibility {
    type Error = WireError;

    fn try_from(visibility: pb::Visibility) -> Result<Self, WireError> {
        match visibility.scope {
            Some(Scope::All(All {})) => Ok(Self::All),
            Some(Scope::Only(Only { names })) => Ok(Self::Only(names)),
            None => Err(WireError("visibility")),
        }
    }
}

impl From<Referrer> for pb::Referrer {
    fn from(referrer: Referrer) -> Self {
        let Referrer { digest, media_type, size, artifact_type, annotations } = referrer;
        Self { digest: Some(digest.into()), media_type: media_type.to_string(), size, artifact_type, annotations }
    }
}

impl TryFrom<pb::Referrer> for Referrer {
    type Error = WireError;

    fn try_from(referrer: pb::Referrer) -> Result<Self, WireError> {
        Ok(Self {
            digest: required(referrer.digest, "referrers.digest")?,
            media_type: parse(&referrer.media_type, "referrers.media_type")?,
            size: referrer.size,
            artifact_type: referrer.artifact_type,
            annotations: referrer.annotations,
        })
    }
}
