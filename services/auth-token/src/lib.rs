//! auth-token: who callers are, what they may do, and the tokens that say so.
//!
//! [`Auth`] implements the core's `TokenService` port over its own tables; [`token_routes`] puts it behind the token
//! endpoint that clients expect; [`Admin`] is what the command line uses to add accounts and grants. There are no
//! default credentials: a new registry in mode `managed` lets nobody in until an account is added.
//!
//! A request for a token goes: credentials (a throttled password, a robot's secret or a refresh token) → grants of the
//! caller and of everybody, read at that moment → requested ∩ granted → signed by the key of the day.

mod account;
mod admin;
mod catalog;
mod config;
mod http;
mod keys;
mod password;
mod pattern;
mod schema;
mod secret;
mod service;
mod store;
mod throttle;

pub use account::{ANONYMOUS, Account, AccountKind, AccountName, AccountNameError};
pub use admin::{Admin, AdminError};
pub use config::{AuthConfig, Mode};
pub use http::token_routes;
pub use pattern::{Pattern, PatternError};
pub use schema::{OWNER as SCHEMA, migrate, migrations};
pub use service::Auth;
pub use store::grants::Grant;
