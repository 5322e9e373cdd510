//! Where the bytes of one upload lie.

use std::fmt;
use std::str::FromStr;

/// Key of one stored object: `data/<xx>/<uuid>`.
///
/// Made once per upload session, in the database before the first byte, and never used again: a
/// late or repeated delete of an old key can therefore never hit the bytes of a newer upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageKey(uuid::Uuid);

/// Why a text is not a storage key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a storage key of the form data/<xx>/<uuid>")]
pub struct StorageKeyError;

impl StorageKey {
    /// A fresh key.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The two leading hex digits spread keys over 256 directories or key prefixes.
        write!(f, "data/{:02x}/{}", self.0.as_bytes()[0], self.0.as_hyphenated())
    }
}

impl FromStr for StorageKey {
    type Err = StorageKeyError;

    fn from_str(text: &str) -> Result<Self, StorageKeyError> {
        let last = text.rsplit('/').next().unwrap_or_default();
        let key = Self(uuid::Uuid::try_parse(last).map_err(|_| StorageKeyError)?);
        if key.to_string() == text { Ok(key) } else { Err(StorageKeyError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_other_paths() {
        let key = StorageKey::random();
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.len(), "data/xx/".len() + 36);
        for bad in ["", "data", "data/../etc/passwd", &text[5..], &format!("/{text}"), &text.replace("data", "date")] {
            assert_eq!(bad.parse::<StorageKey>(), Err(StorageKeyError), "{bad}");
        }
    }
}
