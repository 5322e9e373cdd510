//! TLS with certificates that are replaced while connections go on: at the public port, and between services, where
//! both sides show one.
//!
//! Every use watches its files by their contents, which works on every file system and for the symbolic links by which
//! secrets are mounted. Files that cannot be used change nothing: the old certificate stays and the log says why.

mod client;
mod files;
mod reload;
mod server;

pub use client::{Alpn, ClientTls, TlsStream};
pub use files::{CertificateFiles, MutualFiles, TlsError};
pub use reload::Reload;
pub use rustls::pki_types::ServerName;
pub use server::Tls;
