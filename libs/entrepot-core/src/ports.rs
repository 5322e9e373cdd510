//! The ports between services. A caller holds `Arc<dyn Port>` and cannot tell whether the other
//! side is in the same process or behind gRPC.

pub mod auth;
pub mod blobs;
pub mod budget;
pub mod garbage;
pub mod index;
pub mod notices;
pub mod uploads;

pub use auth::{AuthError, TokenService};
pub use blobs::{BlobError, BlobStore};
pub use budget::RateBudget;
pub use garbage::GarbageQueue;
pub use index::{IndexError, ManifestIndex};
pub use notices::Notices;
pub use uploads::{BlobLinks, UploadIndex};
