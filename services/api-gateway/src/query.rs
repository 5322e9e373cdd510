//! Query parameters of a request, decoded once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// The query of a request in order; names may repeat (`tag=a&tag=b`).
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(crate) fn parse(query: Option<&'a str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of `name` in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The first value of `name` as a text to look for, unless it is empty. One with a NUL is refused: nothing stored has
    /// one, and PostgreSQL takes none.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name).filter(|text| !text.is_empty()) {
            Some(text) if text.contains('\0') => Err(ApiError::query(name, "a text without NUL")),
            text => Ok(text),
        }
    }

    /// The page asked for by `n` and `last`. A large `n` is clamped, one that is no number refused.
    pub(crate) fn page(&self) -> Result<entrepot_core::Page, ApiError> {
        let n = match self.get("n").filter(|n| !n.is_empty()) {
            None => None,
            Some(n) if n.bytes().all(|byte| byte.is_ascii_digit()) => Some(n.parse().unwrap_or(u64::MAX)),
            Some(_) => return Err(ApiError::query("n", "a number of entries such as 100")),
        };
        let after = self.text("last")?.map(str::to_owned);
        Ok(entrepot_core::Page::new(after, n))
    }
}

/// `+` is a space in forms only; digests, tags and names in a query never hold one.
fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_keeps_repeats() {
        let query = Query::parse(Some("tag=a&tag=b&digest=sha256%3Aabc&flag&mount=sha256:x&&n=5"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.get("digest"), Some("sha256:abc"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("mount"), Some("sha256:x"));
        assert_eq!(query.get("absent"), None);
    }

    /// crane sends n=1000; more is clamped, never an error.
    #[test]
    fn pages_are_clamped() {
        let limit = |query| Query::parse(Some(query)).page().map(|page| page.limit);
        assert_eq!(limit("n=0").unwrap(), 0);
        assert_eq!(limit("n=1000").unwrap(), 1000);
        assert_eq!(limit("n=99999999999999999999999").unwrap(), 1000);
        assert_eq!(limit("").unwrap(), 1000);
        assert!(limit("n=-1").is_err() && limit("n=ten").is_err());
    }
}
