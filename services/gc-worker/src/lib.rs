//! Deletes bytes that nothing names any more: so far those of upload sessions that were abandoned,
//! cancelled, or turned out to be duplicates.
//!
//! A worker leases keys from manifest-index, deletes each at blob-store and acknowledges them. It
//! holds no state: any number may run, and any may die at any moment, since an item that was not
//! acknowledged is leased again and deleting an absent key succeeds. It opens no database; whether
//! a key is garbage is decided by the index alone ([`entrepot_core::ports::garbage`]).

mod backoff;
mod config;
mod worker;

pub use config::WorkerConfig;
pub use worker::{Poke, Worker};
