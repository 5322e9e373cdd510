//! What the driver writes into a [`WriterState`](crate::WriterState).
//!
//! ```text
//! u8 version = 1 | u16 length, upload id | u16 count of parts, each:
//!                    u32 size | u32 CRC-32C | u8 length (0: 16 bytes that are hexadecimal digits), ETag
//!                | u8 tail: 0 none
//!                           1 stored: u64 epoch | u64 nonce | u32 size | u32 CRC-32C
//!                           2 inline: u32 size | bytes
//!                | u8 superseded tail: 0 none, 1: u64 epoch | u64 nonce
//! ```
//! Numbers are big-endian. The bytes come back from a database that others can write to, so they are read field by
//! field, and every length is checked against what is left.

use bytes::{BufMut, Bytes, BytesMut};

use super::buffer::Payload;
use super::plan::MAX_PARTS;

const VERSION: u8 = 1;
/// Longer than the upload ids of any store seen.
const MAX_ID: usize = 1024;
const MAX_ETAG: usize = 255;

/// Where a multipart upload stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// The multipart upload; none as long as everything fits into the tail.
    pub(super) upload: Option<String>,
    /// Its parts in order; their numbers count from 1 without a gap, as S3 wants it where parts have checksums.
    pub(super) parts: Vec<Part>,
    /// What comes after the parts.
    pub(super) tail: Tail,
    /// The stored tail of the state before, no longer needed once this state has been kept.
    pub(super) superseded: Option<TailName>,
}

/// One part, named by what S3 answered: another under the same number is another part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) size: u32,
    pub(super) crc: u32,
    /// Without the quotes around it.
    pub(super) etag: String,
}

/// Bytes that are too few for a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Tail {
    #[default]
    None,
    /// An object of its own.
    Stored(StoredTail),
    /// In these very notes, for a `seal` that follows at once.
    Inline(Payload),
}

/// A tail that is an object of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredTail {
    pub(super) name: TailName,
    pub(super) size: u32,
    pub(super) crc: u32,
}

/// Names a stored tail among those of its key. Nobody writes the same name twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TailName {
    pub(super) epoch: u64,
    pub(super) nonce: u64,
}

impl Notes {
    /// Bytes that the notes stand for.
    pub(super) fn offset(&self) -> u64 {
        let tail = match &self.tail {
            Tail::None => 0,
            Tail::Stored(stored) => u64::from(stored.size),
            Tail::Inline(payload) => payload.len() as u64,
        };
        self.parts.iter().map(|part| u64::from(part.size)).sum::<u64>() + tail
    }

    /// Writes the notes. The room of a tail in them is that of what comes back, and it is copied this once.
    pub(super) fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.parts.len() * 32);
        out.put_u8(VERSION);
        let id = self.upload.as_deref().unwrap_or_default();
        out.put_u16(u16::try_from(id.len()).expect("an upload id is checked when it arrives"));
        out.put_slice(id.as_bytes());
        out.put_u16(u16::try_from(self.parts.len()).expect("there are at most 10,000 parts"));
        for part in &self.parts {
            out.put_u32(part.size);
            out.put_u32(part.crc);
            put_etag(&mut out, &part.etag);
        }
        let mut end = BytesMut::new();
        match self.superseded {
            None => end.put_u8(0),
            Some(name) => {
                end.put_u8(1);
                put_name(&mut end, name);
            }
        }
        match self.tail {
            Tail::None => out.put_u8(0),
            Tail::Stored(StoredTail { name, size, crc }) => {
                out.put_u8(1);
                put_name(&mut out, name);
                out.put_u32(size);
                out.put_u32(crc);
            }
            Tail::Inline(payload) => {
                out.put_u8(2);
                out.put_u32(u32::try_from(payload.len()).expect("a tail is shorter than a part"));
                return payload.append_to(out, &end);
            }
        }
        out.unsplit(end);
        out.freeze()
    }

    /// Reads notes; `None` if they are not exactly what [`encode`](Self::encode) writes.
    pub(super) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut from = Cursor { bytes, at: 0 };
        if from.u8()? != VERSION {
            return None;
        }
        let id = from.text_of_u16()?;
        let count = usize::from(from.u16()?);
        // An upload is begun for its first part.
        if count > MAX_PARTS || (count == 0) != id.is_empty() {
            return None;
        }
        let parts = (0..count).map(|_| from.part()).collect::<Option<Vec<_>>>()?;
        let tail = match from.u8()? {
            0 => Tail::None,
            1 => Tail::Stored(StoredTail { name: from.name()?, size: from.u32()?, crc: from.u32()? }),
            2 => {
                let length = usize::try_from(from.u32()?).ok()?;
                Tail::Inline(from.take(length)?.into())
            }
            _ => return None,
        };
        let superseded = match from.u8()? {
            0 => None,
            1 => Some(from.name()?),
            _ => return None,
        };
        let upload = (!id.is_empty()).then_some(id);
        (from.at == bytes.len()).then_some(Self { upload, parts, tail, superseded })
    }
}

/// Whether a store's upload id can be kept.
pub(super) fn is_upload_id(text: &str) -> bool {
    is_printable(text, MAX_ID)
}

/// Whether a store's ETag, without its quotes, can be kept.
pub(super) fn is_etag(text: &str) -> bool {
    is_printable(text, MAX_ETAG)
}

fn is_printable(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.len() <= longest && text.bytes().all(|b| b.is_ascii_graphic())
}

fn put_name(out: &mut BytesMut, name: TailName) {
    out.put_u64(name.epoch);
    out.put_u64(name.nonce);
}

/// Nearly every ETag is a digest in hexadecimal digits, which fits into half as many bytes.
fn put_etag(out: &mut BytesMut, etag: &str) {
    if let Some(raw) = raw_digest(etag) {
        out.put_u8(0);
        out.put_slice(&raw);
    } else {
        out.put_u8(u8::try_from(etag.len()).expect("an ETag is checked when it arrives"));
        out.put_slice(etag.as_bytes());
    }
}

fn raw_digest(etag: &str) -> Option<[u8; 16]> {
    let lower = etag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (etag.len() == 32 && lower).then(|| u128::from_str_radix(etag, 16).ok().map(u128::to_be_bytes)).flatten()
}

struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.as_ref().try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn text_of_u16(&mut self) -> Option<String> {
        let length = usize::from(self.u16()?);
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        (text.is_empty() || is_upload_id(&text)).then_some(text)
    }

    fn name(&mut self) -> Option<TailName> {
        Some(TailName { epoch: self.u64()?, nonce: self.u64()? })
    }

    fn part(&mut self) -> Option<Part> {
        let (size, crc) = (self.u32()?, self.u32()?);
        let etag = match self.u8()? {
            0 => format!("{:032x}", u128::from_be_bytes(self.array()?)),
            length => {
                let text = String::from_utf8(self.take(usize::from(length))?.to_vec()).ok()?;
                // A digest has one form only.
                Some(text).filter(|text| is_etag(text) && raw_digest(text).is_none())?
            }
        };
        Some(Part { size, crc, etag })
    }
}

#[cfg(test)]
mod tests;
