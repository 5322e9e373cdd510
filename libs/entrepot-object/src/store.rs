//! The port.

use std::fmt::Debug;
use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{ObjectError, ObjectKey, RemoteObject};

/// What disks and filesystems want addresses and offsets to be multiples of when bytes bypass the page cache.
pub const WRITE_ALIGNMENT: usize = 4096;

/// Stores immutable objects under keys that are never reused.
///
/// # Contract
/// - **Life of a key**: written by any number of writers one after another, sealed once, read any
///   number of times, deleted once. An object can be opened, stated and found in a
///   [`ListScope::Sealed`] listing from the moment `seal` answers, whole, and not before.
/// - **Epochs** order the writers of a key; they count from 1, and a writer is refused when the
///   key has seen a higher one. Opening a writer cuts off the one before it, of a lower epoch or
///   of the same: when `open_writer` returns, the older writer's last write has ended and its next
///   call fails with [`ObjectError::Fenced`], so two writers never mix bytes. Dropping a future
///   of a writer does not stop a write that has begun; the next writer waits for it.
/// - **Resuming**: the caller keeps the [`WriterState`] of the last checkpoint and hands it to the
///   next writer, in this process or, where the driver is shared, in any other. Bytes written after that
///   checkpoint are dropped first.
/// - **Durability**: what a [`Durability::Durable`] checkpoint or `seal` answered outlives a crash
///   and a power cut. A failed flush is final: the bytes are discarded, and the upload answers
///   [`ObjectError::Discarded`] from then on, for nobody can tell what reached the disk.
/// - **Repeats**: `seal`, `abort` and `delete` may be repeated and then succeed again, but see [`seal`](Self::seal).
///   After an [`ObjectError::Io`] or [`ObjectError::Busy`] it is unknown whether the operation took place: repeat it.
/// - **Shared stores**: where several processes work on one store, an older writer in another of them may still send
///   bytes. They never get into the object of a newer one; at worst the newer one is [`ObjectError::Discarded`].
#[async_trait]
pub trait ObjectStore: Debug + Send + Sync + 'static {
    /// Whether [`ObjectWriter::write`] copies into memory of the driver's own. Bytes need not be gathered for such a one.
    ///
    /// A writer of it, one that is just opened too, may hold memory that others wait for. Whoever needs other memory to
    /// write has that before it opens one, or two could wait for each other.
    fn copies(&self) -> bool {
        false
    }

    /// Starts writing `key` at the offset of `resume`.
    ///
    /// [`WriterState::start`] begins a new object. Fails with `Fenced` if the key has seen a higher
    /// epoch, `AlreadySealed`, or `Discarded` if the store holds fewer bytes than `resume` says.
    async fn open_writer(
        &self,
        key: &ObjectKey,
        epoch: u64,
        resume: &WriterState,
    ) -> Result<Box<dyn ObjectWriter>, ObjectError>;

    /// Makes the bytes up to `state.offset` the object: final, durable, visible. Any writer is cut
    /// off; `epoch` must be no lower than the last writer's.
    ///
    /// A repeat after success makes sure of the durability again and succeeds; it needs no driver notes. It
    /// fails with `AlreadySealed` if its offset is not the object's size. A store that others share may fail with
    /// `AlreadySealed` for a repeat *with* notes too, even where the first reply got lost on the way: it cannot tell
    /// whose bytes it holds. A caller that can, by their digest, then repeats without notes.
    async fn seal(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError>;

    /// Cuts off any writer and drops the bytes of an unsealed upload. No effect on a sealed object
    /// or an unknown key. Fails with `Fenced` if the key has seen a higher epoch; `u64::MAX` ends whatever is there.
    /// `state` is the last one known, or the start, for drivers that keep parts elsewhere.
    async fn abort(&self, key: &ObjectKey, epoch: u64, state: &WriterState) -> Result<(), ObjectError>;

    /// Opens a sealed object. What is returned stays readable when the object is deleted meanwhile, unless it is
    /// [`ObjectRead::Remote`].
    async fn open(&self, key: &ObjectKey) -> Result<ObjectRead, ObjectError>;

    /// Size and age of a sealed object.
    async fn stat(&self, key: &ObjectKey) -> Result<ObjectMeta, ObjectError>;

    /// Deletes a sealed object; a key without one is success.
    async fn delete(&self, key: &ObjectKey) -> Result<(), ObjectError>;

    /// One page of keys in ascending byte order. A key that is there all the time is on exactly
    /// one page of a walk that continues after the last key of each page; a page shorter than the
    /// limit is the last.
    async fn list(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>, ObjectError>;
}

/// Writes one object from an offset on. See [`ObjectStore`] for what epochs guarantee.
///
/// After an error the writer is of no more use, except to be dropped.
#[async_trait]
pub trait ObjectWriter: Debug + Send {
    /// Bytes of the object up to here.
    fn offset(&self) -> u64;

    /// Appends the chunks in order; they count as one write. Chunks of 1 MiB are best, in memory and at an
    /// [`offset`](Self::offset) that are multiples of [`WRITE_ALIGNMENT`]: a driver may then take them without a copy.
    ///
    /// On [`ObjectError::NoSpace`] everything after the last checkpoint has been dropped.
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), ObjectError>;

    /// Returns the state from which another writer, or `seal`, can go on at the present offset.
    async fn checkpoint(&mut self, durability: Durability) -> Result<WriterState, ObjectError>;

    /// Opens the bytes written so far, for a caller that must see them again.
    ///
    /// Fails with [`ObjectError::Unreadable`] where they can be read only once they are sealed.
    async fn read_back(&mut self) -> Result<ObjectRead, ObjectError>;

    /// Ends the writer and frees what it wrote after its last [`Durability::Durable`] checkpoint, or after
    /// where it began. The upload goes on from there, whether or not anything is left of it.
    ///
    /// Space is all this is about: the next writer drops those bytes in any case.
    async fn take_back(self: Box<Self>) -> Result<(), ObjectError>;
}

/// What a checkpoint promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes and the state outlive a power cut.
    Durable,
    /// The bytes outlive nothing yet; only good for a `seal` that follows, which flushes anyway. The last that is asked of
    /// a writer: what it is given afterwards is in no object.
    AtSeal,
}

/// Where to go on writing an object: kept by the caller, opaque but for the offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterState {
    /// Bytes stored up to here.
    pub offset: u64,
    /// The driver's own notes, versioned by it: nothing for a file, parts for a multipart upload.
    pub driver: Bytes,
}

impl WriterState {
    /// The state of an object that has no bytes yet.
    pub const fn start() -> Self {
        Self { offset: 0, driver: Bytes::new() }
    }
}

/// The bytes of an object, ready to be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ObjectRead {
    /// An open file holding exactly the object, for positioned reads or `sendfile`.
    File {
        /// The file; its read position is shared, so use positioned reads only.
        file: Arc<File>,
        /// Bytes of the object; the file of a growing upload may be longer.
        size: u64,
    },
    /// The whole object in memory.
    Bytes(Bytes),
    /// An object elsewhere, to be read in ranges.
    Remote(RemoteObject),
}

impl ObjectRead {
    /// Bytes of the object.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Remote(object) => object.size(),
        }
    }
}

/// Facts about a sealed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size in bytes.
    pub size: u64,
    /// Last change by the store's clock: for showing and for coarse age, never for ordering.
    pub modified: SystemTime,
}

/// Which keys to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Finished objects or unfinished uploads.
    pub scope: ListScope,
    /// Only keys that start with this text; empty for all.
    pub prefix: String,
    /// Only keys after this text; from the start when `None`.
    pub after: Option<String>,
    /// Most entries to return.
    pub limit: usize,
}

/// Kinds of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListScope {
    /// Sealed objects.
    Sealed,
    /// Uploads neither sealed nor aborted.
    Unsealed,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    /// The object's key.
    pub key: ObjectKey,
    /// Its size and age; of an unsealed upload, what is there so far.
    pub meta: ObjectMeta,
}
