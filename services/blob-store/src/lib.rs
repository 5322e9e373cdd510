//! blob-store: bytes only. It writes uploads while it hashes them, checks their digests, and says
//! where they can be read.
//!
//! - [`Blobs`] is the `BlobStore` port over any object store.
//! - [`data_router`] is the data port: blob reads of other processes, by [signed URLs](DataUrls).
//!
//! Nothing is kept between calls: what an upload needs to go on travels in its writer state.

mod attempt;
mod blobs;
mod buffers;
mod data_port;
mod data_urls;
mod hasher;
mod intake;
mod pipeline;
mod rehash;
mod writer_state;

pub use blobs::Blobs;
pub use data_port::data_router;
pub use data_urls::DataUrls;
