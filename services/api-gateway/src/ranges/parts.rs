//! Parts of an object behind a URL, cut out of as few reads as will do.

use std::collections::VecDeque;
use std::vec;

use bytes::{Bytes, BytesMut};
use entrepot_core::ports::BlobError;
use entrepot_core::range::ByteRange;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::coalesce::{Read, coalesce};
use crate::source::{DataClient, Download, Object};

/// Reads begun ahead of the one whose bytes are being sent, so that their first bytes are there in time.
const AHEAD: usize = 2;

/// Most bytes that are kept for parts that were not asked for in order: those of the read that is being sent, and of those
/// begun ahead of it.
pub(super) fn most_kept(ranges: &[ByteRange]) -> u64 {
    let kept = |read: &Read| if read.in_order { 0 } else { read.span.end - read.span.start };
    let kept: Vec<u64> = coalesce(ranges).iter().map(kept).collect();
    let at_once = (AHEAD + 1).min(kept.len()).max(1);
    kept.windows(at_once).map(|reads| reads.iter().sum()).max().unwrap_or_default()
}

/// The head of a part, and its range.
pub(super) type Part = (Bytes, ByteRange);

/// Each part's head and bytes, in order. The first read has begun when this answers, so that an object that is not there
/// is an error and not a broken body.
pub(super) async fn stream(
    client: &DataClient,
    object: &Object,
    parts: Vec<Part>,
) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
    let ranges: Vec<ByteRange> = parts.iter().map(|(_, range)| *range).collect();
    let mut parts = parts.into_iter();
    let mut reads = coalesce(&ranges)
        .into_iter()
        .map(move |read| {
            let served: VecDeque<Part> = parts.by_ref().take(read.parts).collect();
            (read, served)
        })
        .collect::<Vec<_>>()
        .into_iter();
    let Some(first) = reads.next() else { return Ok(stream::empty().boxed()) };
    let first = begin(client.clone(), object.clone(), first).await?;
    let (client, object) = (client.clone(), object.clone());
    let rest = rest(client, object, reads);
    Ok(first.chain(rest).boxed())
}

fn rest(
    client: DataClient,
    object: Object,
    reads: vec::IntoIter<(Read, VecDeque<Part>)>,
) -> impl futures_util::Stream<Item = Result<Bytes, BlobError>> + Send {
    let begun = reads.map(move |read| begin(client.clone(), object.clone(), read));
    stream::iter(begun).buffered(AHEAD).try_flatten()
}

async fn begin(
    client: DataClient,
    object: Object,
    (read, parts): (Read, VecDeque<Part>),
) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
    let start = read.span.start;
    let mut download = Download::begin(client, object, read.span).await?;
    if read.in_order {
        let cutter = Cutter { download, at: start, left: Bytes::new(), parts, head_sent: false };
        return Ok(stream::try_unfold(cutter, |mut cutter| async move {
            Ok(cutter.next().await?.map(|bytes| (bytes, cutter)))
        })
        .boxed());
    }
    let mut bytes = BytesMut::new();
    while let Some(more) = download.next().await? {
        bytes.extend_from_slice(&more);
    }
    let bytes = bytes.freeze();
    let chunks = parts.into_iter().flat_map(move |(head, range)| [head, cut(&bytes, start, range)]);
    Ok(stream::iter(chunks.map(Ok)).boxed())
}

/// The bytes `range` of an object, out of `bytes` that begin at `start` and have all of it.
fn cut(bytes: &Bytes, start: u64, range: ByteRange) -> Bytes {
    let at = |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end))
}

/// Cuts parts that follow each other out of one read, without keeping any of it.
struct Cutter {
    download: Download,
    /// Offset of the first byte of `left`.
    at: u64,
    left: Bytes,
    parts: VecDeque<Part>,
    head_sent: bool,
}

impl Cutter {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            let Some((head, range)) = self.parts.front() else { return Ok(None) };
            if !self.head_sent {
                self.head_sent = true;
                return Ok(Some(head.clone()));
            }
            let range = *range;
            if self.at >= range.end {
                self.parts.pop_front();
                self.head_sent = false;
                continue;
            }
            if self.left.is_empty() {
                let Some(bytes) = self.download.next().await? else {
                    return Err(BlobError::Internal("a read ended before its last part".into()));
                };
                self.left = bytes;
            }
            let skip = self.take(range.start.saturating_sub(self.at));
            if !skip.is_empty() || self.left.is_empty() {
                continue;
            }
            return Ok(Some(self.take(range.end - self.at)));
        }
    }

    /// At most `length` bytes of what is left.
    fn take(&mut self, length: u64) -> Bytes {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.left.len());
        self.at += length as u64;
        self.left.split_to(length)
    }
}
