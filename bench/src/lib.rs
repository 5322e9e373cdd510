//! The benchmark of Entrepot against CNCF Distribution (the common registry) and nginx (the limit
//! of what a file server can do), all on the same data in one run.
//!
//! Machines and their neighbours differ, so nothing here is judged by an absolute rate when it can
//! be judged by a ratio: each round measures every server one after another in a rotated order, a
//! ratio is taken inside its round, and the median over the rounds is what is reported. The first
//! figure is the CPU time that the server spent per unit of work, which neighbours hardly disturb;
//! wall time comes second.
//!
//! Where to look: [`scenario`] has what is measured and the floors, `measure` how,
//! `server` how each server is configured, `rounds` the order, `report` the output.

mod cli;
mod corpus;
mod http_client;
mod measure;
mod procfs;
mod report;
mod rounds;
pub mod scenario;
mod server;
mod stats;
mod tools;
mod upload;
mod wrk;

pub use cli::{Cli, execute};
