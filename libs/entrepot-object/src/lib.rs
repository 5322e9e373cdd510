//! Object storage: one port, its drivers, its decorators and the suite they all pass.
//!
//! The crate knows nothing of registries: keys are opaque, bytes are bytes. What to store, how to
//! name and how to hash it is the business of the caller.
//!
//! - [`ObjectStore`] is the port; its documentation is the contract.
//! - [`FsStore`] keeps objects in one directory of a local filesystem.
//! - [`S3Store`] keeps them in a bucket of S3, shared by any number of processes.
//! - [`MemoryStore`] keeps them in memory, for tests and throw-away registries.

#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod fs;
mod key;
mod memory;
mod remote;
mod s3;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{ObjectError, OpenError};
#[cfg(feature = "testing")]
pub use fs::{FaultHook, FsOp};
pub use fs::{FsOptions, FsStore};
pub use key::{KeyError, ObjectKey};
pub use memory::MemoryStore;
pub use remote::{Frames, RangeFrames, RangeSource, RemoteObject};
pub use s3::{CheckError, S3Credentials, S3Encryption, S3Options, S3Store};
pub use store::{
    Durability, ListQuery, ListScope, ObjectEntry, ObjectMeta, ObjectRead, ObjectStore, ObjectWriter, WRITE_ALIGNMENT,
    WriterState,
};
