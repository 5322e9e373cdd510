//! The contract of [`BlobLinks`](entrepot_core::ports::BlobLinks).

use std::time::Duration;

use entrepot_core::Reference;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::index::Visibility;

use super::{IndexPorts, page, refused, repository, run};
use crate::builders::content;

/// Runs every case.
pub async fn all(fresh: impl AsyncFn() -> IndexPorts) {
    run!(
        fresh,
        a_blob_is_known_in_its_repository_alone,
        a_mount_links_what_the_source_has,
        a_mount_from_nowhere_leaves_no_trace,
        a_mount_without_a_source_finds_the_blob_in_its_own_tenant_only,
        a_mount_outlives_its_source,
        an_unlinked_blob_is_gone_from_its_repository_alone,
        a_blob_that_a_manifest_needs_cannot_be_unlinked,
        a_blob_unlinked_can_be_pushed_again,
        a_confirmed_blob_stays,
    );
}

async fn a_blob_is_known_in_its_repository_alone(ports: &IndexPorts) {
    let (mine, other) = (repository("team/app"), repository("team/other"));
    let blob = content("blob");
    ports.push_blob(&mine, &blob).await;
    ports.push_blob(&other, &content("another")).await;
    let located = ports.links.locate(&mine, blob.digest).await.unwrap();
    assert_eq!(located.size, 4);
    assert_eq!(ports.links.stat(&mine, blob.digest).await.unwrap(), located);
    for elsewhere in [other, repository("no/where")] {
        refused!(ports.links.locate(&elsewhere, blob.digest).await, IndexError::BlobUnknown(digest) if digest == blob.digest);
        refused!(ports.links.stat(&elsewhere, blob.digest).await, IndexError::BlobUnknown(digest) if digest == blob.digest);
        refused!(ports.links.unlink(&elsewhere, blob.digest).await, IndexError::BlobUnknown(digest) if digest == blob.digest);
    }
}

async fn a_mount_links_what_the_source_has(ports: &IndexPorts) {
    let (source, target) = (repository("team/base"), repository("other/app"));
    let blob = content("blob");
    ports.push_blob(&source, &blob).await;
    for _ in 0..2 {
        assert!(ports.links.mount(&target, Some(&source), blob.digest).await.unwrap());
    }
    assert!(ports.links.mount(&source, Some(&source), blob.digest).await.unwrap(), "from itself");
    let located = ports.links.locate(&source, blob.digest).await.unwrap();
    assert_eq!(ports.links.locate(&target, blob.digest).await.unwrap(), located);
}

async fn a_mount_from_nowhere_leaves_no_trace(ports: &IndexPorts) {
    let (source, target, third) = (repository("team/base"), repository("team/app"), repository("team/third"));
    let blob = content("blob");
    ports.push_blob(&third, &blob).await;
    assert!(!ports.links.mount(&target, Some(&source), blob.digest).await.unwrap(), "the source does not exist");
    ports.push_blob(&source, &content("another")).await;
    assert!(!ports.links.mount(&target, Some(&source), blob.digest).await.unwrap(), "another repository has it");
    refused!(ports.links.locate(&target, blob.digest).await, IndexError::BlobUnknown(_));
    let listed = ports.manifests.list_repositories(&Visibility::All, page(None, 10)).await.unwrap();
    assert_eq!(listed.items, [source, third]);
}

async fn a_mount_without_a_source_finds_the_blob_in_its_own_tenant_only(ports: &IndexPorts) {
    let (source, target, foreign) = (repository("team/base"), repository("team/app"), repository("other/app"));
    let blob = content("blob");
    assert!(!ports.links.mount(&target, None, blob.digest).await.unwrap(), "nobody has it");
    ports.push_blob(&source, &blob).await;
    assert!(!ports.links.mount(&foreign, None, blob.digest).await.unwrap(), "another tenant has it");
    refused!(ports.links.locate(&foreign, blob.digest).await, IndexError::BlobUnknown(_));
    assert!(ports.links.mount(&target, None, blob.digest).await.unwrap());
    let located = ports.links.locate(&source, blob.digest).await.unwrap();
    assert_eq!(ports.links.locate(&target, blob.digest).await.unwrap(), located);
}

/// Race R8, sequential half: what was mounted does not depend on its source any more.
async fn a_mount_outlives_its_source(ports: &IndexPorts) {
    let (source, target) = (repository("team/base"), repository("team/app"));
    let blob = content("blob");
    ports.push_blob(&source, &blob).await;
    assert!(ports.links.mount(&target, Some(&source), blob.digest).await.unwrap());
    ports.links.unlink(&source, blob.digest).await.unwrap();
    assert!(!ports.links.mount(&repository("team/late"), Some(&source), blob.digest).await.unwrap());
    ports.links.locate(&target, blob.digest).await.unwrap();
    assert!(ports.links.mount(&source, Some(&target), blob.digest).await.unwrap());
}

async fn an_unlinked_blob_is_gone_from_its_repository_alone(ports: &IndexPorts) {
    let (mine, other) = (repository("team/app"), repository("team/other"));
    let blob = content("blob");
    ports.push_blob(&mine, &blob).await;
    ports.push_blob(&other, &blob).await;
    ports.links.unlink(&mine, blob.digest).await.unwrap();
    refused!(ports.links.locate(&mine, blob.digest).await, IndexError::BlobUnknown(_));
    refused!(ports.links.stat(&mine, blob.digest).await, IndexError::BlobUnknown(_));
    refused!(ports.links.unlink(&mine, blob.digest).await, IndexError::BlobUnknown(_));
    ports.links.locate(&other, blob.digest).await.unwrap();
}

async fn a_blob_that_a_manifest_needs_cannot_be_unlinked(ports: &IndexPorts) {
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1"]).await;
    for reference in &image.references {
        refused!(
            ports.links.unlink(&repository, reference.digest).await,
            IndexError::Referenced { digest, by } if digest == reference.digest && by == image.digest
        );
        ports.links.locate(&repository, reference.digest).await.unwrap();
    }
    ports.manifests.delete_manifest(&repository, &Reference::Digest(image.digest)).await.unwrap();
    for reference in &image.references {
        ports.links.unlink(&repository, reference.digest).await.unwrap();
    }
}

/// Race R13, sequential half.
async fn a_blob_unlinked_can_be_pushed_again(ports: &IndexPorts) {
    let repository = repository("team/app");
    let image = ports.image_of(&repository, "image").await;
    let layer = content("layer image");
    ports.links.unlink(&repository, layer.digest).await.unwrap();
    refused!(ports.put(&repository, &image, &["v1"]).await, IndexError::ReferencesMissing(missing) if missing == [layer.digest]);
    ports.push_blob(&repository, &layer).await;
    ports.put(&repository, &image, &["v1"]).await.unwrap();
}

async fn a_confirmed_blob_stays(ports: &IndexPorts) {
    let repository = repository("team/app");
    let image = ports.image_of(&repository, "image").await;
    for _ in 0..4 {
        ports.clock.advance(Duration::from_secs(20 * 60 * 60));
        ports.take_garbage(Duration::ZERO, Duration::from_secs(60)).await;
        for reference in &image.references {
            ports.links.stat(&repository, reference.digest).await.unwrap();
        }
    }
    ports.put(&repository, &image, &["v1"]).await.unwrap();
}
