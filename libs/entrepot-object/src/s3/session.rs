//! Who may write a key, as far as this process can tell: the latest writer of the highest epoch.
//!
//! Nothing here is needed for the bytes to be right: an object is made of the parts that its notes name, whoever else
//! sends parts, and no object is ever replaced. It is what ends an old writer before the next begins, so that the two
//! do not send parts under the same numbers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::{ObjectError, ObjectKey};

/// Keys remembered; those that nobody writes are forgotten first.
const REMEMBERED: usize = 1 << 16;

/// The keys that were written here lately.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    table: Mutex<HashMap<ObjectKey, Arc<Session>>>,
}

#[derive(Debug, Default)]
struct Session {
    latest: Mutex<Turn>,
    /// Held for reading by requests under way, for writing by a new writer that waits for their end.
    gate: Arc<RwLock<()>>,
    /// Whether there may be a multipart upload of which nobody knows.
    has_strays: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    epoch: u64,
    count: u64,
}

/// The right to write a key, until somebody else takes it.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    key: ObjectKey,
    session: Arc<Session>,
    turn: Turn,
}

/// A request under way; the next writer waits until it is dropped.
pub(super) type Underway = OwnedRwLockReadGuard<()>;

impl Sessions {
    /// Takes the right to write `key` and waits until whoever had it has nothing under way.
    pub(super) async fn claim(&self, key: &ObjectKey, epoch: u64) -> Result<Ticket, ObjectError> {
        let ticket = self.take(key, epoch)?;
        drop(Arc::clone(&ticket.session.gate).write_owned().await);
        ticket.check()?;
        Ok(ticket)
    }

    fn take(&self, key: &ObjectKey, epoch: u64) -> Result<Ticket, ObjectError> {
        let fenced = || ObjectError::Fenced { key: key.clone(), epoch };
        if epoch == 0 {
            return Err(fenced());
        }
        let mut table = self.table();
        if table.len() >= REMEMBERED && !table.contains_key(key) {
            table.retain(|_, session| Arc::strong_count(session) > 1);
        }
        let session = Arc::clone(table.entry(key.clone()).or_default());
        drop(table);
        let turn = {
            let mut latest = session.latest();
            if epoch < latest.epoch {
                return Err(fenced());
            }
            *latest = Turn { epoch, count: latest.count + 1 };
            *latest
        };
        Ok(Ticket { key: key.clone(), session, turn })
    }

    /// Forgets a key that is sealed or gone. Writers of it stay cut off.
    pub(super) fn forget(&self, ticket: &Ticket) {
        let mut table = self.table();
        // A late one must not end the session of a successor.
        if table.get(&ticket.key).is_some_and(|current| Arc::ptr_eq(current, &ticket.session)) {
            table.remove(&ticket.key);
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ObjectKey, Arc<Session>>> {
        // Insertions and removals are single calls: a panic elsewhere cannot leave them half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn latest(&self) -> MutexGuard<'_, Turn> {
        // Two plain numbers, written together.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Fails once somebody else has the right.
    pub(super) fn check(&self) -> Result<(), ObjectError> {
        if *self.session.latest() == self.turn {
            Ok(())
        } else {
            Err(ObjectError::Fenced { key: self.key.clone(), epoch: self.turn.epoch })
        }
    }

    /// Begins a request.
    pub(super) async fn begin(&self) -> Result<Underway, ObjectError> {
        let underway = Arc::clone(&self.session.gate).read_owned().await;
        self.check()?;
        Ok(underway)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.turn.epoch
    }

    /// Takes note of a request that may have begun a multipart upload without anybody hearing of it.
    pub(super) fn suspect_stray(&self) {
        self.session.has_strays.store(true, Ordering::Relaxed);
    }

    /// Whether there was such a request, of this writer or one before it in this process.
    pub(super) fn may_have_strays(&self) -> bool {
        self.session.has_strays.load(Ordering::Relaxed)
    }
}
