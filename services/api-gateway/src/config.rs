//! Settings of the gateway.

use entrepot_runtime::tls::ClientTls;
use entrepot_token::SessionSigner;

use crate::admission::{AdmissionLimits, RateLimits};
use crate::redirect::RedirectPolicy;

/// Who may do what without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Everybody everything: for one machine.
    Open,
    /// Nothing without a token, except what is granted to everybody.
    Managed,
}

/// Settings of the gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Who may do what.
    pub mode: AccessMode,
    /// Name of this registry in tokens (`aud`) and challenges (`service`).
    pub service: String,
    /// Base of absolute URLs in challenges, such as `https://registry.example.com`; without it the
    /// `Host` of the request is used.
    pub public_url: Option<String>,
    /// True when clients reach this gateway over TLS; part of the URL in challenges.
    pub tls: bool,
    /// Signs upload sessions; the same on every gateway of the registry.
    pub sessions: SessionSigner,
    /// Who is sent to the storage for a blob.
    pub pull: RedirectPolicy,
    /// What may be in flight at once.
    pub limits: AdmissionLimits,
    /// What may be asked for in a time.
    pub rates: RateLimits,
    /// For blobs that lie behind `https` URLs; without it the authorities of the system are believed.
    pub data_tls: Option<ClientTls>,
}
