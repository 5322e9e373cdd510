//! The system suite: the whole registry in this process, every case in both topologies.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

mod base;
mod buckets;
mod configuration;
mod deletes;
mod errors;
mod hostile;
mod interruptions;
mod listings;
mod managed;
mod manifests;
mod mounts;
mod pulls;
mod pushes;
mod ranges;
mod referrers;
mod shutdown;
mod tokens;
