//! Upload sessions.

use std::fmt;
use std::str::FromStr;

/// Names an upload session: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(uuid::Uuid);

/// Why a text is not an upload id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an upload id: take the Location of the answer that opened the upload")]
pub struct UploadIdError;

impl UploadId {
    /// A fresh random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        // Only the form we write: a second spelling of the same id would pass signature checks by text.
        let id = uuid::Uuid::try_parse(text).map_err(|_| UploadIdError)?;
        if id.as_hyphenated().to_string() == text { Ok(Self(id)) } else { Err(UploadIdError) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_spelling_is_read_back() {
        let id = UploadId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "x", "../x", &id.to_string().to_uppercase(), &id.to_string().replace('-', "")] {
            assert_eq!(text.parse::<UploadId>(), Err(UploadIdError), "{text}");
        }
    }
}
