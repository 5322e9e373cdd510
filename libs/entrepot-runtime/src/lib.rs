//! Process plumbing shared by every Entrepot service: configuration, telemetry, metrics, the admin port, shutdown,
//! supervised tasks, listeners, and an HTTP server that sends files without copying them.
//!
//! This crate knows no domain: nothing here mentions a repository, a blob or a tenant. A service's wiring reads
//!
//! 1. [`config`]: read one TOML file and the environment, report every mistake at once;
//! 2. [`telemetry`] and [`metrics`]: install logs, traces and the metrics recorder;
//! 3. [`shutdown`] and [`tasks`]: one [`shutdown::Drain`] for the process, one supervised set of tasks;
//! 4. [`listen`], [`tls`] and [`serve`]: bind early so that addresses are known, then serve a `tower::Service`;
//! 5. [`admin`]: `/livez`, `/readyz` and `/metrics` on a port of their own.

pub mod admin;
pub mod config;
pub mod listen;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod sendfile;
pub mod serve;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod tls;

/// An error of any kind, as services and tasks hand it to this crate.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
