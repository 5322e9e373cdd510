use std::{
    fmt,
    fs::File,
    io,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

static SENT: AtomicU64 = AtomicU64::new(0);

/// How many bytes this process has sent by `sendfile(2)`.
pub fn bytes_sent() -> u64 {
    SENT.load(Ordering::Relaxed)
}

pub(super) fn count_sent(bytes: usize) {
    SENT.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// Turns ranges of files into body chunks that one connection sends with `sendfile(2)`.
///
/// Found in the extensions of requests that came over plain HTTP/1.1.
#[derive(Clone)]
pub struct FileSender {
    regions: Arc<Regions>,
}

impl FileSender {
    pub(super) fn new(regions: Arc<Regions>) -> Self {
        Self { regions }
    }

    /// The bytes `range` of `file`, to be passed on unread as one body chunk of any size; sub-slices are fine.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter than the range; otherwise what the kernel said on mapping it.
    pub fn bytes(&self, file: Arc<File>, range: Range<u64>) -> io::Result<Bytes> {
        if range.start >= range.end {
            return Ok(Bytes::new());
        }
        if file.metadata()?.len() < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let map = map(&file, range.start, length)?;
        let start = map.as_ptr().addr();
        self.regions.add(Region { start, length, offset: range.start, file });
        Ok(Bytes::from_owner(Registered { map, start, regions: self.regions.clone() }))
    }
}

#[expect(unsafe_code, reason = "mapping a file is only sound while nobody changes it")]
fn map(file: &File, offset: u64, length: usize) -> io::Result<Mmap> {
    // SAFETY: files given to a FileSender are immutable while they are served (the module's contract), and the mapping
    // is private and read-only. In the served path its pages are never touched at all; a reader elsewhere would fault
    // only if the contract were broken by truncating the file.
    unsafe { MmapOptions::new().offset(offset).len(length).map(file) }
}

impl fmt::Debug for FileSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSender")
    }
}

/// A mapping as the owner of `Bytes`; leaves the registry before it is unmapped, as the address may then be reused.
struct Registered {
    map: Mmap,
    start: usize,
    regions: Arc<Regions>,
}

impl AsRef<[u8]> for Registered {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.regions.remove(self.start);
    }
}

/// The file-backed address ranges of one connection: usually none or one.
#[derive(Default)]
pub(super) struct Regions {
    count: AtomicUsize,
    list: Mutex<Vec<Region>>,
}

struct Region {
    start: usize,
    length: usize,
    offset: u64,
    file: Arc<File>,
}

/// Where the bytes of a slice are in a file.
pub(super) struct Source {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
}

impl Regions {
    /// The file behind a slice that lies in a registered mapping.
    pub(super) fn source(&self, slice: &[u8]) -> Option<Source> {
        if self.count.load(Ordering::Acquire) == 0 || slice.is_empty() {
            return None;
        }
        let address = slice.as_ptr().addr();
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().find_map(|region| {
            let into = address.checked_sub(region.start)?;
            let inside = into.checked_add(slice.len())? <= region.length;
            inside.then(|| Source { file: region.file.clone(), offset: region.offset + into as u64 })
        })
    }

    fn add(&self, region: Region) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(region);
        self.count.fetch_add(1, Ordering::Release);
    }

    fn remove(&self, start: usize) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = list.iter().position(|region| region.start == start) {
            list.swap_remove(index);
            self.count.fetch_sub(1, Ordering::Release);
        }
    }
}
