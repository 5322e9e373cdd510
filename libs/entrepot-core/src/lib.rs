//! The domain of a container registry: the nouns of the OCI Distribution Specification as types
//! that cannot hold an invalid value, the ports between the services, and the one table that maps
//! every error to a gRPC status, an HTTP status and an OCI error code.
//!
//! This crate performs no I/O and knows no transport: a handler parses text into these types at
//! the edge and passes the types on.

pub mod content_range;
pub mod descriptor;
pub mod digest;
pub mod error;
pub mod manifest;
pub mod media_type;
pub mod page;
pub mod ports;
pub mod principal;
pub mod range;
pub mod reference;
pub mod repository;
pub mod scope;
pub mod storage_key;
pub mod strict_json;
pub mod tag;
pub mod tenant;
pub mod token_buckets;
pub mod upload;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest};
pub use error::{ErrorKind, OciCode};
pub use manifest::Manifest;
pub use media_type::MediaType;
pub use page::{Page, PageOf};
pub use principal::Principal;
pub use reference::Reference;
pub use repository::RepositoryName;
pub use scope::{Action, Actions, Resource, Scope};
pub use storage_key::StorageKey;
pub use tag::Tag;
pub use tenant::TenantName;
pub use token_buckets::TokenBuckets;
pub use upload::UploadId;
