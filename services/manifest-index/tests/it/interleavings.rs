//! The races that lose images in other registries (`R…`), on PostgreSQL, as far as today's transactions take part.
//!
//! Two processes work on one database, and their requests meet in every way that stopping each once between its
//! statements gives. After each meeting the whole database is audited. Every guard is then taken away in turn (a statement
//! loses its lock or a condition), and something has to go wrong: a test that cannot fail proves nothing.

mod board;
mod collector;
mod doubt;
mod manifests;
mod sessions;
