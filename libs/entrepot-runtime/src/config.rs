//! Configuration from one TOML file, the environment and the command line, with every mistake reported at once.
//!
//! A [`Source`] holds raw values by dotted key (`http.listen`) in three layers: the file, then environment variables
//! `ENTREPOT__HTTP__LISTEN`, then command-line values given by [`Source::set`]. A [`Reader`] asks for typed fields; each
//! call records the key, its type, default and documentation, and collects what is wrong instead of stopping there.
//! [`Reader::finish`] then rejects keys nobody asked for and returns the [`Reference`] from which the documentation is made.
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//! use entrepot_runtime::config::{Reader, Source};
//!
//! let env = [("ENTREPOT__HTTP__IDLE".into(), "2m".into())];
//! let source = Source::load(None, env)?;
//! let mut reader = Reader::new(&source);
//! let listen: Vec<SocketAddr> =
//!     reader.list("http.listen", vec![([127, 0, 0, 1], 5000).into()], "Addresses of the registry.");
//! let idle = reader.field("http.idle", Duration::from_secs(75), "How long an idle connection is kept.");
//! let reference = reader.finish()?;
//! assert_eq!(idle, Duration::from_secs(120));
//! assert_eq!(listen[0].port(), 5000);
//! assert!(reference.to_markdown().contains("`http.idle`"));
//! # Ok::<(), entrepot_runtime::config::ConfigErrors>(())
//! ```

mod error;
mod field;
mod reader;
mod reference;
mod secret;
mod source;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, ConfigErrors};
pub use field::{Bare, ByteSize, Field};
pub use reader::Reader;
pub use reference::{FieldReference, Reference};
pub use secret::Secret;
pub use source::Source;
