use std::time::Duration;

use bytes::{Bytes, BytesMut};
use entrepot_core::ports::BlobError;

use crate::connector::Connector;

use super::testing::{Act, Storage, bytes};
use super::{DataClient, Download};

const SIZE: u64 = 5 << 20;
const DEADLINE: Duration = Duration::from_secs(20);

async fn collect(download: Result<Download, BlobError>) -> Result<Bytes, BlobError> {
    let mut download = download?;
    let mut all = BytesMut::new();
    while let Some(more) = download.next().await? {
        all.extend_from_slice(&more);
    }
    Ok(all.freeze())
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, poll).await.is_ok(), "never: {what}");
}

#[tokio::test]
async fn whole_and_part_over_one_connection() {
    let (bytes, client) = (bytes(SIZE), DataClient::new(Connector::new(None)));
    let storage = Storage::start(bytes.clone(), []).await;
    for (start, end) in [(0, SIZE), (5, 6), (SIZE - 1, SIZE), (1000, 2_000_000)] {
        let read = collect(Download::begin(client.clone(), storage.object(), start..end).await).await.unwrap();
        assert!(read == bytes.slice(usize::try_from(start).unwrap()..usize::try_from(end).unwrap()), "{start}..{end}");
    }
    assert_eq!((storage.connections(), storage.opened()), (1, 0));
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_ended() {
    let (bytes, client) = (bytes(SIZE), DataClient::new(Connector::new(None)));
    let cuts =
        [Act::Cut(1000), Act::Cut(0), Act::Cut(2 << 20), Act::Cut(7), Act::Cut(7), Act::Cut(7), Act::Cut(1 << 20)];
    let storage = Storage::start(bytes.clone(), cuts).await;
    let read = collect(Download::begin(client, storage.object(), 10..SIZE).await).await.unwrap();
    assert!(read == bytes.slice(10..));
    let starts: Vec<u64> = storage.requests().iter().map(|range| range.start).collect();
    let second = 1010 + (2 << 20);
    assert_eq!(starts[..6], [10, 1010, 1010, second, second + 7, second + 14]);
}

/// A short body never looks whole, and storage that gives nothing is not asked for ever.
#[tokio::test]
async fn what_keeps_breaking_is_an_error() {
    let storage = Storage::start(bytes(SIZE), std::iter::repeat_n(Act::Cut(10), 100)).await;
    let read = collect(Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..SIZE).await).await;
    assert!(matches!(read, Err(BlobError::Unavailable(_))), "{read:?}");
    assert!(storage.requests().len() <= 6, "{}", storage.requests().len());
}

#[tokio::test]
async fn a_url_that_has_expired_is_signed_again_once() {
    let bytes = bytes(SIZE);
    let storage = Storage::start(bytes.clone(), [Act::Say("403 Forbidden")]).await;
    assert!(
        collect(Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..SIZE).await).await.unwrap()
            == bytes
    );
    assert_eq!((storage.paths(), storage.opened()), (vec!["/object?sig=old".into(), "/object?sig=new".into()], 1));

    // In the middle of a long download, too.
    let storage = Storage::start(bytes.clone(), [Act::Cut(100), Act::Say("403 Forbidden")]).await;
    assert!(
        collect(Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..SIZE).await).await.unwrap()
            == bytes
    );
    assert_eq!(storage.paths(), ["/object?sig=old", "/object?sig=old", "/object?sig=new"]);

    let storage = Storage::start(bytes, [Act::Say("403 Forbidden"), Act::Say("400 Bad Request")]).await;
    let read = collect(Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..SIZE).await).await;
    assert!(matches!(read, Err(BlobError::Unavailable(_))), "{read:?}");
    assert_eq!(storage.requests().len(), 2);
}

#[tokio::test]
async fn busy_storage_is_asked_again_and_not_for_ever() {
    let bytes = bytes(1000);
    let busy = [Act::Say("503 Slow Down"), Act::Say("500 Internal Error")];
    let storage = Storage::start(bytes.clone(), busy.clone()).await;
    assert_eq!(
        collect(Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..1000).await).await.unwrap(),
        bytes
    );
    let storage = Storage::start(bytes, [busy[0].clone(), busy[1].clone(), busy[0].clone()]).await;
    let read = collect(Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..1000).await).await;
    assert!(matches!(read, Err(BlobError::Unavailable(_))), "{read:?}");
    assert_eq!(storage.requests().len(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let storage = Storage::start(bytes(10), [Act::Say("404 Not Found")]).await;
    let read = Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..10).await;
    assert!(matches!(read, Err(BlobError::NotFound)));
    assert_eq!(storage.requests().len(), 1);
}

#[tokio::test]
async fn bytes_of_another_place_are_not_handed_on() {
    for act in [Act::Whole, Act::Elsewhere, Act::Say("204 No Content"), Act::Say("307 Temporary Redirect")] {
        let storage = Storage::start(bytes(1000), [act.clone()]).await;
        let read =
            collect(Download::begin(DataClient::new(Connector::new(None)), storage.object(), 500..600).await).await;
        assert!(matches!(read, Err(BlobError::Unavailable(_))), "{act:?}: {read:?}");
    }
}

/// A client that takes nothing makes storage wait, and one that leaves ends the reading.
#[tokio::test]
async fn storage_is_read_no_faster_than_the_client_takes_it() {
    let size = 64 << 20;
    let storage = Storage::start(bytes(size), []).await;
    let mut download = Download::begin(DataClient::new(Connector::new(None)), storage.object(), 0..size).await.unwrap();
    assert!(download.next().await.unwrap().is_some());
    let mut last = u64::MAX;
    // Until nothing moves any more: the rest is in the sockets' buffers.
    while last != storage.sent() {
        last = storage.sent();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(last < size / 2, "{last} of {size} bytes were read for a client that took none");
    drop(download);
    eventually("storage sees the client leave", || storage.ended() == 1).await;
    assert!(storage.sent() < size);
}
