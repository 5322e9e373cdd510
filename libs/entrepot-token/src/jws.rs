//! The compact serialisation of a signed token (RFC 7515 section 7.1), and nothing of it that we do not write.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::{KeyError, SigningKey};

/// The whole header. Anything else in one (`jwk`, `jku`, `x5c`, `x5u`, `crit`, …) would be a wish of the sender about
/// how it is to be verified, so it is refused rather than ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: Algorithm,
    #[serde(rename = "typ")]
    _typ: Type,
    kid: String,
}

#[derive(Deserialize)]
enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
}

#[derive(Deserialize)]
enum Type {
    #[serde(rename = "JWT")]
    Jwt,
}

/// A token taken apart; nothing in it is trusted yet.
pub(crate) struct Parts<'t> {
    pub(crate) key_id: String,
    /// What was signed.
    pub(crate) message: &'t str,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    /// Takes a token apart; the error says what is wrong with it.
    pub(crate) fn of(token: &'t str) -> Result<Self, &'static str> {
        let (message, signature) = token.rsplit_once('.').ok_or("it does not have three parts")?;
        let (header, payload) = message.split_once('.').ok_or("it does not have three parts")?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part is not base64url");
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| "its header is not one of ours")?;
        let Header { alg: Algorithm::Es256, _typ: Type::Jwt, kid } = header;
        Ok(Self { key_id: kid, message, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// Signs a payload.
pub(crate) fn sign(key: &SigningKey, payload: &[u8]) -> Result<String, KeyError> {
    let header = serde_json::json!({ "alg": "ES256", "typ": "JWT", "kid": key.id() });
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
