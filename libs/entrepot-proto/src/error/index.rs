use entrepot_core::error::Cause;
use entrepot_core::ports::index::IndexError;
use entrepot_core::{Digest, ErrorKind};

use super::{Params, PortError, param, params};

/// Most digests of missing references in a trailer; [`crate::server`] sends the full list in the
/// answer of the one call that has it.
const MAX_DIGESTS: usize = 50;

impl PortError for IndexError {
    fn describe(&self) -> (&'static str, Params) {
        match self {
            Self::RepositoryUnknown(name) => ("repository_unknown", params([("repository", name.to_string())])),
            Self::BlobUnknown(digest) => ("blob_unknown", params([("blob", digest.to_string())])),
            Self::ManifestUnknown(reference) => ("manifest_unknown", params([("manifest", reference.to_string())])),
            Self::ReferencesMissing(digests) => {
                let digests: Vec<String> = digests.iter().take(MAX_DIGESTS).map(ToString::to_string).collect();
                ("references_missing", params([("digests", digests.join(","))]))
            }
            Self::Referenced { digest, by } => {
                ("referenced", params([("digest", digest.to_string()), ("by", by.to_string())]))
            }
            Self::UploadUnknown => ("upload_unknown", Params::new()),
            Self::UploadOffset { offset } => ("upload_offset", params([("offset", offset.to_string())])),
            Self::UploadBusy => ("upload_busy", Params::new()),
            Self::NoSpace => ("no_space", Params::new()),
            Self::Unavailable(_) => ("unavailable", Params::new()),
            Self::Internal(_) => ("internal", Params::new()),
            _ => ("other", Params::new()),
        }
    }

    fn from_reason(reason: &str, params: &Params) -> Option<Self> {
        match reason {
            "repository_unknown" => Some(Self::RepositoryUnknown(param(params, "repository")?)),
            "blob_unknown" => Some(Self::BlobUnknown(param(params, "blob")?)),
            "manifest_unknown" => Some(Self::ManifestUnknown(param(params, "manifest")?)),
            "references_missing" => Some(Self::ReferencesMissing(digests(params.get("digests")?)?)),
            "referenced" => Some(Self::Referenced { digest: param(params, "digest")?, by: param(params, "by")? }),
            "upload_unknown" => Some(Self::UploadUnknown),
            "upload_offset" => Some(Self::UploadOffset { offset: param(params, "offset")? }),
            "upload_busy" => Some(Self::UploadBusy),
            "no_space" => Some(Self::NoSpace),
            _ => None,
        }
    }

    fn from_kind(kind: ErrorKind, params: &Params) -> Option<Self> {
        let missing = || {
            let repository = || param(params, "repository").map(Self::RepositoryUnknown);
            let blob = || param(params, "blob").map(Self::BlobUnknown);
            let manifest = || param(params, "manifest").map(Self::ManifestUnknown);
            manifest().or_else(blob).or_else(repository)
        };
        match kind {
            ErrorKind::NotFound => missing(),
            ErrorKind::Conflict => Some(Self::UploadBusy),
            ErrorKind::OutOfRange => Some(Self::UploadOffset { offset: param(params, "offset")? }),
            ErrorKind::NoSpace => Some(Self::NoSpace),
            _ => None,
        }
    }

    fn unavailable(cause: Cause) -> Self {
        Self::Unavailable(cause)
    }

    fn internal(cause: Cause) -> Self {
        Self::Internal(cause)
    }
}

fn digests(list: &str) -> Option<Vec<Digest>> {
    list.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().ok()).collect()
}
