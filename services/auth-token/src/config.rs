//! Settings of auth-token.

use std::time::Duration;

/// Who may do what without an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everybody everything: for one machine.
    Open,
    /// What is granted, to accounts or to everybody.
    Managed,
}

/// Settings of auth-token.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Who may do what.
    pub mode: Mode,
    /// Name of this registry in tokens and challenges; a token asked for another service is refused.
    pub service: String,
    /// How long a token is valid, five minutes at most.
    pub token_lifetime: Duration,
    /// How many passwords are checked at once. Each check takes 19 MiB and about 20 ms of a core.
    pub concurrent_logins: usize,
}

impl AuthConfig {
    /// The defaults for a registry of this name.
    pub fn new(mode: Mode, service: impl Into<String>) -> Self {
        Self { mode, service: service.into(), token_lifetime: Duration::from_secs(300), concurrent_logins: 2 }
    }
}
