//! The largest messages the domain allows.

use std::collections::BTreeMap;

use bytes::Bytes;
use entrepot_core::manifest::{MAX_DESCRIPTORS, MAX_MANIFEST_BYTES, ManifestReference, ReferenceKind};
use entrepot_core::ports::index::{IndexError, ManifestIndex, Referrer, StoredManifest};
use entrepot_core::{Algorithm, Digest, Manifest, MediaType, Page, PageOf, RepositoryName};

use crate::fakes::scripted;

fn digest(number: usize) -> Digest {
    Digest::of(Algorithm::Sha512, &number.to_be_bytes())
}

fn annotations(bytes: usize) -> BTreeMap<String, String> {
    BTreeMap::from([("a".to_owned(), "x".repeat(bytes - 1))])
}

fn name() -> RepositoryName {
    "team/app".parse().unwrap()
}

#[tokio::test]
async fn the_largest_manifest_passes_and_every_missing_reference_is_named() {
    let (script, clients) = scripted();
    let payload = Bytes::from(vec![b' '; MAX_MANIFEST_BYTES]);
    let references = (0..MAX_DESCRIPTORS).map(|at| ManifestReference {
        digest: digest(at),
        size: u64::MAX,
        kind: ReferenceKind::Blob,
    });
    let manifest = Manifest {
        media_type: MediaType::oci_manifest(),
        payload: payload.clone(),
        digest: digest(0),
        subject: Some(digest(1)),
        artifact_type: None,
        annotations: annotations(MAX_MANIFEST_BYTES),
        references: references.collect(),
    };
    let missing: Vec<Digest> = (0..MAX_DESCRIPTORS).map(digest).collect();
    script.answer(Err::<(), _>(IndexError::ReferencesMissing(missing.clone())));
    match clients.index.put_manifest(&name(), manifest, Vec::new()).await {
        Err(IndexError::ReferencesMissing(named)) => assert!(named == missing),
        other => panic!("{other:?}"),
    }

    let stored = StoredManifest { digest: digest(0), media_type: MediaType::oci_manifest(), payload };
    script.answer(Ok::<_, IndexError>(stored.clone()));
    assert!(clients.index.get_manifest(&name(), digest(0)).await.unwrap() == stored);
}

#[tokio::test]
async fn a_page_of_referrers_too_large_for_a_message_goes_on_in_the_next() {
    for (bytes, fitting) in [(MAX_MANIFEST_BYTES, 1), (MAX_MANIFEST_BYTES / 8, 7)] {
        let (script, clients) = scripted();
        let referrers: Vec<Referrer> = (0..20)
            .map(|at| Referrer {
                digest: digest(at),
                media_type: MediaType::oci_manifest(),
                size: 1,
                artifact_type: None,
                annotations: annotations(bytes),
            })
            .collect();
        script.answer(Ok::<_, IndexError>(PageOf { items: referrers.clone(), next: None }));
        let page = clients.index.list_referrers(&name(), digest(0), None, Page::default()).await.unwrap();
        let count = page.items.len();
        assert_eq!(count, fitting);
        assert!(page.items == referrers[..count]);
        assert_eq!(page.next, Some(referrers[count - 1].digest.to_string()));
    }
}

#[tokio::test]
async fn a_full_page_of_the_longest_tags_passes() {
    let (script, clients) = scripted();
    let tags: Vec<entrepot_core::Tag> = (0..1000).map(|at| format!("{at:0>128}").parse().unwrap()).collect();
    let page = PageOf { items: tags, next: Some("x".to_owned()) };
    script.answer(Ok::<_, IndexError>(page.clone()));
    assert_eq!(clients.index.list_tags(&name(), Page::default()).await.unwrap(), page);
}
