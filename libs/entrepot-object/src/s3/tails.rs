//! What an upload has beyond its last part, kept as objects of their own until it is enough for a part.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::buffer::{Crc, Filling, Payload};
use super::fault::Fault;
use super::notes::{Notes, StoredTail, Tail, TailName};
use super::piece::SMALL;
use super::{Inner, TAILS};
use crate::{ObjectError, ObjectKey};

impl Inner {
    /// Stores a tail. Its name is new, so finding it there means that the first try did arrive.
    pub(super) async fn put_tail(&self, key: &ObjectKey, name: TailName, payload: &Payload) -> Result<(), Fault> {
        match self.bucket.put(&tail_key(key, name), payload).await {
            Err(Fault::Exists) => Ok(()),
            other => other,
        }
    }

    /// Begins to read a stored tail. Whoever reads has room for it before: an answer must not wait for memory.
    pub(super) async fn open_tail(
        &self,
        key: &ObjectKey,
        stored: &StoredTail,
        offset: u64,
    ) -> Result<TailBytes, ObjectError> {
        match self.bucket.get(&tail_key(key, stored.name), None).await {
            Ok(answer) => {
                Ok(TailBytes { body: answer.body, left: stored.size as usize, crc: Crc::new(), of: stored.crc })
            }
            Err(Fault::Missing) => Err(self.lost(key, offset).await),
            Err(fault) => Err(fault.at("read the tail of", key)),
        }
    }

    /// The bytes behind the parts, in memory of the budget.
    pub(super) async fn tail(&self, key: &ObjectKey, notes: &Notes) -> Result<Payload, ObjectError> {
        let stored = match &notes.tail {
            Tail::None => return Ok(Payload::from(Bytes::new())),
            Tail::Inline(payload) => return Ok(payload.clone()),
            Tail::Stored(stored) => stored,
        };
        let mut filling = Filling::default();
        if stored.size as usize > SMALL {
            // However long it takes: all that the client has sent would be lost.
            filling.enter(self.budget.room_for_all(stored.size as usize).await);
        }
        let mut tail = self.open_tail(key, stored, notes.offset()).await?;
        while let Some(bytes) = tail.next().await.map_err(|fault| fault.at("read the tail of", key))? {
            filling.push(&bytes);
        }
        Ok(filling.take())
    }

    /// Drops the tails of `epoch` and before.
    pub(super) async fn drop_tails(&self, key: &ObjectKey, epoch: u64) -> Result<(), Fault> {
        let names = self.tails(key).await?;
        let old: Vec<String> =
            names.into_iter().filter(|name| name.epoch <= epoch).map(|name| tail_key(key, name)).collect();
        self.bucket.delete_all(&old).await
    }

    /// Names of all tails of a key.
    pub(super) async fn tails(&self, key: &ObjectKey) -> Result<Vec<TailName>, Fault> {
        let prefix = format!("{TAILS}{key}!");
        let (mut names, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.bucket.list(&prefix, after.as_deref(), 1000).await?;
            names.extend(page.items.iter().filter_map(|found| tail_name(found.key.strip_prefix(&prefix)?)));
            after = page.items.last().map(|found| found.key.clone());
            if !page.more || after.is_none() {
                return Ok(names);
            }
        }
    }
}

/// The bytes of a stored tail as they arrive.
pub(super) struct TailBytes {
    body: ByteStream,
    left: usize,
    crc: Crc,
    /// The checksum that all of them have.
    of: u32,
}

impl TailBytes {
    /// The next bytes; `None` after the last, if all were those that had been written.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let other = || Fault::nonsense("the tail of an upload has other bytes than were written");
        let Some(frame) = self.body.next().await else {
            return if self.left == 0 && self.crc.finish() == self.of { Ok(None) } else { Err(other()) };
        };
        let frame = frame.map_err(|error| Fault::Outage(std::io::Error::other(error)))?;
        self.left = self.left.checked_sub(frame.len()).ok_or_else(other)?;
        self.crc.update(&frame);
        Ok(Some(frame))
    }
}

/// Where a tail is.
pub(super) fn tail_key(key: &ObjectKey, name: TailName) -> String {
    format!("{TAILS}{key}!{}-{:016x}", name.epoch, name.nonce)
}

/// Reads what follows the `!`.
fn tail_name(text: &str) -> Option<TailName> {
    let (epoch, nonce) = text.split_once('-')?;
    Some(TailName { epoch: epoch.parse().ok()?, nonce: u64::from_str_radix(nonce, 16).ok()? })
}
