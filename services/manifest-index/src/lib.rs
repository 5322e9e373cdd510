//! manifest-index: the only owner of registry metadata.
//!
//! [`Index`] implements four ports over one database: [`ManifestIndex`] (repositories, manifests, tags,
//! referrers), [`UploadIndex`] (sessions), [`BlobLinks`] (which repository has which blob) and [`GarbageQueue`]
//! (keys that nothing names any more). Each write is one file in `transaction/`: a [`Transaction`] that locks what
//! it depends on, checks it again, and changes everything or nothing. Safety rests on that re-check alone; leases
//! only keep honest pushes from being refused.
//!
//! Every transaction that takes away an edge which kept something (a tag moved, a manifest deleted, a link that only
//! its lease holds) enqueues a review of what lost it, so that garbage is found without ever scanning.
//!
//! [`ManifestIndex`]: entrepot_core::ports::ManifestIndex
//! [`UploadIndex`]: entrepot_core::ports::UploadIndex
//! [`BlobLinks`]: entrepot_core::ports::BlobLinks
//! [`GarbageQueue`]: entrepot_core::ports::GarbageQueue
//! [`Transaction`]: entrepot_sql::Transaction

mod cache;
mod column;
mod error;
mod garbage;
mod index;
mod links;
mod manifests;
mod repository;
mod retention;
mod transaction;
mod uploads;

pub use index::{Index, Options, SCHEMA, migrate, migrations};
pub use retention::{LEASE, REVIEW_DELAY, SESSION_MEMORY};
