//! The `Range` header of a blob GET (RFC 9110, section 14).

/// One requested range, before the size of the blob is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// `first-last` or `first-`.
    From(u64, Option<u64>),
    /// `-length`: the end of the blob, as an eStargz footer is read.
    Suffix(u64),
}

/// A parsed `Range: bytes=…` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet(Vec<Spec>);

/// What to send for a range request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Everything, with status 200.
    Whole,
    /// One part with status 206 and `Content-Range`.
    Single(ByteRange),
    /// `multipart/byteranges`: one part per requested range, in the order asked. Clients of
    /// zstd:chunked count the parts, so nothing is merged or reordered.
    Multiple(Vec<ByteRange>),
    /// Status 416 with `Content-Range: bytes */size`.
    Unsatisfiable,
}

/// A range of an existing blob; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Number of bytes.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Always false; here for completeness of `len`.
    pub const fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// The value of `Content-Range` for a blob of `size` bytes.
    pub fn content_range(&self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end - 1)
    }
}

impl RangeSet {
    /// Most ranges answered with parts. Podman asks for at most 1,024 in one request; beyond this
    /// the whole blob is sent, which every client must be able to read.
    pub const MAX_RANGES: usize = 1100;

    /// Reads the header; `None` means "ignore it": another unit or a malformed value, which RFC
    /// 9110 answers with the whole blob.
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, list) = header.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut specs = Vec::new();
        for item in list.split(',') {
            let item = item.trim_matches([' ', '\t']);
            if item.is_empty() {
                continue;
            }
            if specs.len() > Self::MAX_RANGES {
                break;
            }
            specs.push(parse_spec(item)?);
        }
        if specs.is_empty() { None } else { Some(Self(specs)) }
    }

    /// Whether exactly one range was asked for, however many of several a blob may turn out to have.
    pub const fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// Decides what to send of a blob of `size` bytes.
    pub fn select(&self, size: u64) -> Selection {
        if self.0.len() > Self::MAX_RANGES {
            return Selection::Whole;
        }
        let parts: Vec<ByteRange> = self.0.iter().filter_map(|spec| spec.resolve(size)).collect();
        match parts.as_slice() {
            [] => Selection::Unsatisfiable,
            [part] => Selection::Single(*part),
            parts => {
                // Overlapping ranges that add up to more than the blob only cost the server.
                let total = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.len()));
                if total > size { Selection::Whole } else { Selection::Multiple(parts.to_vec()) }
            }
        }
    }
}

impl Spec {
    fn resolve(self, size: u64) -> Option<ByteRange> {
        let (start, end) = match self {
            Self::From(first, last) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
            Self::Suffix(length) => (size.saturating_sub(length), size),
        };
        (start < end).then_some(ByteRange { start, end })
    }
}

fn parse_spec(item: &str) -> Option<Spec> {
    let (first, last) = item.split_once('-')?;
    if first.is_empty() {
        return Some(Spec::Suffix(number(last)?));
    }
    let first = number(first)?;
    if last.is_empty() {
        return Some(Spec::From(first, None));
    }
    // `500-0` names no byte: answered like a range beyond the end (416), not with the whole blob.
    Some(Spec::From(first, Some(number(last)?)))
}

/// Digits only (no sign, no space); a number beyond `u64` means "past any end".
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn select(header: &str, size: u64) -> Option<Selection> {
        RangeSet::parse(header).map(|set| set.select(size))
    }

    fn part(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    #[test]
    fn every_form_clients_use() {
        assert_eq!(select("bytes=0-0", 10), Some(Selection::Single(part(0, 1))));
        assert_eq!(select("bytes=2-", 10), Some(Selection::Single(part(2, 10))));
        assert_eq!(select("bytes=-3", 10), Some(Selection::Single(part(7, 10))));
        assert_eq!(select("bytes=-30", 10), Some(Selection::Single(part(0, 10))));
        assert_eq!(select("BYTES=5-", 10), Some(Selection::Single(part(5, 10))));
        assert_eq!(select("bytes=5-99999999999999999999999", 10), Some(Selection::Single(part(5, 10))));
        assert_eq!(
            select("bytes=4-5,0-1,8-", 10),
            Some(Selection::Multiple(vec![part(4, 6), part(0, 2), part(8, 10)]))
        );
    }

    #[test]
    fn several_ranges_stay_several_whatever_the_size() {
        let is_single = |header| RangeSet::parse(header).unwrap().is_single();
        for header in ["bytes=0-", "bytes=-3", "bytes=5-2", "bytes=99-"] {
            assert!(is_single(header), "{header}");
        }
        let many = format!("bytes={}", vec!["0-0"; 5000].join(","));
        for header in ["bytes=0-1,4-5", "bytes=0-5,99999999999-", "bytes=9-,0-", &many] {
            assert!(!is_single(header), "{header}");
        }
    }

    #[test]
    fn unsatisfiable_malformed_and_excessive() {
        for header in ["bytes=10-", "bytes=-0", "bytes=10-20,99-", "bytes=5-2", "bytes=500-0"] {
            assert_eq!(select(header, 10), Some(Selection::Unsatisfiable), "{header}");
        }
        assert_eq!(select("bytes=0-", 0), Some(Selection::Unsatisfiable));
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "items=0-1",
            "bytes=1--2",
            "bytes=-",
        ] {
            assert_eq!(select(header, 10), None, "{header}");
        }
        assert_eq!(select("bytes=0-,0-", 10), Some(Selection::Whole), "overlap beyond the size");
        let many = format!("bytes={}", vec!["0-0"; 5000].join(","));
        assert_eq!(select(&many, 1 << 40), Some(Selection::Whole));
        let most = format!("bytes={}", vec!["0-0"; RangeSet::MAX_RANGES].join(","));
        assert!(
            matches!(select(&most, 1 << 40), Some(Selection::Multiple(parts)) if parts.len() == RangeSet::MAX_RANGES)
        );
    }

    proptest! {
        #[test]
        fn parts_lie_inside_the_blob(header in "bytes=([0-9]{0,20}-[0-9]{0,20},){0,6}[0-9]{0,3}-[0-9]{0,3}", size in 0u64..2000) {
            if let Some(Selection::Multiple(parts)) = select(&header, size) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                prop_assert!(parts.iter().map(ByteRange::len).sum::<u64>() <= size);
            }
        }

        #[test]
        fn never_panics(header in "\\PC{0,100}", size in any::<u64>()) {
            let _ = select(&header, size);
        }
    }
}
