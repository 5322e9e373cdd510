//! Keyset pages: a list is walked by the last name seen, never by an offset.

/// Which part of a sorted list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only entries sorted after this one (bytewise); from the start when `None`.
    pub after: Option<String>,
    /// At most this many entries, 0 to [`Page::MAX_LIMIT`].
    pub limit: u32,
}

impl Page {
    /// Largest page: bounds the work of one request.
    pub const MAX_LIMIT: u32 = 1000;

    /// A page of `n` entries after `last`; a larger `n` is clamped, since clients that ask for more
    /// than a server allows expect fewer entries and a `Link`, not an error.
    pub fn new(after: Option<String>, n: Option<u64>) -> Self {
        let limit = n.map_or(Self::MAX_LIMIT, |n| u32::try_from(n).unwrap_or(u32::MAX).min(Self::MAX_LIMIT));
        Self { after, limit }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new(None, None)
    }
}

/// One page of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf<T> {
    /// The entries in order.
    pub items: Vec<T>,
    /// What to pass as [`Page::after`] for the next page; `None` when this is the last one.
    pub next: Option<String>,
}
