//! The ports of `entrepot-core` over gRPC: for each a client adapter, which implements the port by
//! calling a peer, and a server adapter, which offers an implementation to peers.
//!
//! A caller holds `Arc<dyn Port>` and cannot tell which it got. Everything generated from `proto/`
//! stays inside: [`client`] and [`server`] take and give domain types, and every error of a port
//! arrives as the variant it left as.
//!
//! - [`server::Services`] collects implementations and gives an [`axum::Router`] to mount on an
//!   HTTP/2 listener. It checks the [`InternalSecret`] and continues the caller's trace.
//! - [`client::Connection`] keeps connections to every replica of one peer and sends each call to one
//!   that is well; the clients share it.
//! - A request body travels as chunks with an explicit end, so that a peer that dies in the middle
//!   is never mistaken for one that finished.

mod body;
pub mod client;
mod deadline;
mod error;
mod secret;
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;

pub use client::{
    BlobLinksGrpcClient, BlobStoreGrpcClient, ClientConfig, Connection, Endpoint, GarbageQueueGrpcClient,
    ManifestIndexGrpcClient, TokenServiceGrpcClient, UploadIndexGrpcClient,
};
pub use secret::{InternalSecret, InternalSecretError};
pub use server::{Services, SignUrl};

/// Largest message either way: a 4 MiB manifest fits beside what was read out of it, which is no larger.
const MAX_MESSAGE_BYTES: usize = 12 << 20;

/// The generated code, by package: `pb::blob::v1` and so on.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::doc_markdown, reason = "generated")]
mod pb {
    include!(concat!(env!("OUT_DIR"), "/entrepot.rs"));
    pub(crate) use entrepot::*;
}
