//! What proves a right inside the registry: access tokens, signed upload locations, signed data URLs.
//!
//! Access tokens are JSON Web Tokens as the Docker token specification has them, narrowed to what this registry
//! itself writes: ES256 only, a header of exactly `alg`, `typ` and `kid`, one audience, five minutes at most.
//! auth-token [signs](Signer), the gateway [verifies](Verifier) with keys it got from auth-token and from nowhere
//! else. [Locations](SessionSigner) and [data URLs](DataUrlSigner) are only ever checked by the registry itself, so
//! they are signed with a secret that its processes share.
//!
//! Nothing here reads a clock, a network or a disk; times are seconds since 1970.
//!
//! ```
//! use entrepot_core::{Action, Principal};
//! use entrepot_token::{KeySet, Signer, SigningKey, Verifier};
//!
//! let key = SigningKey::generate()?;
//! let keys = KeySet::new([key.public()]);
//! let verifier = Verifier::new("registry.example.com", keys);
//! let signer = Signer::new(key, "registry.example.com");
//!
//! let scopes = vec!["repository:team/app:pull".parse()?];
//! let token = signer.sign(&Principal::User("alice".into()), &scopes, &[], 0, 1_000, 300)?;
//! let grant = verifier.verify(&token, 1_060)?;
//! assert!(grant.allows(&scopes[0].resource, Action::Pull));
//! assert!(!grant.allows(&scopes[0].resource, Action::Push));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod claims;
mod data_url;
mod jws;
mod key;
mod key_set;
pub mod session;
mod sign;
mod verify;

pub use data_url::{DataUrlError, DataUrlSigner, SecretError};
pub use key::{KeyError, PublicKey, SigningKey};
pub use key_set::{KeySet, KeySetError};
pub use session::SessionSigner;
pub use sign::{SignError, Signer};
pub use verify::{Grant, TokenError, Verifier};

/// The longest a token may be valid for, in seconds.
pub const MAX_LIFETIME: u64 = 300;

/// The longest token that is looked at, in bytes: what servers before us let pass as a header.
pub const MAX_LENGTH: usize = 8 * 1024;

/// The most scopes in one token.
pub const MAX_SCOPES: usize = 100;
