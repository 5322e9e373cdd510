//! auth-token as clients and operators meet it: through the token endpoint and the administration.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod clients;
mod contract;
mod hostile;
mod keys;
mod refresh;
mod rights;
mod support;
