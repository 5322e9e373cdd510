//! The HTTP edge of Entrepot: the OCI Distribution API.
//!
//! Stateless: it holds ports, caches of immutable answers and nothing else. A handler authorises,
//! calls a port and renders; what is true is decided by manifest-index, what is stored by
//! blob-store, who may do what by auth-token.

mod auth;
mod body;
mod caches;
mod conditions;
mod config;
mod error;
mod flights;
mod gateway;
mod handlers;
mod location;
mod lookups;
mod query;
mod ranges;
mod room;
mod route;
mod source;

pub use config::{AccessMode, GatewayConfig};
pub use gateway::{Gateway, Ports};
