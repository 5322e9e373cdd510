//! What callers rely on, against a real database on disk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod migrations;
mod reads;
mod support;
mod writes;
