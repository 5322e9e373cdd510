//! The memory in which a part waits until it is whole, and for S3 to have it.
//!
//! Written bytes are copied here, so that the few buffers of an upload go round at the speed of its client and not at
//! that of S3. The copy takes a tenth of the time that hashing the same bytes does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::piece::{PIECE, Piece, SMALL as UNCOUNTED};
use super::plan::LEAST;

/// What budgets count in.
const UNIT: usize = 1 << 20;
/// Units of the room for the least part that S3 takes; a room for more is a large one.
const SMALL: usize = LEAST.div_ceil(UNIT);
/// The share of a budget that is for first pieces: ten of the default, each of which a small object needs for one request.
const FIRST: usize = 16;
/// How long whoever has no memory yet waits for some. Shorter than any client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a large room waits for more before it gives back what it has: at first less than those have patience whom it
/// keeps waiting, at last about as long as a client may stall.
const GATHERING: Range<Duration> = Duration::from_secs(3)..Duration::from_secs(48);

/// Memory for the parts of all uploads together.
///
/// # Who waits for whom
/// What a part begins with is too little to be counted, up to [`UNCOUNTED`]. Of the first part of an upload the first piece
/// comes out of a share for first pieces alone, or out of the rest while there is plenty: nobody waits for that, and
/// whoever has it may wait with it, as enough is left for others to go on. Only uploads that may turn out to be small
/// take of this share; one that is known to be large by its parts waits without.
///
/// Beyond that nobody waits with half a part in hand. [`Room`] is taken at once for as many bytes as S3 takes for a part,
/// so whoever has room fills it or gives up, sends it, and gives it back, and needs nothing of others for that. Beyond
/// those bytes a part [grows](Self::grow) only while there is plenty, and is sent as it is when there is not: a client that
/// is slow holds no more than what everybody is sure of. Small rooms are given in the order in which they were asked for.
///
/// Late parts of huge uploads cannot be cut. Their large rooms have a limit together, which leaves at least one small room
/// to everybody else, and are gathered a small room at a time, in turn with the others: waiting for all of it at once would
/// keep those who come later from what is free, for as long as the client of one small room stalls. What is gathered waits
/// for small rooms alone, as the large ones that are let into the limit fit beside each other, and a small one waits for no
/// large one that is not whole; so all get through. Where clients stall with small rooms, what is gathered would lie idle
/// while others are refused: whoever gets nothing more for a while gives it back, and gathers again later, with more patience
/// each time, so that it does not starve where turns are long because everybody is busy.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// First pieces.
    first: Arc<Semaphore>,
    /// Everything else.
    units: Arc<Semaphore>,
    /// What large rooms may have of it. Taken before the units, so that nobody waits for it with some.
    large: Arc<Semaphore>,
    /// As much of it as one large room may have, in units.
    most: usize,
    /// Units without those of first pieces.
    all: usize,
}

/// Some of a budget's memory, free for others when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    units: OwnedSemaphorePermit,
    _large: Option<OwnedSemaphorePermit>,
    bytes: usize,
    /// Whether it is for a first piece and no more.
    is_first: bool,
}

impl Budget {
    /// Memory for `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let whole = bytes.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let first = whole / FIRST;
        let all = whole - first;
        let most = if all < 2 * SMALL { all } else { all - SMALL.max(all / 4) };
        let semaphore = |units| Arc::new(Semaphore::new(units));
        Self { first: semaphore(first), units: semaphore(all), large: semaphore(most), most, all }
    }

    /// Room for the first piece of what may be a small object, if there is some.
    pub(super) fn first_piece(&self) -> Option<Room> {
        let units = Arc::clone(&self.first).try_acquire_owned().ok().or_else(|| self.spare())?;
        Some(Room { units, _large: None, bytes: PIECE, is_first: true })
    }

    /// A unit, while at least half of the memory is free and that half has a small room in it.
    ///
    /// Others are let in by the other half, whether the client that fills this unit goes on, waits for more, or stalls.
    fn spare(&self) -> Option<OwnedSemaphorePermit> {
        let plenty = self.all >= 2 * SMALL && self.units.available_permits() > self.all / 2;
        plenty.then(|| Arc::clone(&self.units).try_acquire_owned().ok()).flatten()
    }

    /// Room for `bytes` that are all there will be, however long it takes: for an upload that has been let in.
    pub(super) async fn room_for_all(&self, bytes: usize) -> Room {
        match (bytes <= PIECE).then(|| self.first_piece()).flatten() {
            Some(first) => first,
            None => self.room(bytes).await,
        }
    }

    /// Room for `bytes`, however long it takes: for an upload that has been let in.
    ///
    /// What is larger than large rooms may be together takes all that they may have.
    pub(super) async fn room(&self, bytes: usize) -> Room {
        let wanted = bytes.div_ceil(UNIT);
        if wanted <= SMALL {
            return Room { units: take(&self.units, wanted.min(self.all)).await, _large: None, bytes, is_first: false };
        }
        let wanted = wanted.min(self.most);
        let large = take(&self.large, wanted).await;
        let mut patience = GATHERING.start;
        let units = loop {
            if let Some(units) = self.gather(wanted, patience).await {
                break units;
            }
            tokio::time::sleep(patience).await;
            patience = GATHERING.end.min(patience * 2);
        };
        Room { units, _large: Some(large), bytes, is_first: false }
    }

    /// Takes what a large room needs bit by bit; gives it back if the next bit is not to be had for so long.
    async fn gather(&self, wanted: usize, patience: Duration) -> Option<OwnedSemaphorePermit> {
        // A budget that has no room beside a large one gives it in one piece, or two of them could have half of it each.
        let step = if self.most == self.all { wanted } else { SMALL.min(wanted) };
        let next = |units: usize| tokio::time::timeout(patience, take(&self.units, units));
        let mut units = next(step).await.ok()?;
        while units.num_permits() < wanted {
            units.merge(next(step.min(wanted - units.num_permits())).await.ok()?);
        }
        Some(units)
    }

    /// Room for `bytes`, for an upload that has not been let in; `None` if there is none for too long.
    pub(super) async fn first_room(&self, bytes: usize) -> Option<Room> {
        tokio::time::timeout(PATIENCE, self.room(bytes)).await.ok()
    }

    /// Makes `room` larger by a piece, while at least half of the memory is free.
    ///
    /// Others are let in by the other half, whether the client that fills this room goes on or not.
    fn grow(&self, room: &mut Room) -> bool {
        if room.is_first || self.units.available_permits() <= self.all / 2 {
            return false;
        }
        let Ok(unit) = Arc::clone(&self.units).try_acquire_owned() else { return false };
        room.units.merge(unit);
        room.bytes += UNIT;
        true
    }
}

async fn take(semaphore: &Arc<Semaphore>, permits: usize) -> OwnedSemaphorePermit {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    Arc::clone(semaphore).acquire_many_owned(permits).await.expect("a budget is never closed")
}

/// A part being filled.
#[derive(Default)]
pub(super) struct Filling {
    pieces: Vec<Bytes>,
    last: Piece,
    size: usize,
    room: Option<Room>,
}

impl Filling {
    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.size
    }

    /// Bytes that it takes before it needs more room.
    pub(super) fn space(&self) -> usize {
        self.room.as_ref().map_or(UNCOUNTED, |room| room.bytes).saturating_sub(self.size)
    }

    /// Gives it room, for what it has too.
    pub(super) fn enter(&mut self, room: Room) {
        self.room = Some(room);
    }

    /// Whether there is room for more than there was, where there is plenty of memory.
    pub(super) fn grow(&mut self, budget: &Budget) -> bool {
        self.room.as_mut().is_some_and(|room| budget.grow(room))
    }

    /// Appends a copy of `chunk`, for which there must be [space](Self::space).
    pub(super) fn push(&mut self, mut chunk: &[u8]) {
        self.size += chunk.len();
        if self.room.as_ref().is_none_or(|room| room.is_first) {
            // It grows as it has to.
            return self.last.push(chunk);
        }
        while !chunk.is_empty() {
            if self.last.space() == 0 {
                self.end_piece();
                self.last = Piece::whole();
            }
            let (now, later) = chunk.split_at(chunk.len().min(self.last.space()));
            self.last.push(now);
            chunk = later;
        }
    }

    fn end_piece(&mut self) {
        let last = std::mem::take(&mut self.last);
        if !last.bytes().is_empty() {
            self.pieces.push(last.freeze());
        }
    }

    /// All bytes in one piece; they stay here too.
    pub(super) fn copy(&self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.size);
        self.pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.extend_from_slice(self.last.bytes());
        whole.freeze()
    }

    /// All bytes, not copied; they stay here too, and so does their room.
    pub(super) fn share(&mut self) -> Payload {
        self.end_piece();
        Payload { size: self.size, pieces: self.pieces.clone(), room: None }
    }

    /// The part, for sending; what is left is empty. Room that it did not need is free at once.
    pub(super) fn take(&mut self) -> Payload {
        self.end_piece();
        let Self { pieces, size, room, .. } = std::mem::take(self);
        Payload { size, pieces, room: room.map(|room| Arc::new(room.cut(size))) }
    }
}

impl Room {
    /// Gives back what is not needed for `bytes`.
    fn cut(mut self, bytes: usize) -> Self {
        let surplus = self.units.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(self.units.split(surplus));
        self
    }
}

/// Bytes to send, as often as it takes. Their memory is free for others when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    size: usize,
    pieces: Vec<Bytes>,
    /// None where somebody else holds it: the bytes themselves, or where they were shared from.
    room: Option<Arc<Room>>,
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.pieces.iter().flatten().eq(other.pieces.iter().flatten())
    }
}

impl Eq for Payload {}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self { size: bytes.len(), pieces: vec![bytes], room: None }
    }
}

impl Payload {
    pub(super) fn len(&self) -> usize {
        self.size
    }

    /// The bytes, piece by piece.
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Moves the bytes behind those of `head`: the memory of each piece is free when it has been copied. What holds the
    /// room of all of them is the bytes that come back.
    pub(super) fn append_to(self, mut head: BytesMut, end: &[u8]) -> Bytes {
        let Self { size, pieces, room } = self;
        head.reserve(size + end.len());
        for piece in pieces {
            head.extend_from_slice(&piece);
        }
        head.extend_from_slice(end);
        Bytes::from_owner(Held { bytes: head, _room: room })
    }

    /// The CRC-32C, with which S3 checks what it received.
    pub(super) fn crc(&self) -> u32 {
        let mut crc = Crc::new();
        self.pieces.iter().for_each(|piece| crc.update(piece));
        crc.finish()
    }

    /// A body that can be sent again.
    pub(super) fn body(&self) -> SdkBody {
        let payload = self.clone();
        SdkBody::retryable(move || {
            SdkBody::from_body_1_x(Pieces { left: payload.size as u64, pieces: payload.pieces.clone().into() })
        })
    }
}

/// Bytes and the room that they are in.
struct Held {
    bytes: BytesMut,
    _room: Option<Arc<Room>>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A CRC-32C over the bytes so far.
pub(super) struct Crc(Digest);

impl Crc {
    pub(super) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a CRC-32C has 32 bits")
    }
}

/// A body of known length.
struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests;
