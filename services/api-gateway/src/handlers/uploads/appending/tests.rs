use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::super::fakes::{Ports, start};
use super::*;

const MIB: u64 = 1 << 20;

/// Sends 150 MiB to a new upload; what came of it, and the saves: epoch, offset before and after.
async fn send(faults: fn(usize) -> Result<(), IndexError>) -> (Result<u64, Failed>, Vec<(u64, u64, u64)>) {
    let ports = Ports::appending(faults);
    let chunk = Bytes::from(vec![0; MIB as usize]);
    let body = stream::iter((0..150).map(move |_| Ok(chunk.clone()))).boxed();
    let appended = append_all(&ports.held(), start(), body, SegmentSize::LARGEST_PART).await;
    let saves = ports.saves.lock().unwrap().clone();
    (appended, saves)
}

#[test]
fn segments_end_where_parts_do() {
    let (first, largest) = (SegmentSize::FIRST_PARTS, SegmentSize::LARGEST_PART);
    for (size, offset, left) in [
        (first, 0, 8 * MIB),
        (first, 8 * MIB, 8 * MIB),
        (first, 8 * MIB + 1, 8 * MIB - 1),
        (first, 8_000 * MIB - 1, 1),
        (first, 8_000 * MIB, 64 * MIB),
        (first, 8_065 * MIB, 63 * MIB),
        (largest, 65 * MIB, 63 * MIB),
        (largest, 9_000 * MIB, 24 * MIB),
    ] {
        assert_eq!(size.left(offset), left, "{size:?} at {offset}");
    }
}

fn unavailable() -> Result<(), IndexError> {
    Err(IndexError::Unavailable("failing over".into()))
}

/// A request of its own for each would cut off a newer one that came between two of them.
#[tokio::test]
async fn segments_follow_each_other_in_one_epoch() {
    let (appended, saves) = send(|_| Ok(())).await;
    assert_eq!(appended.unwrap(), 150 * MIB);
    assert_eq!(saves, [(7, 0, 64 * MIB), (7, 64 * MIB, 128 * MIB), (7, 128 * MIB, 150 * MIB)]);
}

/// The client of a layer of gigabytes cannot send it again from here, and the next primary is there in seconds.
#[tokio::test(start_paused = true)]
async fn an_index_that_fails_over_does_not_end_an_upload() {
    let (appended, saves) = send(|n| if (2..8).contains(&n) { unavailable() } else { Ok(()) }).await;
    assert_eq!(appended.unwrap(), 150 * MIB);
    assert_eq!(saves.len(), 9);
    assert!(saves[1..8].iter().all(|save| *save == (7, 64 * MIB, 128 * MIB)), "{saves:?}");
}

#[tokio::test(start_paused = true)]
async fn an_index_that_stays_away_ends_it_in_time() {
    let began = Instant::now();
    let (appended, saves) = send(|_| unavailable()).await;
    assert!(matches!(appended, Err(Failed::Index(IndexError::Unavailable(_)))), "{appended:?}");
    assert!((SAVING / 2..=SAVING).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(saves.len() < 60, "{} saves", saves.len());
}

#[tokio::test]
async fn an_answer_of_the_index_counts_at_once() {
    let (appended, saves) = send(|_| Err(IndexError::UploadBusy)).await;
    assert!(matches!(appended, Err(Failed::Index(IndexError::UploadBusy))), "{appended:?}");
    assert_eq!(saves.len(), 1);
}
