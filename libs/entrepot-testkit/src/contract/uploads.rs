//! The contract of [`UploadIndex`](entrepot_core::ports::UploadIndex).

use std::collections::HashSet;
use std::time::Duration;

use entrepot_core::ports::IndexError;
use entrepot_core::ports::uploads::Finish;
use entrepot_core::{Algorithm, Principal, UploadId};
use futures_util::future::join_all;

use super::{IndexPorts, page, refused, repository, run, state};
use crate::builders::{content, content_as};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Runs every case.
pub async fn all(fresh: impl AsyncFn() -> IndexPorts) {
    run!(
        fresh,
        a_session_goes_on_where_it_was_saved,
        a_session_belongs_to_one_repository,
        a_session_knows_its_owner,
        an_unknown_session_is_said_so,
        a_chunk_must_start_where_the_upload_stands,
        an_older_request_can_record_nothing,
        a_repeated_save_succeeds,
        a_completed_blob_is_in_the_repository,
        a_repeated_completion_answers_the_same_for_a_day,
        no_chunk_is_taken_during_completion,
        a_completion_can_be_taken_over,
        a_deserted_completion_gives_way_to_a_chunk,
        a_session_given_back_goes_on,
        a_late_give_back_does_not_disturb_a_newer_completion,
        a_cancelled_session_is_over,
        bytes_that_are_there_already_become_garbage,
        lost_bytes_are_replaced_for_everybody,
        concurrent_completions_of_one_digest_share_its_bytes,
        a_session_alone_makes_no_repository,
    );
}

async fn a_session_goes_on_where_it_was_saved(ports: &IndexPorts) {
    let repository = repository("team/app");
    let id = ports.uploads.open(&repository, &Principal::User("ada".into()), Algorithm::Sha512).await.unwrap();
    assert_eq!(ports.uploads.status(&repository, id).await.unwrap(), 0);
    let first = ports.uploads.begin_append(&repository, id, Some(0)).await.unwrap();
    assert_eq!((first.algorithm, first.offset, first.state.len()), (Algorithm::Sha512, 0, 0));
    ports.uploads.save(id, &first, 100, state("after 100")).await.unwrap();
    assert_eq!(ports.uploads.status(&repository, id).await.unwrap(), 100);
    for offset in [None, Some(100)] {
        let next = ports.uploads.begin_append(&repository, id, offset).await.unwrap();
        assert_eq!((next.key, next.offset, next.state), (first.key, 100, state("after 100")));
        assert!(next.epoch > first.epoch);
    }
    let digest = content_as(Algorithm::Sha512, "any").digest;
    let last = ports.begin_finish(&repository, id, digest).await;
    assert_eq!((last.key, last.offset, last.state.clone()), (first.key, 100, state("after 100")));
    ports.uploads.finish(id, &last, digest, 150, None).await.unwrap();
    let blob = ports.links.locate(&repository, digest).await.unwrap();
    assert_eq!((blob.key, blob.size), (first.key, 150));
}

async fn a_session_belongs_to_one_repository(ports: &IndexPorts) {
    let (mine, other) = (repository("team/app"), repository("team/other"));
    let id = ports.open(&mine).await;
    let digest = content("blob").digest;
    refused!(ports.uploads.status(&other, id).await, IndexError::UploadUnknown);
    refused!(ports.uploads.begin_append(&other, id, None).await, IndexError::UploadUnknown);
    refused!(ports.uploads.begin_finish(&other, id, None, digest).await, IndexError::UploadUnknown);
    refused!(ports.uploads.release(&other, id, None, false).await, IndexError::UploadUnknown);
    assert_eq!(ports.uploads.status(&mine, id).await.unwrap(), 0);
}

async fn a_session_knows_its_owner(ports: &IndexPorts) {
    let (mine, other) = (repository("team/app"), repository("team/other"));
    for owner in [Principal::Anonymous, Principal::User("ada".into()), Principal::Robot("ci".into())] {
        let id = ports.uploads.open(&mine, &owner, Algorithm::Sha256).await.unwrap();
        assert_eq!(ports.uploads.owner(&mine, id).await.unwrap(), owner);
        refused!(ports.uploads.owner(&other, id).await, IndexError::UploadUnknown);
        let digest = content("blob").digest;
        let position = ports.begin_finish(&mine, id, digest).await;
        ports.uploads.finish(id, &position, digest, 4, None).await.unwrap();
        assert_eq!(ports.uploads.owner(&mine, id).await.unwrap(), owner, "a repeated completion asks too");
    }
    refused!(ports.uploads.owner(&mine, UploadId::random()).await, IndexError::UploadUnknown);
}

async fn an_unknown_session_is_said_so(ports: &IndexPorts) {
    let repository = repository("team/app");
    let known = ports.open(&repository).await;
    let position = ports.uploads.begin_append(&repository, known, None).await.unwrap();
    let id = UploadId::random();
    let digest = content("blob").digest;
    refused!(ports.uploads.status(&repository, id).await, IndexError::UploadUnknown);
    refused!(ports.uploads.begin_append(&repository, id, None).await, IndexError::UploadUnknown);
    refused!(ports.uploads.save(id, &position, 1, state("")).await, IndexError::UploadUnknown);
    refused!(ports.uploads.begin_finish(&repository, id, None, digest).await, IndexError::UploadUnknown);
    refused!(ports.uploads.finish(id, &position, digest, 1, None).await, IndexError::UploadUnknown);
    refused!(ports.uploads.release(&repository, id, None, true).await, IndexError::UploadUnknown);
}

async fn a_chunk_must_start_where_the_upload_stands(ports: &IndexPorts) {
    let repository = repository("team/app");
    let id = ports.open(&repository).await;
    let position = ports.uploads.begin_append(&repository, id, None).await.unwrap();
    ports.uploads.save(id, &position, 10, state("10")).await.unwrap();
    let current = ports.uploads.begin_append(&repository, id, Some(10)).await.unwrap();
    for wrong in [0, 9, 11, u64::MAX] {
        refused!(
            ports.uploads.begin_append(&repository, id, Some(wrong)).await,
            IndexError::UploadOffset { offset: 10 }
        );
        refused!(
            ports.uploads.begin_finish(&repository, id, Some(wrong), content("blob").digest).await,
            IndexError::UploadOffset { offset: 10 }
        );
    }
    // The refused requests took nothing over.
    ports.uploads.save(id, &current, 20, state("20")).await.unwrap();
}

async fn an_older_request_can_record_nothing(ports: &IndexPorts) {
    let repository = repository("team/app");
    let id = ports.open(&repository).await;
    let stalled = ports.uploads.begin_append(&repository, id, Some(0)).await.unwrap();
    let newer = ports.uploads.begin_append(&repository, id, Some(0)).await.unwrap();
    assert_eq!(stalled.key, newer.key);
    refused!(ports.uploads.save(id, &stalled, 5, state("stalled")).await, IndexError::UploadBusy);
    ports.uploads.save(id, &newer, 7, state("newer")).await.unwrap();
    refused!(ports.uploads.save(id, &stalled, 5, state("stalled")).await, IndexError::UploadBusy);
    let next = ports.uploads.begin_append(&repository, id, None).await.unwrap();
    assert_eq!((next.offset, next.state), (7, state("newer")));
}

async fn a_repeated_save_succeeds(ports: &IndexPorts) {
    let repository = repository("team/app");
    let id = ports.open(&repository).await;
    let position = ports.uploads.begin_append(&repository, id, None).await.unwrap();
    for _ in 0..2 {
        ports.uploads.save(id, &position, 5, state("5")).await.unwrap();
    }
    refused!(ports.uploads.save(id, &position, 6, state("6")).await, IndexError::UploadBusy);
    refused!(ports.uploads.save(id, &position, 5, state("other")).await, IndexError::UploadBusy);
    assert_eq!(ports.uploads.status(&repository, id).await.unwrap(), 5);
}

async fn a_completed_blob_is_in_the_repository(ports: &IndexPorts) {
    let repository = repository("team/app");
    let blob = content("blob");
    refused!(ports.links.locate(&repository, blob.digest).await, IndexError::BlobUnknown(_));
    let id = ports.open(&repository).await;
    let position = ports.begin_finish(&repository, id, blob.digest).await;
    refused!(ports.links.locate(&repository, blob.digest).await, IndexError::BlobUnknown(_));
    ports.uploads.finish(id, &position, blob.digest, 4, None).await.unwrap();
    let located = ports.links.locate(&repository, blob.digest).await.unwrap();
    assert_eq!((located.key, located.size), (position.key, 4));
    assert_eq!(ports.links.stat(&repository, blob.digest).await.unwrap(), located);
    refused!(ports.uploads.status(&repository, id).await, IndexError::UploadUnknown);
    refused!(ports.uploads.begin_append(&repository, id, None).await, IndexError::UploadUnknown);
    refused!(ports.uploads.release(&repository, id, None, false).await, IndexError::UploadUnknown);
    assert_eq!(ports.take_garbage(HOUR, HOUR).await, []);
}

async fn a_repeated_completion_answers_the_same_for_a_day(ports: &IndexPorts) {
    let repository = repository("team/app");
    let (digest, other) = (content("blob").digest, content("other").digest);
    let id = ports.open(&repository).await;
    let position = ports.begin_finish(&repository, id, digest).await;
    ports.uploads.finish(id, &position, digest, 4, None).await.unwrap();
    for _ in 0..3 {
        ports.uploads.finish(id, &position, digest, 4, None).await.unwrap();
        let again = ports.uploads.begin_finish(&repository, id, None, digest).await.unwrap();
        assert_eq!(again, Finish::Done(digest));
        refused!(ports.uploads.begin_finish(&repository, id, None, other).await, IndexError::UploadUnknown);
        ports.clock.advance(7 * HOUR);
        ports.take_garbage(HOUR, HOUR).await;
    }
    ports.clock.advance(4 * HOUR);
    ports.take_garbage(HOUR, HOUR).await;
    refused!(ports.uploads.begin_finish(&repository, id, None, digest).await, IndexError::UploadUnknown);
    ports.links.locate(&repository, digest).await.unwrap();
}

/// Race R12: bytes that arrive after the digest was checked.
async fn no_chunk_is_taken_during_completion(ports: &IndexPorts) {
    let repository = repository("team/app");
    let digest = content("blob").digest;
    let id = ports.open(&repository).await;
    let stalled = ports.uploads.begin_append(&repository, id, None).await.unwrap();
    let position = ports.begin_finish(&repository, id, digest).await;
    assert!(position.epoch > stalled.epoch);
    refused!(ports.uploads.begin_append(&repository, id, None).await, IndexError::UploadBusy);
    refused!(ports.uploads.save(id, &stalled, 3, state("late")).await, IndexError::UploadBusy);
    ports.uploads.finish(id, &position, digest, 4, None).await.unwrap();
    refused!(ports.uploads.save(id, &stalled, 3, state("late")).await, IndexError::UploadUnknown);
    assert_eq!(ports.links.locate(&repository, digest).await.unwrap().size, 4);
}

async fn a_completion_can_be_taken_over(ports: &IndexPorts) {
    let repository = repository("team/app");
    let digest = content("blob").digest;
    let id = ports.open(&repository).await;
    let stalled = ports.begin_finish(&repository, id, digest).await;
    let newer = ports.begin_finish(&repository, id, digest).await;
    assert_eq!(ports.uploads.status(&repository, id).await.unwrap(), 0);
    refused!(ports.uploads.finish(id, &stalled, digest, 4, None).await, IndexError::UploadBusy);
    ports.uploads.finish(id, &newer, digest, 4, None).await.unwrap();
    // The stalled one finds its own purpose fulfilled.
    ports.uploads.finish(id, &stalled, digest, 4, None).await.unwrap();
}

/// The process that was completing it is gone and gave nothing back.
async fn a_deserted_completion_gives_way_to_a_chunk(ports: &IndexPorts) {
    let repository = repository("team/app");
    let digest = content("blob").digest;
    let id = ports.open(&repository).await;
    let first = ports.uploads.begin_append(&repository, id, None).await.unwrap();
    ports.uploads.save(id, &first, 5, state("5")).await.unwrap();
    let deserted = ports.begin_finish(&repository, id, digest).await;
    ports.clock.advance(9 * MINUTE);
    refused!(ports.uploads.begin_append(&repository, id, Some(5)).await, IndexError::UploadBusy);
    ports.clock.advance(2 * MINUTE);
    let next = ports.uploads.begin_append(&repository, id, Some(5)).await.unwrap();
    assert_eq!((next.key, next.offset, next.state.clone()), (first.key, 5, state("5")));
    assert!(next.epoch > deserted.epoch);
    refused!(ports.uploads.finish(id, &deserted, digest, 9, None).await, IndexError::UploadBusy);
    ports.uploads.release(&repository, id, Some(deserted.epoch), false).await.unwrap();
    ports.uploads.save(id, &next, 9, state("9")).await.unwrap();
    let last = ports.begin_finish(&repository, id, digest).await;
    ports.uploads.finish(id, &last, digest, 9, None).await.unwrap();
}

async fn a_session_given_back_goes_on(ports: &IndexPorts) {
    let repository = repository("team/app");
    let digest = content("blob").digest;
    let id = ports.open(&repository).await;
    let first = ports.uploads.begin_append(&repository, id, None).await.unwrap();
    ports.uploads.save(id, &first, 5, state("5")).await.unwrap();
    let broken = ports.begin_finish(&repository, id, digest).await;
    ports.uploads.release(&repository, id, None, true).await.unwrap();
    ports.uploads.release(&repository, id, None, true).await.unwrap();
    let next = ports.uploads.begin_append(&repository, id, Some(5)).await.unwrap();
    refused!(ports.uploads.finish(id, &broken, digest, 9, None).await, IndexError::UploadBusy);
    ports.uploads.save(id, &next, 9, state("9")).await.unwrap();
    let last = ports.begin_finish(&repository, id, digest).await;
    assert_eq!((last.key, last.offset, last.state.clone()), (first.key, 9, state("9")));
    ports.uploads.finish(id, &last, digest, 9, None).await.unwrap();
}

async fn a_late_give_back_does_not_disturb_a_newer_completion(ports: &IndexPorts) {
    let repository = repository("team/app");
    let digest = content("blob").digest;
    let id = ports.open(&repository).await;
    ports.begin_finish(&repository, id, digest).await;
    let newer = ports.begin_finish(&repository, id, digest).await;
    ports.uploads.release(&repository, id, None, true).await.unwrap();
    ports.uploads.finish(id, &newer, digest, 4, None).await.unwrap();
}

async fn a_cancelled_session_is_over(ports: &IndexPorts) {
    let repository = repository("team/app");
    let digest = content("blob").digest;
    for finalizing in [false, true] {
        let id = ports.open(&repository).await;
        let mut position = ports.uploads.begin_append(&repository, id, None).await.unwrap();
        if finalizing {
            position = ports.begin_finish(&repository, id, digest).await;
        }
        ports.uploads.release(&repository, id, None, false).await.unwrap();
        refused!(ports.uploads.status(&repository, id).await, IndexError::UploadUnknown);
        refused!(ports.uploads.begin_append(&repository, id, None).await, IndexError::UploadUnknown);
        refused!(ports.uploads.begin_finish(&repository, id, None, digest).await, IndexError::UploadUnknown);
        refused!(ports.uploads.release(&repository, id, None, false).await, IndexError::UploadUnknown);
        let garbage = ports.take_garbage(HOUR, HOUR).await;
        assert_eq!(garbage, [(position.key.to_string(), "cancelled-upload".to_owned())]);
        refused!(ports.uploads.save(id, &position, 1, state("late")).await, IndexError::UploadUnknown);
        refused!(ports.uploads.finish(id, &position, digest, 1, None).await, IndexError::UploadUnknown);
    }
    refused!(ports.links.locate(&repository, digest).await, IndexError::BlobUnknown(_));
}

async fn bytes_that_are_there_already_become_garbage(ports: &IndexPorts) {
    let (mine, other) = (repository("team/app"), repository("rival/app"));
    let blob = content("blob");
    ports.push_blob(&other, &blob).await;
    let theirs = ports.links.locate(&other, blob.digest).await.unwrap();
    for round in 0..2 {
        let id = ports.open(&mine).await;
        let position = ports.begin_finish(&mine, id, blob.digest).await;
        assert_ne!(position.key, theirs.key, "the bytes are received whether or not they are known");
        ports.uploads.finish(id, &position, blob.digest, 4, None).await.unwrap();
        assert_eq!(ports.links.locate(&mine, blob.digest).await.unwrap(), theirs);
        let garbage = ports.take_garbage(HOUR, HOUR).await;
        assert_eq!(garbage, [(position.key.to_string(), "duplicate".to_owned())], "round {round}");
    }
}

async fn lost_bytes_are_replaced_for_everybody(ports: &IndexPorts) {
    let (mine, other) = (repository("team/app"), repository("rival/app"));
    let blob = content("blob");
    let begin = async || {
        let id = ports.open(&mine).await;
        match ports.uploads.begin_finish(&mine, id, None, blob.digest).await.unwrap() {
            Finish::Write { position, known } => (id, position, known),
            Finish::Done(digest) => panic!("the session is done with {digest}"),
        }
    };
    assert_eq!(begin().await.2, None);
    ports.push_blob(&other, &blob).await;
    let gone = ports.links.locate(&other, blob.digest).await.unwrap();

    let (id, position, known) = begin().await;
    assert_eq!(known, Some(gone));
    for _ in 0..2 {
        ports.uploads.finish(id, &position, blob.digest, 4, Some(gone.key)).await.unwrap();
    }
    for repository in [&mine, &other] {
        let located = ports.links.stat(repository, blob.digest).await.unwrap();
        assert_eq!((located.key, located.size), (position.key, 4), "{repository}");
    }
    assert_eq!(ports.take_garbage(HOUR, HOUR).await, [], "a push hands out no key that a row still names");

    // Found lost by another completion too, which comes later: it was replaced, and what replaced it is used.
    let (id, late, known) = begin().await;
    assert_eq!(known.map(|blob| blob.key), Some(position.key));
    ports.uploads.finish(id, &late, blob.digest, 4, Some(gone.key)).await.unwrap();
    assert_eq!(ports.links.locate(&mine, blob.digest).await.unwrap().key, position.key);
    assert_eq!(ports.take_garbage(HOUR, HOUR).await, [(late.key.to_string(), "duplicate".to_owned())]);
}

async fn concurrent_completions_of_one_digest_share_its_bytes(ports: &IndexPorts) {
    let digest = content("blob").digest;
    let keys = join_all((0..8).map(|n| {
        let ports = ports.clone();
        async move {
            let repository = repository(&format!("team/app{}", n % 3));
            let id = ports.open(&repository).await;
            let position = ports.begin_finish(&repository, id, digest).await;
            ports.uploads.finish(id, &position, digest, 4, None).await.unwrap();
            position.key.to_string()
        }
    }))
    .await;
    let mut located = HashSet::new();
    for n in 0..3 {
        let repository = repository(&format!("team/app{n}"));
        located.insert(ports.links.locate(&repository, digest).await.unwrap().key.to_string());
    }
    assert_eq!(located.len(), 1);
    let garbage = ports.take_garbage(HOUR, HOUR).await;
    let garbage: HashSet<String> = garbage.into_iter().map(|(key, _)| key).collect();
    let mut all: HashSet<String> = keys.into_iter().collect();
    assert!(garbage.is_disjoint(&located) && garbage.len() == 7);
    all.retain(|key| !garbage.contains(key));
    assert_eq!(all, located);
}

async fn a_session_alone_makes_no_repository(ports: &IndexPorts) {
    let repository = repository("team/app");
    let id = ports.open(&repository).await;
    ports.begin_finish(&repository, id, content("blob").digest).await;
    refused!(ports.manifests.list_tags(&repository, page(None, 10)).await, IndexError::RepositoryUnknown(_));
    ports.push_blob(&repository, &content("blob")).await;
    assert_eq!(ports.manifests.list_tags(&repository, page(None, 10)).await.unwrap().items, []);
}
