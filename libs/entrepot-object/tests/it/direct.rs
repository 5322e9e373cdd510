//! Writes past the page cache, and what they must not change: the bytes.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use entrepot_object::{Durability, FsOp, FsStore, ObjectError, ObjectStore, WRITE_ALIGNMENT, WriterState, contract};
use proptest::prelude::*;

use crate::support::{key, open, open_with, uploads};

const LONG: usize = 512 << 10;

/// `length` bytes whose address is `past` a multiple of the alignment.
fn chunk(length: usize, past: usize) -> Bytes {
    let memory: Vec<u8> = (0..length + 2 * WRITE_ALIGNMENT).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect();
    let start = memory.as_ptr().align_offset(WRITE_ALIGNMENT) + past;
    Bytes::from(memory).slice(start..start + length)
}

/// The operations since the last look.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<FsOp>>>);

impl Log {
    /// How many were opened and written past the page cache.
    fn direct(&self) -> [usize; 2] {
        let seen = std::mem::take(&mut *self.0.lock().unwrap());
        [FsOp::OpenDirect, FsOp::WriteDirect].map(|op| seen.iter().filter(|now| **now == op).count())
    }
}

/// A store that fails the operations `failing` asks for, with a log.
fn logged(dir: &Path, failing: impl Fn(FsOp) -> io::Result<()> + Send + Sync + 'static) -> (FsStore, Log) {
    let log = Log::default();
    let seen = log.clone();
    let store = open_with(dir, move |op| {
        seen.0.lock().unwrap().push(op);
        failing(op)
    });
    (store, log)
}

/// Whether the filesystem of `dir` takes direct writes at all.
fn possible(dir: &Path) -> bool {
    let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(dir.join("probe")).is_ok()
}

async fn written(store: &FsStore, name: &str, chunks: &[Bytes]) -> Vec<u8> {
    let mut writer = store.open_writer(&key(name), 1, &WriterState::start()).await.unwrap();
    writer.write(chunks.to_vec()).await.unwrap();
    let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
    store.seal(&key(name), 1, &state).await.unwrap();
    contract::contents(&store.open(&key(name)).await.unwrap())
}

#[tokio::test]
async fn long_aligned_chunks_go_past_the_page_cache_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = logged(dir.path(), |_| Ok(()));
    let long = chunk(LONG, 0);
    let none: [(&str, Vec<Bytes>); 4] = [
        ("short", vec![chunk(WRITE_ALIGNMENT, 0)]),
        ("address", vec![chunk(LONG, 1)]),
        ("length", vec![chunk(LONG + 1, 0)]),
        ("offset", vec![chunk(1, 0), long.clone()]),
    ];
    for (name, chunks) in none {
        assert_eq!(written(&store, name, &chunks).await, chunks.concat(), "{name}");
        assert_eq!(log.direct(), [0, 0], "{name}");
    }
    if !possible(dir.path()) {
        return;
    }
    let some: [(&str, Vec<Bytes>, usize); 3] = [
        ("one", vec![long.clone()], 1),
        ("neighbours are one call", vec![long.clone(), long.clone()], 1),
        ("between", vec![long.clone(), chunk(WRITE_ALIGNMENT, 0), chunk(5, 0), chunk(WRITE_ALIGNMENT - 5, 9), long], 2),
    ];
    for (name, chunks, calls) in some {
        let name = name.replace(' ', "-");
        assert_eq!(written(&store, &name, &chunks).await, chunks.concat(), "{name}");
        assert_eq!(log.direct(), [1, calls], "{name}");
    }
}

#[tokio::test]
async fn a_filesystem_that_cannot_gets_its_bytes_through_the_cache() {
    for (op, tries) in [(FsOp::OpenDirect, [1, 0]), (FsOp::WriteDirect, [1, 1])] {
        let dir = tempfile::tempdir().unwrap();
        let (store, log) = logged(dir.path(), move |now| match now == op {
            true => Err(io::ErrorKind::InvalidInput.into()),
            false => Ok(()),
        });
        let chunks = [chunk(LONG, 0), chunk(3, 0), chunk(LONG, 0)];
        let mut writer = store.open_writer(&key("refused"), 1, &WriterState::start()).await.unwrap();
        for _ in 0..2 {
            writer.write(chunks.to_vec()).await.unwrap();
        }
        if possible(dir.path()) {
            assert_eq!(log.direct(), tries, "asked once per upload");
        }
        assert_eq!(
            contract::contents(&writer.read_back().await.unwrap()),
            [&chunks[..], &chunks[..]].concat().concat()
        );
    }
}

#[tokio::test]
async fn a_disk_that_is_full_or_broken_is_told_apart_from_one_that_cannot() {
    let kinds = [(io::ErrorKind::StorageFull, true), (io::ErrorKind::Other, false)];
    for (kind, no_space) in kinds {
        let dir = tempfile::tempdir().unwrap();
        if !possible(dir.path()) {
            return;
        }
        let (store, _) = logged(dir.path(), move |now| match now == FsOp::WriteDirect {
            true => Err(kind.into()),
            false => Ok(()),
        });
        let mut writer = store.open_writer(&key("full"), 1, &WriterState::start()).await.unwrap();
        writer.write(vec![chunk(10, 0)]).await.unwrap();
        writer.checkpoint(Durability::Durable).await.unwrap();
        writer.write(vec![chunk(WRITE_ALIGNMENT - 10, 0)]).await.unwrap();
        let failed = writer.write(vec![chunk(LONG, 0)]).await;
        assert_eq!(matches!(failed, Err(ObjectError::NoSpace { .. })), no_space, "{failed:?}");
        assert!(failed.is_err());
        assert_eq!(uploads(dir.path())[0].1, 10, "up to the last checkpoint");
    }
}

/// Writes that some chunks make, cut into writers at any place.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(usize, usize)>),
    /// Another writer goes on at the last checkpoint.
    Resume,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![
        Just(LONG),
        Just(LONG - WRITE_ALIGNMENT),
        Just(WRITE_ALIGNMENT),
        1..2 * WRITE_ALIGNMENT,
        Just(LONG + 17)
    ];
    let chunk = (length, prop_oneof![Just(0), Just(512), Just(1)]);
    let step = prop_oneof![4 => proptest::collection::vec(chunk, 1..4).prop_map(Step::Write), 1 => Just(Step::Resume)];
    proptest::collection::vec(step, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_bytes_are_the_same_whichever_way_they_went(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = open(dir.path());
            let (mut expected, mut epoch) = (Vec::new(), 1);
            let mut writer = store.open_writer(&key("mixed"), epoch, &WriterState::start()).await.unwrap();
            for step in steps {
                match step {
                    Step::Write(chunks) => {
                        let chunks: Vec<Bytes> = chunks.iter().map(|(length, past)| chunk(*length, *past)).collect();
                        expected.extend(chunks.concat());
                        writer.write(chunks).await.unwrap();
                    }
                    Step::Resume => {
                        let state = writer.checkpoint(Durability::AtSeal).await.unwrap();
                        epoch += 1;
                        writer = store.open_writer(&key("mixed"), epoch, &state).await.unwrap();
                    }
                }
            }
            let state = writer.checkpoint(Durability::Durable).await.unwrap();
            store.seal(&key("mixed"), epoch, &state).await.unwrap();
            let found = contract::contents(&store.open(&key("mixed")).await.unwrap());
            assert!(found == expected);
        });
    }
}
