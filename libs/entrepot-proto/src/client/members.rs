//! The replicas of one peer, and which of them takes the next call.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use entrepot_runtime::tls::{ClientTls, ServerName};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::dial::{Dial, Tcp};
use super::endpoint::Endpoint;
use super::member::{Board, Health, Member, Sender, Timing};

/// Long enough to connect to a peer that is there.
const ONE_MORE_LOOK: Duration = Duration::from_millis(300);

/// A replica by the name that was configured and the address behind it.
type Key = (String, SocketAddr);

/// The replicas.
pub(super) struct Members {
    list: ArcSwap<Vec<Arc<Member>>>,
    kept: Mutex<HashMap<Key, Kept>>,
    board: watch::Sender<Board>,
    timing: Timing,
    tls: Option<ClientTls>,
    /// What callers know the peer by.
    name: String,
}

struct Kept {
    member: Arc<Member>,
    task: AbortHandle,
}

/// The replica chosen for a call.
pub(super) struct Pick {
    pub(super) member: Arc<Member>,
    pub(super) sender: Sender,
}

impl Members {
    pub(super) fn new(name: String, timing: Timing, tls: Option<ClientTls>) -> Arc<Self> {
        Arc::new(Self { list: ArcSwap::default(), kept: Mutex::default(), board: Board::channel(), timing, tls, name })
    }

    /// Sets the addresses behind `endpoint`. What is new is connected to; what is gone takes no more calls, and those
    /// under way finish.
    pub(super) fn update(&self, endpoint: &Endpoint, addresses: &[SocketAddr]) {
        let name = endpoint.to_string();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, address), replica| {
            let stays = *of != name || addresses.contains(address);
            if !stays {
                replica.task.abort();
            }
            stays
        });
        for address in addresses {
            let key = (name.clone(), *address);
            kept.entry(key).or_insert_with(|| self.keep(endpoint, *address));
        }
        self.list.store(Arc::new(kept.values().map(|replica| replica.member.clone()).collect()));
    }

    /// Adds one replica that is reached in a way of its own.
    #[cfg(feature = "testing")]
    pub(super) fn add(&self, endpoint: &Endpoint, dial: Box<dyn Dial>) {
        let key = (endpoint.to_string(), SocketAddr::from(([0, 0, 0, 0], 0)));
        let replica = self.spawn(endpoint, endpoint.to_string(), dial);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(key, replica);
        self.list.store(Arc::new(kept.values().map(|replica| replica.member.clone()).collect()));
    }

    fn keep(&self, endpoint: &Endpoint, address: SocketAddr) -> Kept {
        let tls = self.tls.clone().filter(|_| endpoint.is_https()).and_then(|tls| {
            // The endpoint was checked when the connection was configured.
            Some((tls, ServerName::try_from(endpoint.host().to_owned()).ok()?))
        });
        let name = match endpoint.address() {
            Some(_) => endpoint.to_string(),
            None => format!("{endpoint} at {address}"),
        };
        self.spawn(endpoint, name, Box::new(Tcp { address, tls }))
    }

    fn spawn(&self, endpoint: &Endpoint, name: String, dial: Box<dyn Dial>) -> Kept {
        let origin = (endpoint.scheme().clone(), endpoint.authority().clone());
        let member = Member::new(name, origin, dial, self.timing, self.board.clone());
        let task = tokio::spawn(Arc::clone(&member).keep()).abort_handle();
        Kept { member, task }
    }

    /// Whether any replica has a connection.
    pub(super) fn any_reachable(&self) -> bool {
        self.board.borrow().up > 0
    }

    /// Whether a replica other than `member` takes calls.
    pub(super) fn serves_besides(&self, member: &Arc<Member>) -> bool {
        let list = self.list.load();
        list.iter().any(|other| !Arc::ptr_eq(other, member) && matches!(other.sender(), Some((_, Health::Serving))))
    }

    /// The replica for the next call, if possible none of `tried`.
    ///
    /// While none has a connection this waits, but not longer than the outage may last before callers should hear of
    /// it: a restart is waited out. One that has been gone for long is looked for once more, at once: it may just
    /// have come back, and the next attempt of its own be up to a second away.
    pub(super) async fn pick(&self, tried: &[Arc<Member>]) -> Result<Pick, Status> {
        if let Some(pick) = self.choose(tried) {
            return Ok(pick);
        }
        let mut board = self.board.subscribe();
        let began = Instant::now();
        self.list.load().iter().for_each(|member| member.want());
        loop {
            let down_since = board.borrow_and_update().down_since;
            if let Some(pick) = self.choose(tried) {
                return Ok(pick);
            }
            let give_up = (down_since.unwrap_or(began) + self.timing.connect_timeout).max(began + ONE_MORE_LOOK);
            if timeout_at(give_up, board.changed()).await.is_err() {
                return Err(Status::unavailable(format!("no replica of {} can be reached", self.name)));
            }
        }
    }

    /// One that takes calls before one that merely answers, a new one before one that was tried; of two at random the
    /// one with fewer calls under way.
    fn choose(&self, tried: &[Arc<Member>]) -> Option<Pick> {
        let mut best = Vec::new();
        let mut best_rank = u8::MAX;
        for member in self.list.load().iter() {
            let Some((sender, health)) = member.sender() else { continue };
            let was_tried = tried.iter().any(|other| Arc::ptr_eq(other, member));
            let rank = match health {
                Health::Serving => 0,
                Health::NotServing => 2,
                Health::Silent => 4,
            } + u8::from(was_tried);
            if rank < best_rank {
                best_rank = rank;
                best.clear();
            }
            if rank == best_rank {
                best.push(Pick { member: member.clone(), sender });
            }
        }
        let first = take_random(&mut best)?;
        Some(match take_random(&mut best) {
            Some(second) if second.member.load() < first.member.load() => second,
            _ => first,
        })
    }
}

fn take_random<T>(from: &mut Vec<T>) -> Option<T> {
    if from.is_empty() { None } else { Some(from.swap_remove(rand::random_range(0..from.len()))) }
}

impl Drop for Members {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        kept.values().for_each(|replica| replica.task.abort());
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.load().iter()).finish()
    }
}
