//! Generated secrets: 256 random bits with a prefix and a checksum, so that scanners find leaked ones.
//!
//! `entrepot_robot_` or `entrepot_refresh_`, 64 hexadecimal digits, and 8 more that check them. Only the SHA-256 is
//! stored; a slow hash would add nothing to 256 bits.

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Robot,
    Refresh,
}

impl Purpose {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Robot => "entrepot_robot_",
            Self::Refresh => "entrepot_refresh_",
        }
    }
}

/// A well-formed secret. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system has no random numbers to give")]
pub(crate) struct NoRandomness;

impl Secret {
    pub(crate) fn generate(purpose: Purpose) -> Result<Self, NoRandomness> {
        let mut random = [0; 32];
        rand::fill(&mut random).map_err(|_| NoRandomness)?;
        let body = format!("{}{}", purpose.prefix(), hex::encode(random));
        Ok(Self(format!("{body}{}", checksum(&body))))
    }

    /// The secret in this text, if it is one. Says nothing about whether it is known.
    pub(crate) fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(purpose.prefix())?;
        let well_formed = digits.len() == 72 && digits.bytes().all(|digit| b"0123456789abcdef".contains(&digit));
        let (body, check) = text.split_at_checked(text.len().checked_sub(8)?)?;
        (well_formed && checksum(body) == check).then(|| Self(text.to_owned()))
    }

    /// What is stored of it.
    pub(crate) fn hash(&self) -> String {
        hex::encode(digest(&SHA256, self.0.as_bytes()))
    }

    /// The text, to be shown once to whom it belongs.
    pub(crate) fn expose(self) -> String {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

fn checksum(body: &str) -> String {
    hex::encode(&digest(&SHA256, body.as_bytes()).as_ref()[..4])
}

#[cfg(test)]
mod tests;
