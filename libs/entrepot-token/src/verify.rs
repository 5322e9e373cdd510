//! Verifying tokens.

use std::sync::{Arc, PoisonError, RwLock};

use entrepot_core::{Action, Principal, Resource, Scope};

use crate::{
    KeySet, MAX_LENGTH, MAX_LIFETIME, MAX_SCOPES,
    cache::Cache,
    claims::{Access, Claims},
    jws::Parts,
};

/// How far the clocks of signer and verifier may be apart, in seconds.
const SKEW: u64 = 60;

/// How many verified tokens are remembered.
const REMEMBERED: usize = 8192;

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who acts.
    pub principal: Principal,
    /// What may be done.
    pub scopes: Vec<Scope>,
    /// What was asked for with it and not granted: asking again would change nothing.
    pub refused: Vec<Scope>,
    /// Until when, in seconds since 1970.
    pub expires_at: u64,
    /// The token's own identifier (`jti`), for the audit log.
    pub id: String,
    /// The generation of rights it was issued from: later changes of its principal's are not in it.
    pub generation: u64,
}

impl Grant {
    /// Whether the token was asked for with this action on this resource, and nothing or something else was granted.
    pub fn refuses(&self, resource: &Resource, action: Action) -> bool {
        let nothing = |scope: &Scope| scope.resource == *resource && scope.actions.is_empty();
        let this = |scope: &Scope| scope.resource == *resource && scope.actions.contains(action);
        self.scopes.iter().any(nothing) || self.refused.iter().any(this)
    }

    /// Whether the token names this resource, or its whole tenant, with this action.
    pub fn allows(&self, resource: &Resource, action: Action) -> bool {
        self.scopes.iter().any(|scope| scope.resource.covers(resource) && scope.actions.contains(action))
    }
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token that this registry would write.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Signed by a key that is not in the set; fetching the set anew may help.
    #[error("the token was signed by an unknown key")]
    UnknownKey,
    /// The signature is not that of the key named.
    #[error("the token's signature is wrong")]
    Signature,
    /// For another service, or from another issuer.
    #[error("the token is for another service")]
    Foreign,
    /// Its time is over; a new token helps.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come, or is longer than any this registry gives.
    #[error("the token's times are not acceptable")]
    Times,
}

/// Verifies tokens for one service, once each: a token seen before costs a hash and a look-up.
#[derive(Debug)]
pub struct Verifier {
    service: String,
    keys: RwLock<Arc<KeySet>>,
    seen: Cache,
}

impl Verifier {
    /// A verifier for `service` that trusts these keys and no others.
    pub fn new(service: impl Into<String>, keys: KeySet) -> Self {
        Self { service: service.into(), keys: RwLock::new(Arc::new(keys)), seen: Cache::new(REMEMBERED) }
    }

    /// Trusts these keys from now on, and tokens verified with others no longer.
    pub fn set_keys(&self, keys: KeySet) {
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let same = current.ids().eq(keys.ids());
        *current = Arc::new(keys);
        if !same {
            self.seen.clear();
        }
    }

    /// Verifies a token at the time `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The first reason found; only [`TokenError::UnknownKey`] may go away by itself.
    pub fn verify(&self, token: &str, now: u64) -> Result<Arc<Grant>, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::Malformed("it is too long"));
        }
        let fingerprint = Cache::fingerprint(token);
        if let Some(grant) = self.seen.get(&fingerprint) {
            return if now < grant.expires_at { Ok(grant) } else { Err(TokenError::Expired) };
        }
        // Held until the grant is remembered, so that one of a key just withdrawn never outlives the withdrawal.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let grant = Arc::new(self.verify_signed(&keys, token, now)?);
        self.seen.insert(fingerprint, Arc::clone(&grant));
        Ok(grant)
    }

    fn verify_signed(&self, keys: &KeySet, token: &str, now: u64) -> Result<Grant, TokenError> {
        let parts = Parts::of(token).map_err(TokenError::Malformed)?;
        let key = keys.get(&parts.key_id).ok_or(TokenError::UnknownKey)?;
        if !key.verify(parts.message.as_bytes(), &parts.signature) {
            return Err(TokenError::Signature);
        }
        let claims = serde_json::from_slice(&parts.payload);
        let claims = claims.map_err(|_| TokenError::Malformed("its claims are not those of a token"))?;
        self.check(claims, now)
    }

    fn check(&self, claims: Claims, now: u64) -> Result<Grant, TokenError> {
        if claims.aud != self.service || claims.iss != self.service {
            return Err(TokenError::Foreign);
        }
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        let latest = now.saturating_add(SKEW);
        let longest = claims.iat.saturating_add(MAX_LIFETIME);
        if claims.nbf > latest || claims.iat > latest || claims.exp > longest {
            return Err(TokenError::Times);
        }
        if claims.access.len().max(claims.refused.len()) > MAX_SCOPES {
            return Err(TokenError::Malformed("it has too many scopes"));
        }
        let principal = claims.sub.parse().map_err(|_| TokenError::Malformed("its subject is not a principal"))?;
        let [scopes, refused] =
            [&claims.access, &claims.refused].map(|access| access.iter().filter_map(Access::scope).collect());
        let (expires_at, id, generation) = (claims.exp, claims.jti, claims.generation);
        Ok(Grant { principal, scopes, refused, expires_at, id, generation })
    }
}
