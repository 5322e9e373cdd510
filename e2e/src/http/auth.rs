//! Answers to an authentication challenge: Basic, and tokens as the Docker token specification has them.

use anyhow::{Context, Result, bail};
use base64::Engine as _;

use super::{Client, Credentials, Request};

/// The `Authorization` value that answers `challenge`.
pub(super) fn answer(client: &Client, challenge: &str, credentials: &Credentials) -> Result<String> {
    let basic = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", credentials.user, credentials.password))
    );
    let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Ok(basic),
        "bearer" => Ok(format!("Bearer {}", token(client, parameters, basic)?)),
        _ => bail!("no answer to the challenge {challenge:?}"),
    }
}

fn token(client: &Client, parameters: &str, basic: String) -> Result<String> {
    let realm = parameter(parameters, "realm").context("the challenge has no realm")?;
    let service = parameter(parameters, "service").unwrap_or_default();
    let (authority, path) = super::address(realm);
    let mut target = format!("{path}?service={}", escape(service));
    if let Some(scope) = parameter(parameters, "scope") {
        target.push_str(&format!("&scope={}", escape(scope)));
    }
    let server = Client::new(authority, client.tls.clone(), None);
    let reply = server.send(Request::new("GET", target).header("Authorization", basic))?.expect(&[200])?.json()?;
    reply["token"].as_str().map(str::to_owned).context("the reply has no token")
}

/// The value of `name` in `a="x",b="y"`.
pub(super) fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.strip_prefix('"')?;
        let (value, tail) = after.split_once('"')?;
        if key.trim_matches([',', ' ']) == name {
            return Some(value);
        }
        rest = tail;
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
