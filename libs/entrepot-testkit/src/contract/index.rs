//! The contract of [`ManifestIndex`](entrepot_core::ports::ManifestIndex).

use std::collections::BTreeMap;

use entrepot_core::error::Classify;
use entrepot_core::ports::IndexError;
use entrepot_core::ports::index::Visibility;
use entrepot_core::{Algorithm, Digest, ErrorKind, Reference};
use futures_util::future::join_all;

use super::{IndexPorts, by_tag, page, refused, repository, run, tag};
use crate::builders::{ManifestBuilder, content};

/// Runs every case.
pub async fn all(fresh: impl AsyncFn() -> IndexPorts) {
    run!(
        fresh,
        a_pushed_image_is_found_by_tag_and_digest,
        nothing_is_written_when_a_reference_is_missing,
        content_of_another_repository_does_not_count,
        an_index_takes_manifests_and_layers,
        a_foreign_layer_is_held_when_present_and_not_required,
        a_manifest_of_thousands_of_layers_is_stored,
        a_tag_moves_and_the_old_manifest_stays,
        repeating_a_push_changes_nothing,
        a_deleted_tag_leaves_its_manifest,
        a_deleted_manifest_takes_its_tags_with_it,
        a_deleted_manifest_can_be_pushed_again,
        a_listed_manifest_cannot_be_deleted,
        what_is_unknown_is_said_so,
        tags_are_listed_bytewise_in_pages,
        repositories_are_listed_as_far_as_visible,
        names_of_one_component_are_listed_with_their_tenant,
        referrers_are_listed_by_digest_and_type,
        referrers_of_what_is_unknown_are_none,
        many_annotations_end_a_page_early,
        concurrent_pushes_to_one_tag_all_succeed,
    );
}

async fn a_pushed_image_is_found_by_tag_and_digest(ports: &IndexPorts) {
    for (name, algorithm) in [("team/app", Algorithm::Sha256), ("alpine", Algorithm::Sha512)] {
        let repository = repository(name);
        let (config, layer) = (content("config"), content("layer"));
        ports.push_blob(&repository, &config).await;
        ports.push_blob(&repository, &layer).await;
        let image = ManifestBuilder::image(&config, &[layer]).algorithm(algorithm).build();
        ports.put(&repository, &image, &["v1", "latest", "v1"]).await.unwrap();
        for reference in [by_tag("v1"), by_tag("latest"), Reference::Digest(image.digest)] {
            // Twice, since the second answer may come from somewhere else.
            for _ in 0..2 {
                assert_eq!(ports.manifests.resolve(&repository, &reference).await.unwrap(), image.digest);
            }
        }
        for _ in 0..2 {
            let stored = ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
            assert_eq!(
                (stored.digest, stored.media_type, stored.payload),
                (image.digest, image.media_type.clone(), image.payload.clone())
            );
        }
    }
}

async fn nothing_is_written_when_a_reference_is_missing(ports: &IndexPorts) {
    let repository = repository("team/app");
    let (config, here, gone) = (content("config"), content("here"), content("gone"));
    let image = ManifestBuilder::image(&config, &[here.clone(), gone.clone()]).build();
    refused!(ports.put(&repository, &image, &["v1"]).await, IndexError::ReferencesMissing(missing) if missing.len() == 3);
    refused!(ports.manifests.list_tags(&repository, page(None, 10)).await, IndexError::RepositoryUnknown(_));

    ports.push_blob(&repository, &config).await;
    ports.push_blob(&repository, &here).await;
    let old = ports.push_image(&repository, "old", &["v1"]).await;
    refused!(
        ports.put(&repository, &image, &["v1", "v2"]).await,
        IndexError::ReferencesMissing(missing) if missing == [gone.digest]
    );
    assert_eq!(ports.resolve(&repository, "v1").await, Some(old.digest));
    assert_eq!(ports.resolve(&repository, "v2").await, None);
    refused!(ports.manifests.get_manifest(&repository, image.digest).await, IndexError::ManifestUnknown(_));
    ports.links.unlink(&repository, here.digest).await.unwrap();
}

async fn content_of_another_repository_does_not_count(ports: &IndexPorts) {
    let (mine, theirs) = (repository("team/app"), repository("team/other"));
    let image = ports.push_image(&theirs, "image", &["v1"]).await;
    refused!(ports.put(&mine, &image, &["v1"]).await, IndexError::ReferencesMissing(missing) if missing.len() == 2);
    let index = ManifestBuilder::index(std::slice::from_ref(&image)).build();
    refused!(ports.put(&mine, &index, &["v1"]).await, IndexError::ReferencesMissing(missing) if missing == [image.digest]);
    let kind = ports.manifests.get_manifest(&mine, image.digest).await.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::NotFound);
}

async fn an_index_takes_manifests_and_layers(ports: &IndexPorts) {
    let repository = repository("team/app");
    let amd = ports.push_image(&repository, "amd64", &[]).await;
    let arm = ports.image_of(&repository, "arm64").await;
    let index = ManifestBuilder::index(&[amd.clone(), arm.clone()]).build();
    refused!(
        ports.put(&repository, &index, &["v1"]).await,
        IndexError::ReferencesMissing(missing) if missing == [arm.digest]
    );
    ports.put(&repository, &arm, &[]).await.unwrap();
    ports.put(&repository, &index, &["v1"]).await.unwrap();
    let nested = ManifestBuilder::index(&[index]).build();
    ports.put(&repository, &nested, &["nested"]).await.unwrap();

    let layer = content("cached");
    let cache = ManifestBuilder::cache(std::slice::from_ref(&layer)).build();
    refused!(ports.put(&repository, &cache, &["cache"]).await, IndexError::ReferencesMissing(_));
    ports.push_blob(&repository, &layer).await;
    ports.put(&repository, &cache, &["cache"]).await.unwrap();
    refused!(
        ports.links.unlink(&repository, layer.digest).await,
        IndexError::Referenced { digest, by } if digest == layer.digest && by == cache.digest
    );
}

async fn a_foreign_layer_is_held_when_present_and_not_required(ports: &IndexPorts) {
    let repository = repository("team/app");
    let (config, far) = (content("config"), content("far"));
    ports.push_blob(&repository, &config).await;
    let image = ManifestBuilder::image(&config, &[]).foreign_layer(&far).build();
    ports.put(&repository, &image, &["v1"]).await.unwrap();
    ports.push_blob(&repository, &far).await;
    ports.put(&repository, &image, &["v1"]).await.unwrap();
    refused!(ports.links.unlink(&repository, far.digest).await, IndexError::Referenced { .. });
}

async fn a_manifest_of_thousands_of_layers_is_stored(ports: &IndexPorts) {
    let repository = repository("team/app");
    let config = content("config");
    let layers: Vec<_> = (0..1000).map(|n| content(&format!("layer {n}"))).collect();
    ports.push_blob(&repository, &config).await;
    join_all(layers[1..].iter().map(|layer| ports.push_blob(&repository, layer))).await;
    let image = ManifestBuilder::image(&config, &layers).build();
    refused!(
        ports.put(&repository, &image, &["v1"]).await,
        IndexError::ReferencesMissing(missing) if missing == [layers[0].digest]
    );
    ports.push_blob(&repository, &layers[0]).await;
    ports.put(&repository, &image, &["v1"]).await.unwrap();
    for layer in layers.iter().step_by(100) {
        refused!(ports.links.unlink(&repository, layer.digest).await, IndexError::Referenced { .. });
    }
}

async fn a_tag_moves_and_the_old_manifest_stays(ports: &IndexPorts) {
    let repository = repository("team/app");
    let old = ports.push_image(&repository, "old", &["v1", "stable"]).await;
    assert_eq!(ports.resolve(&repository, "v1").await, Some(old.digest));
    let new = ports.push_image(&repository, "new", &["v1"]).await;
    assert_eq!(ports.resolve(&repository, "v1").await, Some(new.digest));
    assert_eq!(ports.resolve(&repository, "stable").await, Some(old.digest));
    assert_eq!(ports.manifests.get_manifest(&repository, old.digest).await.unwrap().payload, old.payload);
}

async fn repeating_a_push_changes_nothing(ports: &IndexPorts) {
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1"]).await;
    for _ in 0..3 {
        ports.put(&repository, &image, &["v1"]).await.unwrap();
    }
    assert_eq!(ports.resolve(&repository, "v1").await, Some(image.digest));
    assert_eq!(ports.manifests.list_tags(&repository, page(None, 10)).await.unwrap().items, [tag("v1")]);
}

async fn a_deleted_tag_leaves_its_manifest(ports: &IndexPorts) {
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1", "v2"]).await;
    assert_eq!(ports.resolve(&repository, "v1").await, Some(image.digest));
    ports.manifests.delete_manifest(&repository, &by_tag("v1")).await.unwrap();
    assert_eq!(ports.resolve(&repository, "v1").await, None);
    assert_eq!(ports.resolve(&repository, "v2").await, Some(image.digest));
    ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
    refused!(
        ports.manifests.delete_manifest(&repository, &by_tag("v1")).await,
        IndexError::ManifestUnknown(reference) if reference == by_tag("v1")
    );
}

async fn a_deleted_manifest_takes_its_tags_with_it(ports: &IndexPorts) {
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1", "v2"]).await;
    let other = ports.push_image(&repository, "other", &["v3"]).await;
    for name in ["v1", "v2"] {
        assert_eq!(ports.resolve(&repository, name).await, Some(image.digest));
    }
    ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
    let reference = Reference::Digest(image.digest);
    ports.manifests.delete_manifest(&repository, &reference).await.unwrap();
    for name in ["v1", "v2"] {
        assert_eq!(ports.resolve(&repository, name).await, None);
    }
    refused!(ports.manifests.get_manifest(&repository, image.digest).await, IndexError::ManifestUnknown(_));
    refused!(ports.manifests.resolve(&repository, &reference).await, IndexError::ManifestUnknown(_));
    refused!(ports.manifests.delete_manifest(&repository, &reference).await, IndexError::ManifestUnknown(_));
    assert_eq!(ports.resolve(&repository, "v3").await, Some(other.digest));
    assert_eq!(ports.manifests.list_tags(&repository, page(None, 10)).await.unwrap().items, [tag("v3")]);
}

async fn a_deleted_manifest_can_be_pushed_again(ports: &IndexPorts) {
    let repository = repository("team/app");
    let image = ports.push_image(&repository, "image", &["v1"]).await;
    for _ in 0..2 {
        ports.manifests.delete_manifest(&repository, &Reference::Digest(image.digest)).await.unwrap();
        assert_eq!(ports.resolve(&repository, "v1").await, None);
        ports.put(&repository, &image, &["v1"]).await.unwrap();
        assert_eq!(ports.resolve(&repository, "v1").await, Some(image.digest));
        ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
    }
}

async fn a_listed_manifest_cannot_be_deleted(ports: &IndexPorts) {
    let repository = repository("team/app");
    let child = ports.push_image(&repository, "child", &["child"]).await;
    let index = ManifestBuilder::index(std::slice::from_ref(&child)).build();
    ports.put(&repository, &index, &["v1"]).await.unwrap();
    let (child, parent) = (child.digest, index.digest);
    refused!(
        ports.manifests.delete_manifest(&repository, &Reference::Digest(child)).await,
        IndexError::Referenced { digest, by } if digest == child && by == parent
    );
    assert_eq!(ports.resolve(&repository, "child").await, Some(child), "a refusal changes nothing");
    ports.manifests.delete_manifest(&repository, &by_tag("child")).await.unwrap();
    ports.manifests.delete_manifest(&repository, &Reference::Digest(parent)).await.unwrap();
    ports.manifests.delete_manifest(&repository, &Reference::Digest(child)).await.unwrap();
}

async fn what_is_unknown_is_said_so(ports: &IndexPorts) {
    let nowhere = repository("no/where");
    let digest = content("nothing").digest;
    refused!(ports.manifests.list_tags(&nowhere, page(None, 10)).await, IndexError::RepositoryUnknown(name) if name == nowhere);
    for reference in [by_tag("v1"), Reference::Digest(digest)] {
        let errors = [
            ports.manifests.resolve(&nowhere, &reference).await.unwrap_err(),
            ports.manifests.delete_manifest(&nowhere, &reference).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::NotFound), "{errors:?}");
    }
    let made = repository("team/app");
    ports.push_image(&made, "image", &["v1"]).await;
    refused!(ports.manifests.resolve(&made, &by_tag("v2")).await, IndexError::ManifestUnknown(reference) if reference == by_tag("v2"));
    refused!(
        ports.manifests.get_manifest(&made, digest).await,
        IndexError::ManifestUnknown(reference) if reference == Reference::Digest(digest)
    );
}

async fn tags_are_listed_bytewise_in_pages(ports: &IndexPorts) {
    let (mine, other) = (repository("team/app"), repository("team/other"));
    let sorted = ["1.0", "1.0-rc", "1.0.1", "10", "2", "A", "Z", "_", "a", "z"];
    ports.push_image(&other, "image", &["0", "1.0", "zz"]).await;
    let mut pushed = sorted;
    pushed.reverse();
    ports.push_image(&mine, "image", &pushed).await;
    let list = async |after: Option<&str>, limit| ports.manifests.list_tags(&mine, page(after, limit)).await.unwrap();

    let whole = list(None, 100).await;
    assert_eq!((whole.items, whole.next), (sorted.map(tag).to_vec(), None));
    for limit in 1..=11 {
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let part = list(after.as_deref(), limit).await;
            assert!(part.items.len() as u64 <= limit);
            walked.extend(part.items);
            match part.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(walked, sorted.map(tag), "in pages of {limit}");
    }
    assert_eq!(list(Some("1.0.0"), 1).await.items, [tag("1.0.1")], "after a name that does not exist");
    assert_eq!(list(Some("b!/ "), 100).await.items, [tag("z")], "after what is no tag");
    let end = list(Some("z"), 5).await;
    assert_eq!((end.items, end.next), (vec![], None));
    let none = list(None, 0).await;
    assert_eq!((none.items, none.next), (vec![], None));
}

async fn repositories_are_listed_as_far_as_visible(ports: &IndexPorts) {
    let sorted = ["alpine", "team-x/app", "team/app", "team/app-two", "team/app/sub", "zeta"];
    for name in sorted.iter().rev() {
        ports.push_blob(&repository(name), &content("blob")).await;
    }
    ports.open(&repository("team/opened")).await;
    let list = async |visible: &Visibility, after: Option<&str>, limit| {
        let part = ports.manifests.list_repositories(visible, page(after, limit)).await.unwrap();
        (part.items.iter().map(ToString::to_string).collect::<Vec<_>>(), part.next)
    };
    let only = |entries: &[&str]| Visibility::Only(entries.iter().map(ToString::to_string).collect());

    assert_eq!(list(&Visibility::All, None, 100).await, (sorted.map(str::to_owned).to_vec(), None));
    assert_eq!(
        list(&Visibility::All, None, 2).await,
        (vec!["alpine".into(), "team-x/app".into()], Some("team-x/app".into()))
    );
    assert_eq!(
        list(&Visibility::All, Some("team/app-two"), 2).await,
        (vec!["team/app/sub".into(), "zeta".into()], None)
    );
    assert_eq!(list(&only(&[]), None, 100).await, (vec![], None));
    assert_eq!(list(&only(&["team/", "team/app", "alpine", "team/app/"]), None, 2).await.0, ["alpine", "team/app"]);
    assert_eq!(
        list(&only(&["zeta", "team/", "team/app"]), Some("team/app"), 100).await.0,
        ["team/app-two", "team/app/sub", "zeta"]
    );
    assert_eq!(list(&only(&["team/app", "tea", "team", "nowhere/"]), None, 100).await.0, ["team/app"]);
    assert_eq!(list(&only(&["team/app", "zeta"]), None, 1).await, (vec!["team/app".into()], Some("team/app".into())));
}

/// A right on the tenant `library` is one on `alpine`.
async fn names_of_one_component_are_listed_with_their_tenant(ports: &IndexPorts) {
    for name in ["zeta", "library/redis", "alpine", "team/app", "library-x", "busybox"] {
        ports.image_of(&repository(name), name).await;
    }
    let list = async |entries: &[&str], after: Option<&str>, limit| {
        let visible = Visibility::Only(entries.iter().map(ToString::to_string).collect());
        let part = ports.manifests.list_repositories(&visible, page(after, limit)).await.unwrap();
        (part.items.iter().map(ToString::to_string).collect::<Vec<_>>(), part.next)
    };
    let all = ["alpine", "busybox", "library-x", "library/redis", "zeta"];
    assert_eq!(list(&["library/"], None, 100).await, (all.map(str::to_owned).to_vec(), None));
    let mut walked = vec![];
    let mut after = None;
    loop {
        let (names, next) = list(&["team/", "library/"], after.as_deref(), 2).await;
        walked.extend(names);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(walked, ["alpine", "busybox", "library-x", "library/redis", "team/app", "zeta"]);
    assert_eq!(list(&["library/redis", "team/"], None, 100).await.0, ["library/redis", "team/app"]);
}

async fn referrers_are_listed_by_digest_and_type(ports: &IndexPorts) {
    let repository = repository("team/app");
    let subject = ports.image_of(&repository, "image").await;
    let config = content("config image");
    let mut referrers = BTreeMap::new();
    for n in 0..40 {
        let kind = if n % 4 == 0 { "test/signature" } else { "test/sbom" };
        let referrer = ManifestBuilder::image(&config, &[])
            .subject(subject.digest)
            .artifact_type(kind)
            .annotation("number", &n.to_string())
            .build();
        ports.put(&repository, &referrer, &[]).await.unwrap();
        referrers.insert(referrer.digest, (referrer, kind));
    }
    // Only now: a referrer may come before its subject.
    ports.put(&repository, &subject, &["v1"]).await.unwrap();

    for wanted in [None, Some("test/signature"), Some("test/none")] {
        let expected: Vec<Digest> = referrers
            .iter()
            .filter(|(_, (_, kind))| wanted.is_none_or(|wanted| wanted == *kind))
            .map(|(digest, _)| *digest)
            .collect();
        for limit in [1, 7, 100] {
            let (mut walked, mut after) = (Vec::new(), None);
            loop {
                let page = page(after.as_deref(), limit);
                let part = ports.manifests.list_referrers(&repository, subject.digest, wanted, page).await.unwrap();
                for entry in &part.items {
                    let (manifest, kind) = &referrers[&entry.digest];
                    assert_eq!(entry.media_type, manifest.media_type);
                    assert_eq!(entry.size, manifest.payload.len() as u64);
                    assert_eq!(entry.artifact_type.as_deref(), Some(*kind));
                    assert_eq!(entry.annotations, manifest.annotations);
                }
                walked.extend(part.items.into_iter().map(|entry| entry.digest));
                match part.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(walked, expected, "{wanted:?} in pages of {limit}");
        }
    }
    let first = *referrers.keys().next().unwrap();
    ports.manifests.delete_manifest(&repository, &Reference::Digest(first)).await.unwrap();
    let rest = ports.manifests.list_referrers(&repository, subject.digest, None, page(None, 100)).await.unwrap();
    assert_eq!(rest.items.len(), referrers.len() - 1);
}

async fn referrers_of_what_is_unknown_are_none(ports: &IndexPorts) {
    let made = repository("team/app");
    ports.push_image(&made, "image", &["v1"]).await;
    for repository in [made, repository("no/where")] {
        let subject = content("nothing").digest;
        let list = ports.manifests.list_referrers(&repository, subject, None, page(None, 100)).await.unwrap();
        assert_eq!((list.items, list.next), (vec![], None));
    }
}

async fn many_annotations_end_a_page_early(ports: &IndexPorts) {
    let repository = repository("team/app");
    let subject = ports.push_image(&repository, "image", &["v1"]).await.digest;
    let config = content("config image");
    for n in 0..12 {
        let referrer = ManifestBuilder::image(&config, &[])
            .subject(subject)
            .annotation("large", &format!("{n:02}").repeat(200 << 10))
            .build();
        ports.put(&repository, &referrer, &[]).await.unwrap();
    }
    let (mut count, mut pages, mut after) = (0, 0, None);
    loop {
        let page = page(after.as_deref(), 100);
        let part = ports.manifests.list_referrers(&repository, subject, None, page).await.unwrap();
        let bytes: usize = part.items.iter().map(|entry| entry.annotations["large"].len()).sum();
        assert!(bytes < 3 << 20, "an answer of {bytes} bytes");
        (count, pages) = (count + part.items.len(), pages + 1);
        match part.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert!(count == 12 && pages > 1, "{count} in {pages} pages");
}

async fn concurrent_pushes_to_one_tag_all_succeed(ports: &IndexPorts) {
    let repository = repository("team/app");
    let images = join_all((0..8).map(|n| {
        let (ports, repository) = (ports.clone(), repository.clone());
        async move { ports.push_image(&repository, &format!("image {n}"), &["v1"]).await }
    }))
    .await;
    let winner = ports.resolve(&repository, "v1").await.unwrap();
    assert!(images.iter().any(|image| image.digest == winner));
    for image in images {
        ports.manifests.get_manifest(&repository, image.digest).await.unwrap();
    }
}
