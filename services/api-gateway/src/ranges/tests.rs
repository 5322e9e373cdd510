use bytes::{Bytes, BytesMut};
use entrepot_core::ports::BlobError;
use entrepot_core::range::ByteRange;
use futures_util::TryStreamExt;

use super::parts;
use crate::connector::Connector;
use crate::source::DataClient;
use crate::source::testing::{Act, Storage, bytes};

const SIZE: u64 = 8 << 20;

/// What a client gets for these ranges, each after the number of its part in brackets.
async fn read(storage: &Storage, ranges: &[(u64, u64)]) -> Result<Bytes, BlobError> {
    let part = |(number, &(start, end)): (usize, &(u64, u64))| (head(number), ByteRange { start, end });
    let parts = ranges.iter().enumerate().map(part).collect();
    let stream = parts::stream(&DataClient::new(Connector::new(None)), &storage.object(), parts).await?;
    let all: BytesMut = stream
        .try_fold(BytesMut::new(), |mut all, more| async move {
            all.extend_from_slice(&more);
            Ok(all)
        })
        .await?;
    Ok(all.freeze())
}

fn head(number: usize) -> Bytes {
    format!("[{number}]").into()
}

fn expected(bytes: &Bytes, ranges: &[(u64, u64)]) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let parts = ranges.iter().enumerate();
    parts.flat_map(|(number, &(start, end))| [head(number), bytes.slice(at(start)..at(end))]).flatten().collect()
}

#[tokio::test]
async fn one_read_serves_many_ranges() {
    let bytes = bytes(SIZE);
    let hundreds: Vec<(u64, u64)> = (0..1000).map(|n| (n * 5000, n * 5000 + 100)).collect();
    let apart = [(0, 10), (20, 3_000_000), (3_000_000, 3_000_001), (6_000_000, SIZE)];
    for (ranges, reads) in [
        (&hundreds[..], 1),
        (&[(500, 600), (0, 1), (400, 501), (7, 8), (7, 8)], 1),
        (&apart, 2),
        (&[(SIZE - 5, SIZE), (0, 4_000_000), (2_000_000, 5_000_000), (0, 1)], 4),
    ] {
        let storage = Storage::start(bytes.clone(), []).await;
        assert!(read(&storage, ranges).await.unwrap() == expected(&bytes, ranges), "{} ranges", ranges.len());
        assert_eq!(storage.requests().len(), reads, "{:?}", storage.requests());
    }
}

#[tokio::test]
async fn a_broken_read_goes_on_and_a_missing_object_is_known_at_once() {
    let bytes = bytes(SIZE);
    let ranges = [(0, 1000), (2000, 3_000_000), (5_000_000, SIZE), (0, 10), (5, 20)];
    let storage = Storage::start(bytes.clone(), [Act::Cut(500), Act::Cut(2_000_000), Act::Say("403 Forbidden")]).await;
    assert!(read(&storage, &ranges).await.unwrap() == expected(&bytes, &ranges));

    let storage = Storage::start(bytes.clone(), [Act::Say("404 Not Found")]).await;
    assert!(matches!(read(&storage, &ranges).await, Err(BlobError::NotFound)));

    let storage = Storage::start(bytes, std::iter::repeat_n(Act::Cut(1), 100)).await;
    assert!(matches!(read(&storage, &ranges).await, Err(BlobError::Unavailable(_))));
}

#[test]
fn what_is_kept_for_ranges_out_of_order_is_known_beforehand() {
    const MIB: u64 = 1 << 20;
    let kept = |ranges: &[(u64, u64)]| {
        parts::most_kept(&ranges.iter().map(|&(start, end)| ByteRange { start, end }).collect::<Vec<_>>())
    };
    assert_eq!(kept(&[(0, 10), (20, 3_000_000), (3_000_000, 3_000_001), (6_000_000, SIZE)]), 0);
    assert_eq!(kept(&[(0, 10), (5, 20)]), 20);
    let backwards = |at: u64| [(at + MIB - 10, at + MIB), (at + 500_000, at + MIB - 20), (at, at + 500_000)];
    assert_eq!(kept(&backwards(0)), MIB);
    let far: Vec<(u64, u64)> = (0..7).flat_map(|n| backwards(n * 4 * MIB)).collect();
    assert_eq!(kept(&far), 3 * MIB, "of the read that is being sent and the two begun ahead of it");
    let mixed = [&backwards(0)[..], &[(4 * MIB, 5 * MIB), (6 * MIB, 7 * MIB)], &backwards(8 * MIB)].concat();
    assert_eq!(kept(&mixed), MIB, "never both at once");
}
