//! What the tests share.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use entrepot_object::{FaultHook, FsOp, FsOptions, FsStore, ObjectKey};

pub(crate) fn key(name: &str) -> ObjectKey {
    format!("data/00/{name}").parse().unwrap()
}

pub(crate) fn open(dir: &Path) -> FsStore {
    FsStore::open(dir, FsOptions::default()).unwrap()
}

pub(crate) fn open_with(dir: &Path, hook: impl Fn(FsOp) -> io::Result<()> + Send + Sync + 'static) -> FsStore {
    FsStore::open(dir, FsOptions::default().faults(FaultHook(Arc::new(hook)))).unwrap()
}

pub(crate) fn chunk(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

/// Every upload file with its length.
pub(crate) fn uploads(dir: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(dir.join(".uploads")).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

/// Holds a disk operation in the thread that does it.
pub(crate) struct Gate {
    pub(crate) reached: mpsc::Receiver<()>,
    pub(crate) release: mpsc::Sender<()>,
}

/// A hook that holds the first `op`.
pub(crate) fn gate(op: FsOp) -> (Gate, impl Fn(FsOp) -> io::Result<()> + Send + Sync) {
    let (reached_tx, reached) = mpsc::channel();
    let (release, release_rx) = mpsc::channel::<()>();
    let once = Mutex::new(Some((reached_tx, release_rx)));
    let hook = move |now: FsOp| {
        if now == op
            && let Some((reached, release)) = once.lock().unwrap().take()
        {
            reached.send(()).unwrap();
            // Also goes on when the test has dropped the gate.
            let _ = release.recv();
        }
        Ok(())
    };
    (Gate { reached, release }, hook)
}
