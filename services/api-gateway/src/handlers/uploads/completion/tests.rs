use std::time::Duration;

use bytes::Bytes;
use entrepot_core::ports::blobs::{BlobSource, BodyError};
use entrepot_core::{Algorithm, StorageKey};
use entrepot_runtime::shutdown::{Drain, DrainConfig, Drained};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::super::fakes::{Ports, Stored};
use super::*;
use crate::admission::{Admission, AdmissionLimits, Ask};

fn completion(
    resumable: bool,
    known: Option<LocatedBlob>,
    stored: Stored,
) -> (Completion, UnboundedReceiver<&'static str>) {
    let (ports, telling) = Ports::completing(known, stored);
    let held = ports.held();
    let digest = Digest::of(Algorithm::Sha256, b"blob");
    let hold = Drain::new(DrainConfig::IMMEDIATE).hold();
    (Completion { held, offset: None, digest, resumable, _permit: None, _hold: hold }, telling)
}

/// A request is dropped as its connection is, with its answer still to come.
#[tokio::test]
async fn a_client_that_goes_away_leaves_no_session_behind() {
    for (resumable, last, expected) in
        [(true, Err(BodyError::Cut), "give back"), (false, Err(BodyError::Cut), "end"), (true, Ok(()), "finish")]
    {
        let (completion, mut telling) = completion(resumable, None, || panic!("nothing is known"));
        let (go_on, gone_on) = oneshot::channel::<()>();
        let end = gone_on.map(move |_| last.map(|()| Bytes::new()));
        let mut request = Box::pin(completion.run(stream::once(end).boxed()));
        tokio::select! {
            answer = &mut request => panic!("answered before the body ended: {answer:?}"),
            told = telling.recv() => assert_eq!(told, Some("seal")),
        }
        drop(request);
        drop(go_on);
        let told = tokio::time::timeout(Duration::from_secs(10), telling.recv()).await;
        assert_eq!(told, Ok(Some(expected)));
    }
}

/// Invariants: bytes in memory are counted, and a gateway that drains ends what it began. A client that goes away does not
/// take its completion out of either.
#[tokio::test]
async fn a_completion_keeps_its_place_without_its_client() {
    let limits = AdmissionLimits {
        requests: 1,
        bytes_in_flight: 1 << 30,
        tenant_requests: None,
        tenant_bytes_in_flight: None,
        queue_timeout: Duration::from_secs(20),
        queued: 1,
    };
    let admission = Admission::new(limits);
    let (mut completion, mut telling) = completion(true, None, || panic!("nothing is known"));
    completion._permit = Some(admission.admit(Ask::LOOK_UP).await.unwrap());
    let drain = Drain::new(DrainConfig { timeout: Duration::from_secs(20), ..DrainConfig::IMMEDIATE });
    completion._hold = drain.hold();
    let (go_on, gone_on) = oneshot::channel::<()>();
    let end = gone_on.map(|_| Err(BodyError::Cut));
    let mut request = Box::pin(completion.run(stream::once(end).boxed()));
    tokio::select! {
        answer = &mut request => panic!("answered before the body ended: {answer:?}"),
        told = telling.recv() => assert_eq!(told, Some("seal")),
    }
    drop(request);
    let mut next = Box::pin(admission.admit(Ask::LOOK_UP));
    assert!((&mut next).now_or_never().is_none(), "there is no room while the bytes are there");
    drain.start();
    let mut drained = Box::pin(drain.drive());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut drained).await;
    assert!(early.is_err(), "{early:?}");
    drop(go_on);
    assert!(next.await.is_ok());
    assert_eq!(drained.await, Drained::Clean);
}

#[tokio::test]
async fn only_what_is_certainly_lost_is_replaced() {
    let cases: [(Stored, bool); 4] = [
        (|| Ok(BlobSource::Memory(Bytes::from_static(b"blob"))), false),
        (|| Ok(BlobSource::Memory(Bytes::from_static(b"blo"))), true),
        (|| Err(BlobError::NotFound), true),
        (|| Err(BlobError::Unavailable("no answer".into())), false),
    ];
    for (stored, lost) in cases {
        let known = LocatedBlob { key: StorageKey::random(), size: 4 };
        let (completion, mut telling) = completion(true, Some(known), stored);
        assert_eq!(completion.run(stream::empty().boxed()).await.unwrap(), lost.then_some(known.key));
        assert_eq!(telling.recv().await, Some("seal"));
        assert_eq!(telling.recv().await, Some(if lost { "replace" } else { "finish" }));
    }
}
