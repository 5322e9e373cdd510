//! Many ranges with few requests.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::{Frames, RemoteObject};

/// Bytes of several ranges, each with the index of its range, in order.
pub type RangeFrames = BoxStream<'static, io::Result<(usize, Bytes)>>;

/// One request and the ranges that it answers, in ascending order and without overlap.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    bytes: Range<u64>,
    wanted: VecDeque<(usize, Range<u64>)>,
}

/// Joins neighbours. Ranges that overlap or go backwards stay apart: their bytes would have to be kept.
fn join(wanted: impl IntoIterator<Item = Range<u64>>, gap: u64) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (index, range) in wanted.into_iter().enumerate().filter(|(_, range)| !range.is_empty()) {
        match spans.last_mut() {
            Some(span) if range.start >= span.bytes.end && range.start - span.bytes.end <= gap => {
                span.bytes.end = range.end;
                span.wanted.push_back((index, range));
            }
            _ => spans.push(Span { bytes: range.clone(), wanted: [(index, range)].into() }),
        }
    }
    spans
}

pub(super) fn read(object: RemoteObject, wanted: Vec<Range<u64>>, gap: u64) -> RangeFrames {
    let size = object.size();
    let cut = wanted.into_iter().map(move |range| range.start.min(size)..range.end.min(size));
    let spans = stream::iter(join(cut, gap));
    let frames = spans.then(move |span| {
        let object = object.clone();
        async move {
            match object.read(span.bytes.clone()).await {
                Ok(frames) => split(span, frames),
                Err(error) => stream::iter([Err(io::Error::other(error))]).boxed(),
            }
        }
    });
    frames.flatten().boxed()
}

/// Gives each byte of a span to its range.
fn split(span: Span, frames: Frames) -> RangeFrames {
    let mut wanted = span.wanted;
    let mut at = span.bytes.start;
    let cut = move |mut frame: Bytes| {
        let mut pieces = Vec::new();
        while let Some((index, range)) = wanted.front().filter(|_| !frame.is_empty()) {
            let skipped = (range.start.saturating_sub(at)).min(frame.len() as u64);
            drop(frame.split_to(usize::try_from(skipped).unwrap_or(frame.len())));
            at += skipped;
            let taken = (range.end - at.min(range.end)).min(frame.len() as u64);
            if at >= range.start && taken > 0 {
                pieces.push(Ok((*index, frame.split_to(usize::try_from(taken).unwrap_or(frame.len())))));
                at += taken;
            }
            if at >= range.end {
                wanted.pop_front();
            }
        }
        pieces
    };
    let mut cut = cut;
    frames
        .flat_map(move |frame| {
            stream::iter(match frame {
                Ok(frame) => cut(frame),
                Err(error) => vec![Err(error)],
            })
        })
        .boxed()
}

#[cfg(test)]
mod tests;
