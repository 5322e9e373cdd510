//! What callers rely on, against a real database on disk, or, with the feature `postgres-tests`, on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "postgres-tests")]
mod failover;
mod faults;
mod migrations;
#[cfg(feature = "postgres-tests")]
mod postgres;
mod reads;
#[cfg(not(feature = "postgres-tests"))]
mod sqlite;
mod support;
