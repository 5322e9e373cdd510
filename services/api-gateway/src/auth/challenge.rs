//! `WWW-Authenticate` (Docker token specification, "How to authenticate").

use entrepot_core::Scope;
use http::request::Parts;

use crate::config::GatewayConfig;
use crate::error::ApiError;
use crate::host;

/// Makes challenges. Realm and service are the same for every repository: containerd keeps one
/// authorizer a host.
pub(super) struct Challenges {
    service: String,
    public_url: Option<String>,
    tls: bool,
}

impl Challenges {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        let public_url = config.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        Self { service: config.service.clone(), public_url, tls: config.tls }
    }

    /// 401 with a challenge for `scopes`.
    pub(super) fn refuse(&self, parts: &Parts, scopes: &[Scope], message: &str, error: Option<&str>) -> ApiError {
        let mut challenge = format!("Bearer realm=\"{}\",service=\"{}\"", self.realm(parts), self.service);
        if !scopes.is_empty() {
            let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            challenge.push_str(&format!(",scope=\"{}\"", scopes.join(" ")));
        }
        if let Some(error) = error {
            challenge.push_str(&format!(",error=\"{error}\""));
        }
        ApiError::unauthorized(message, &challenge)
    }

    /// The token endpoint as the client reaches it: as configured, else at the host it asked for.
    fn realm(&self, parts: &Parts) -> String {
        if let Some(url) = &self.public_url {
            return format!("{url}/token");
        }
        // Only an authority is echoed: no quote or slash can end the realm early.
        let host = host::asked(parts).filter(|host| !host.as_str().contains(['"', '@']));
        let scheme = if self.tls { "https" } else { "http" };
        match host {
            Some(host) => format!("{scheme}://{host}/token"),
            None => "/token".to_owned(),
        }
    }
}
