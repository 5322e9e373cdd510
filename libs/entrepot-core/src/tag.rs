//! Tags (OCI Distribution Specification, "Pulling manifests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// Why a text is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-' (helm writes '+' as '_')"
)]
pub struct TagError;

impl Tag {
    /// Longest tag of the specification.
    pub const MAX_LEN: usize = 128;

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let bytes = text.as_bytes();
        match bytes.first() {
            Some(first) if word(first) && bytes.len() <= Self::MAX_LEN => {}
            _ => return Err(TagError),
        }
        if bytes.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-')) {
            Ok(Self(text.into()))
        } else {
            Err(TagError)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let longest = "a".repeat(128);
        for tag in ["latest", "_", "1.2.3-rc.1_x", "A", longest.as_str()] {
            assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
        }
        let too_long = "a".repeat(129);
        for tag in ["", ".a", "-a", "a+b", "a b", "a/b", "a:b", "é", "a\n", too_long.as_str()] {
            assert_eq!(tag.parse::<Tag>(), Err(TagError), "{tag}");
        }
    }
}
