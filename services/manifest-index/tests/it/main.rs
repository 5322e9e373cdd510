//! manifest-index over SQLite, or, with the feature `postgres-tests`, over PostgreSQL.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test binary")]

// Answering from memory is for the one process of an embedded registry.
#[cfg(not(feature = "postgres-tests"))]
mod caches;
mod contract;
#[cfg(feature = "postgres-tests")]
mod interleavings;
mod migrations;
// On PostgreSQL every interleaving is tried instead.
#[cfg(not(feature = "postgres-tests"))]
mod races;
mod records;
#[cfg(feature = "postgres-tests")]
mod replicas;
mod state_machine;
mod support;
