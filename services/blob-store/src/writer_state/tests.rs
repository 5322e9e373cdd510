use entrepot_core::{Digest, StorageKey};
use proptest::prelude::*;

use super::*;

fn position(offset: u64, state: Bytes) -> WriterPosition {
    WriterPosition { key: StorageKey::random(), algorithm: Algorithm::Sha256, epoch: 1, offset, state }
}

fn sample() -> Bytes {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(b"abc");
    encode(&WriterState { offset: 3, driver: Bytes::from_static(b"notes") }, Some(&hasher))
}

#[test]
fn round_trips() {
    let mut saved = Saved::decode(&position(3, sample())).unwrap();
    assert_eq!(saved.writer, WriterState { offset: 3, driver: Bytes::from_static(b"notes") });
    assert!(saved.hasher.clone().is_some());
    let mut hasher = saved.take_hasher(Algorithm::Sha256).unwrap();
    hasher.update(b"def");
    assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha256, b"abcdef"));
}

#[test]
fn a_state_of_another_offset_version_or_length_is_refused() {
    assert!(matches!(Saved::decode(&position(4, sample())), Err(BlobError::BadState)));
    assert!(matches!(Saved::decode(&position(3, Bytes::new())), Err(BlobError::BadState)));
    let mut other = sample().to_vec();
    other[0] = 2;
    assert!(matches!(Saved::decode(&position(3, other.into())), Err(BlobError::BadState)));
    let mut long = sample().to_vec();
    long[9] = 0xff;
    assert!(matches!(Saved::decode(&position(3, long.into())), Err(BlobError::BadState)));
}

#[test]
fn an_unknown_or_damaged_hash_means_hashing_again() {
    let hash_part = 1 + 8 + 4 + 5;
    for (at, value) in [(hash_part, 9), (hash_part + 1, 2), (sample().len() - 64, 200)] {
        let mut state = sample().to_vec();
        state[at] = value;
        let mut saved = Saved::decode(&position(3, state.into())).unwrap();
        assert!(saved.take_hasher(Algorithm::Sha256).is_none(), "byte {at}");
        assert_eq!(saved.writer.driver, "notes");
    }
    let mut saved = Saved::decode(&position(3, sample())).unwrap();
    assert!(saved.take_hasher(Algorithm::Sha512).is_none(), "another algorithm");
    let short = sample().slice(..sample().len() - 1);
    assert!(Saved::decode(&position(3, short)).unwrap().hasher.is_none());
}

proptest! {
    #[test]
    fn never_panics(state in proptest::collection::vec(any::<u8>(), 0..200), offset in any::<u64>()) {
        let _ = Saved::decode(&position(offset, state.into()));
    }
}
