//! The `Content-Range` header of an upload chunk.

use std::str::FromStr;

/// `<start>-<end>` of a PATCH, both inclusive (OCI Distribution Specification, "Pushing a blob in
/// chunks"; without the `bytes` unit, which some clients send all the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the first byte of the chunk.
    pub start: u64,
    /// Number of bytes in the chunk.
    pub length: u64,
}

/// Why a text is not the range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-Range of a chunk is written <start>-<end>, both inclusive, such as 0-1023")]
pub struct ContentRangeError;

impl FromStr for ContentRange {
    type Err = ContentRangeError;

    fn from_str(text: &str) -> Result<Self, ContentRangeError> {
        let text = text.trim();
        let text = text.strip_prefix("bytes ").or_else(|| text.strip_prefix("bytes=")).unwrap_or(text);
        let text = text.split_once('/').map_or(text, |(range, _total)| range);
        let (start, end) = text.split_once('-').ok_or(ContentRangeError)?;
        let number = |digits: &str| {
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(ContentRangeError);
            }
            digits.parse::<u64>().map_err(|_| ContentRangeError)
        };
        let (start, end) = (number(start)?, number(end)?);
        let length = end.checked_sub(start).and_then(|length| length.checked_add(1)).ok_or(ContentRangeError)?;
        Ok(Self { start, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for text in ["5-9", "bytes 5-9", "bytes=5-9", "bytes 5-9/100", "5-9/*", " 5-9 "] {
            assert_eq!(text.parse(), Ok(ContentRange { start: 5, length: 5 }), "{text}");
        }
        for text in ["", "5", "-", "5-", "-9", "9-5", "a-b", "+1-2", "0-18446744073709551615", "0-99999999999999999999"]
        {
            assert_eq!(text.parse::<ContentRange>(), Err(ContentRangeError), "{text}");
        }
    }
}
