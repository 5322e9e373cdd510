use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use proptest::prelude::*;

use super::*;
use crate::{ObjectError, RangeSource};

/// Bytes in memory that come in frames of an odd size, and how often they were asked for.
struct Bytewise {
    bytes: Bytes,
    frame: usize,
    requests: Arc<AtomicUsize>,
}

#[async_trait]
impl RangeSource for Bytewise {
    async fn read(&self, range: Range<u64>) -> Result<Frames, ObjectError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let bytes = self.bytes.slice(at(range.start)..at(range.end));
        let frames: Vec<_> = bytes.chunks(self.frame).map(|frame| Ok(Bytes::copy_from_slice(frame))).collect();
        Ok(stream::iter(frames).boxed())
    }
}

fn object(size: usize, frame: usize) -> (RemoteObject, Bytes, Arc<AtomicUsize>) {
    let bytes: Bytes = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let requests = Arc::<AtomicUsize>::default();
    let source = Bytewise { bytes: bytes.clone(), frame, requests: Arc::clone(&requests) };
    (RemoteObject::new(String::new(), size as u64, Arc::new(source)), bytes, requests)
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn collect(frames: RangeFrames, count: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<(usize, Bytes)> = ready(frames.try_collect()).unwrap();
    assert!(pieces.is_sorted_by_key(|(index, _)| *index), "out of order");
    let mut found = vec![Vec::new(); count];
    pieces.into_iter().for_each(|(index, bytes)| found[index].extend_from_slice(&bytes));
    found
}

#[test]
fn neighbours_are_read_together_and_nothing_else_is() {
    for (wanted, gap, requests) in [
        (vec![0..10, 20..30, 30..40], 10, 1),
        (vec![0..10, 21..30], 10, 2),
        (vec![20..30, 0..10], 100, 2),
        (vec![0..10, 5..15], 100, 2),
        (vec![0..10, 4..4, 12..13], 5, 1),
        (vec![500..600, 7..7], 5, 0),
    ] {
        let (object, bytes, asked) = object(100, 7);
        let found = collect(object.read_ranges(wanted.clone(), gap), wanted.len());
        for (range, found) in wanted.iter().zip(found) {
            let at = |offset: u64| usize::try_from(offset).unwrap().min(100);
            assert!(found == bytes[at(range.start)..at(range.end)], "{range:?}");
        }
        assert_eq!(asked.load(Ordering::Relaxed), requests, "{wanted:?}");
    }
}

proptest! {
    #[test]
    fn every_range_gets_its_bytes(
        wanted in proptest::collection::vec((0u64..300, 0u64..60), 0..12), gap in 0u64..80, frame in 1usize..50,
    ) {
        let wanted: Vec<_> = wanted.into_iter().map(|(start, length)| start..start + length).collect();
        let (object, bytes, _) = object(250, frame);
        let found = collect(object.read_ranges(wanted.clone(), gap), wanted.len());
        for (range, found) in wanted.iter().zip(found) {
            let at = |offset: u64| usize::try_from(offset).unwrap().min(250);
            prop_assert_eq!(found, &bytes[at(range.start)..at(range.end)]);
        }
    }
}
