//! The contracts within a process, and over a real Redis where the feature `redis-tests` says that there is one.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod absent;
mod local;
#[cfg(feature = "redis-tests")]
mod redis;
