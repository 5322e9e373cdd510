//! The file of one writer: long aligned writes go past the page cache, the rest through it.
//!
//! A copy into the page cache and the kernel's work on its pages cost as much as half the hash of the bytes, and
//! drive out what is being pulled. What is short stays in the cache: small objects are read soon and often.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{Advice, OFlags};
use rustix::io::Errno;

use super::disk::{Disk, FsOp};
use crate::WRITE_ALIGNMENT;

/// Most buffers in one system call (`UIO_MAXIOV`).
const MAX_SLICES: usize = 1024;

/// The least that is worth a trip to the disk of its own.
const SHORTEST_DIRECT: usize = 256 << 10;

/// Bytes through the page cache after which the kernel is asked to start writing them out, so that little is left for
/// the flush that the client waits for. Large enough for the disk to write in one go.
const WRITEBACK: u64 = 8 << 20;

/// An upload's file, open for its writer.
#[derive(Debug)]
pub(super) struct UploadFile {
    cached: File,
    path: PathBuf,
    /// The same file past the page cache, opened by the first write it suits; `None` if that cannot be.
    direct: OnceLock<Option<File>>,
    /// Set when the filesystem refused what it was opened for.
    refused: AtomicBool,
}

impl UploadFile {
    /// `path` must name the file for as long as somebody writes.
    pub(super) fn new(cached: File, path: PathBuf) -> Self {
        Self { cached, path, direct: OnceLock::new(), refused: AtomicBool::new(false) }
    }

    /// The file for everything but writing.
    pub(super) fn cached(&self) -> &File {
        &self.cached
    }

    /// Writes all chunks at `offset`; returns the offset behind them.
    pub(super) fn write(&self, disk: &Disk, mut offset: u64, mut chunks: &[Bytes]) -> io::Result<u64> {
        disk.before(FsOp::Write)?;
        while !chunks.is_empty() {
            let direct = leading(chunks, offset);
            if direct > 0
                && let Some(file) = self.direct(disk)
            {
                let slices = &mut chunks[..direct].iter().map(|chunk| IoSlice::new(chunk)).collect::<Vec<_>>();
                match disk.before(FsOp::WriteDirect).and_then(|()| write_all(file, slices, offset)) {
                    Ok(after) => {
                        (offset, chunks) = (after, &chunks[direct..]);
                        continue;
                    }
                    // Some filesystems open the file and then want other alignments, or take none of this.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        tracing::debug!(%error, "no direct writes on this filesystem");
                        self.refused.store(true, Ordering::Relaxed);
                    }
                    Err(error) => return Err(error),
                }
            }
            // At least one, up to the next that could go past the cache.
            let mut count = 1;
            let mut after = offset + chunks[0].len() as u64;
            while count < chunks.len().min(MAX_SLICES) && leading(&chunks[count..], after) == 0 {
                after += chunks[count].len() as u64;
                count += 1;
            }
            let slices = &mut chunks[..count].iter().map(|chunk| IoSlice::new(chunk)).collect::<Vec<_>>();
            offset = write_all(&self.cached, slices, offset)?;
            chunks = &chunks[count..];
        }
        Ok(offset)
    }

    /// Asks the kernel to start writing out what went through its cache since `from`; returns up to where it did.
    ///
    /// Linux starts writeback of dirty pages on this advice and drops only clean ones, so what has
    /// just been written stays in memory: `sync_file_range(2)` in effect.
    pub(super) fn start_writeback(&self, from: u64, to: u64) -> u64 {
        let Some(length) = NonZeroU64::new(to - from).filter(|length| length.get() >= WRITEBACK) else { return from };
        let bypassed = self.direct.get().is_some_and(Option::is_some) && !self.refused.load(Ordering::Relaxed);
        if !bypassed && let Err(errno) = rustix::fs::fadvise(&self.cached, from, Some(length), Advice::DontNeed) {
            tracing::debug!(%errno, "no early writeback");
        }
        to
    }

    fn direct(&self, disk: &Disk) -> Option<&File> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let open = || {
            let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
            disk.before(FsOp::OpenDirect)
                .and_then(|()| OpenOptions::new().write(true).custom_flags(flags).open(&self.path))
                .inspect_err(|error| tracing::debug!(%error, "no direct writes on this filesystem"))
                .ok()
        };
        self.direct.get_or_init(open).as_ref()
    }
}

/// How many of the first chunks can go past the page cache when they are written at `offset`.
fn leading(chunks: &[Bytes], offset: u64) -> usize {
    let aligned = |chunk: &&Bytes| {
        chunk.len() >= SHORTEST_DIRECT
            && chunk.len().is_multiple_of(WRITE_ALIGNMENT)
            && chunk.as_ptr().align_offset(WRITE_ALIGNMENT) == 0
    };
    match offset.is_multiple_of(WRITE_ALIGNMENT as u64) {
        true => chunks.iter().take(MAX_SLICES).take_while(aligned).count(),
        false => 0,
    }
}

/// Writes everything at `offset`; returns the offset behind it.
fn write_all(file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<u64> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match rustix::io::pwritev(file, slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut slices, written);
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(offset)
}
