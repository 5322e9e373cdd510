//! How long a caller waits, told to the peer (`grpc-timeout`), so that it does not work for nobody.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");
/// The header takes eight digits.
const MOST: u128 = 99_999_999;

/// Writes the time that is left.
pub(crate) fn set(headers: &mut HeaderMap, left: Duration) {
    let text = format!("{}m", left.as_millis().clamp(1, MOST));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(HEADER, value);
    }
}

/// The time that the caller waits, when it said so and that can be read.
pub(crate) fn get(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for left in [1, 250, 10_000, 99_999_999] {
            let mut headers = HeaderMap::new();
            set(&mut headers, Duration::from_millis(left));
            assert_eq!(get(&headers), Some(Duration::from_millis(left)));
        }
        let mut headers = HeaderMap::new();
        set(&mut headers, Duration::ZERO);
        assert_eq!(get(&headers), Some(Duration::from_millis(1)));
    }

    #[test]
    fn every_unit_is_read_and_nonsense_is_not() {
        let read = |text: &'static str| get(&HeaderMap::from_iter([(HEADER, HeaderValue::from_static(text))]));
        for (text, seconds) in [("2H", 7200), ("3M", 180), ("4S", 4), ("5000m", 5), ("6000000u", 6)] {
            assert_eq!(read(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        for text in ["", "S", "1", "-1S", "1.5S", "123456789S", "1s", "1 S"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
