//! Names of objects.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest key in bytes. A driver may write the whole key and an epoch into one file name, and
/// file names end at 255 bytes.
const MAX_LEN: usize = 200;

/// Opaque name of one object: `/`-separated segments of `a-z 0-9 _ . -`, none of which is empty
/// or starts with a dot, 200 bytes at most.
///
/// The form makes a key safe to use as a relative path: it can neither climb out of a directory
/// nor meet a driver's own files, whose names start with a dot. A key must not be the leading
/// segments of another key, and is never used for a second object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

/// Why a text is not an object key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object key is not 1 to 200 bytes of a-z 0-9 _ . - in segments that are not empty and start with no dot")]
pub struct KeyError;

impl ObjectKey {
    /// The key as text, which is also its path relative to the store's root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        let segment = |s: &str| !s.is_empty() && !s.starts_with('.') && s.bytes().all(plain);
        if text.len() <= MAX_LEN && text.split('/').all(segment) { Ok(Self(text.into())) } else { Err(KeyError) }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
