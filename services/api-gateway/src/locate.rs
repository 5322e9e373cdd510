//! From a digest to the bytes, while garbage is collected.

use entrepot_core::ports::IndexError;
use entrepot_core::ports::index::LocatedBlob;
use entrepot_core::{Digest, RepositoryName};

use crate::caches::Caches;
use crate::error::ApiError;
use crate::lookups::Lookups;

/// Runs `read` on where the blob is; it answers `None` when there are no bytes under the key.
///
/// The key that is remembered may have been deleted while the blob lives on under a new one: then, and only then, the
/// index is asked and the reading done once more.
pub(crate) async fn locate<T, F>(
    lookups: &Lookups,
    caches: &Caches,
    (repository, digest): (&RepositoryName, Digest),
    read: impl Fn(LocatedBlob) -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<Option<T>, ApiError>>,
{
    let blob = lookups.location(repository, digest).await?;
    if let Some(answer) = read(blob).await? {
        return Ok(answer);
    }
    let key = (repository.clone(), digest);
    caches.forget_blob(&key);
    let blob = lookups.location(repository, digest).await?;
    if let Some(answer) = read(blob).await? {
        return Ok(answer);
    }
    // Deleted since it was located, or lost: keys are no business of the client's.
    caches.forget_blob(&key);
    tracing::error!(repo.name = %repository, blob.digest = %digest, blob.key = %blob.key, "no bytes for {digest}");
    Err(IndexError::BlobUnknown(digest).into())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use entrepot_core::ports::BlobLinks;
    use entrepot_core::{Algorithm, OciCode, StorageKey};

    use super::*;

    /// An index that knows the blob under one key after the other.
    struct Moving(Mutex<Vec<StorageKey>>);

    #[async_trait]
    impl BlobLinks for Moving {
        async fn locate(&self, _: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
            let key = self.0.lock().unwrap().pop();
            key.map(|key| LocatedBlob { key, size: 3 }).ok_or(IndexError::BlobUnknown(digest))
        }

        async fn stat(&self, _: &RepositoryName, _: Digest) -> Result<LocatedBlob, IndexError> {
            panic!("a pull asks where a blob is")
        }

        async fn mount(&self, _: &RepositoryName, _: Option<&RepositoryName>, _: Digest) -> Result<bool, IndexError> {
            panic!("a pull asks where a blob is")
        }

        async fn unlink(&self, _: &RepositoryName, _: Digest) -> Result<(), IndexError> {
            panic!("a pull asks where a blob is")
        }
    }

    #[tokio::test]
    async fn r14_a_swept_key_is_looked_up_again_once() {
        let (old, new) = (StorageKey::random(), StorageKey::random());
        let (repository, digest) = ("team/app".parse().unwrap(), Digest::of(Algorithm::Sha256, b"abc"));
        let (manifests, caches, _) = crate::lookups::tests::setup();
        let links = Arc::new(Moving(Mutex::new(vec![new, new, old])));
        let lookups = Lookups::new(manifests, links, caches.clone());
        let tried = Mutex::new(Vec::new());
        let swept = Mutex::new(Vec::new());
        let get = || {
            locate(&lookups, &caches, (&repository, digest), |blob: LocatedBlob| {
                tried.lock().unwrap().push(blob.key);
                std::future::ready(Ok((!swept.lock().unwrap().contains(&blob.key)).then_some(blob.key)))
            })
        };
        assert_eq!(get().await.unwrap(), old);
        swept.lock().unwrap().push(old);
        assert_eq!(get().await.unwrap(), new, "404 at the storage after a cached location");
        assert_eq!(get().await.unwrap(), new);
        assert_eq!(*tried.lock().unwrap(), [old, old, new, new], "remembered in between");
        swept.lock().unwrap().push(new);
        assert_eq!(get().await.unwrap_err().code(), OciCode::BlobUnknown);
        assert_eq!(*tried.lock().unwrap(), [old, old, new, new, new, new], "once, and not for ever");
    }
}
