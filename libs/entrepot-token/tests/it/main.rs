//! What a gateway may rely on, and what a forger may not achieve.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data_urls;
mod forged;
mod keys;

mod tokens;
