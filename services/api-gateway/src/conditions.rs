//! Conditional requests (RFC 9110, section 13).

use http::header::{IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderValue};

/// True when the client has what `etag` names: the answer is 304. Content is named by its digest, so a weak
/// comparison, which this header asks for, is as good as a strong one.
pub(crate) fn is_unchanged(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let seen = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    seen.flat_map(|list| list.split(',')).map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.as_bytes() == etag.as_bytes()
    })
}

/// False when `If-Range` names something else: the range is of no use to the client then.
pub(crate) fn range_applies(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get(IF_RANGE).is_none_or(|condition| condition == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unchanged(values: &[&'static str]) -> bool {
        let values = values.iter().map(|value| (IF_NONE_MATCH, HeaderValue::from_static(value)));
        is_unchanged(&values.collect(), &HeaderValue::from_static("\"sha256:a\""))
    }

    #[test]
    fn lists_weak_tags_and_the_star() {
        for values in
            [&["\"sha256:a\""][..], &["W/\"sha256:a\""], &["\"b\" ,\"sha256:a\""], &["\"b\"", "\"sha256:a\""], &["*"]]
        {
            assert!(unchanged(values), "{values:?}");
        }
        for values in [&[][..], &["\"b\""], &["sha256:a"], &["\"sha256:ab\""], &[""]] {
            assert!(!unchanged(values), "{values:?}");
        }
    }
}
