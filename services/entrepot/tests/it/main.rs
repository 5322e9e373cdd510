//! The system suite: the whole registry in this process, every case in both topologies.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

mod abuse;
mod base;
mod buckets;
mod configuration;
mod deletes;
mod errors;
mod fleet;
mod gateways;
mod hostile;
mod interruptions;
mod limits;
mod listings;
mod managed;
mod manifests;
mod mounts;
mod notices;
mod operations;
#[cfg(feature = "postgres-tests")]
mod postgres;
mod process;
mod pulls;
mod pushes;
mod ranges;
mod redirects;
#[cfg(feature = "redis-tests")]
mod redis;
mod referrers;
mod shutdown;
mod tokens;
