//! The HTTP edge of Entrepot: the OCI Distribution API.
//!
//! Stateless: it holds ports, caches of immutable answers and nothing else. A handler authorises,
//! calls a port and renders; what is true is decided by manifest-index, what is stored by
//! blob-store, who may do what by auth-token.

mod admission;
mod auth;
mod body;
mod caches;
mod conditions;
mod config;
mod connector;
mod error;
mod flights;
mod gateway;
mod handlers;
mod host;
mod locate;
mod location;
mod lookups;
mod outlive;
mod query;
mod ranges;
mod redirect;
mod room;
mod route;
mod source;

pub use admission::{AdmissionLimits, Rate, RateLimits};
pub use config::{AccessMode, GatewayConfig, SegmentSize};
pub use gateway::{Gateway, Ports};
pub use redirect::{RedirectPolicy, Redirects};
