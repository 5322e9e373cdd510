//! Limits on failed passwords, by account and network and by network alone.
//!
//! A bucket holds a number of failures and leaks. A limit by account alone would let anybody lock anybody out, so
//! the account's bucket belongs to one network. Successful logins cost nothing.
//!
//! Many people may share a network, behind one address, so its own bucket holds distinct names rather than failures:
//! one machine with an old password fills only the bucket of its account. Names that exist count like those that do
//! not, or the limit would tell them apart. Accounts that logged in from the network before stay free of its limit.

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many buckets are remembered; beyond, those not used since the last turn are forgotten.
const BUCKETS: usize = 16 * 1024;

/// A limit: so many failures at once, then one more per `leak`.
#[derive(Clone, Copy)]
struct Limit {
    burst: u32,
    leak: Duration,
}

const ACCOUNT: Limit = Limit { burst: 10, leak: Duration::from_secs(6) };
const NETWORK: Limit = Limit { burst: 1000, leak: Duration::from_secs(1) };

/// How long a login frees its account from the limit of its network.
const FAMILIAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A network: an IPv4 address or an IPv6 /64.
type Network = Option<IpAddr>;
type Bucket = (Network, Option<String>);

/// Logins of late.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    /// When each bucket will be empty: its level is that time's distance.
    empty_at: Recent,
    /// Until when the login of an account from a network counts.
    familiar_until: Recent,
}

/// Times by bucket, in two generations.
#[derive(Default)]
struct Recent {
    young: HashMap<Bucket, Instant>,
    old: HashMap<Bucket, Instant>,
}

impl Throttle {
    /// How long to wait before another attempt, if at all.
    pub(crate) fn check(&self, account: &str, peer: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, shared) = buckets(account, peer);
        state.check(&own, ACCOUNT, now)?;
        match shared {
            Some(shared) if state.familiar_until.get(&own).is_none_or(|until| until <= now) => {
                state.check(&shared, NETWORK, now)
            }
            _ => Ok(()),
        }
    }

    /// Remembers a failure.
    pub(crate) fn failed(&self, account: &str, peer: Option<IpAddr>, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, shared) = buckets(account, peer);
        if let Some(shared) = shared
            && state.empty_at.get(&own).is_none()
        {
            state.add(shared, NETWORK, now);
        }
        state.add(own, ACCOUNT, now);
    }

    /// Remembers a login.
    pub(crate) fn succeeded(&self, account: &str, peer: Option<IpAddr>, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.familiar_until.insert(buckets(account, peer).0, now + FAMILIAR);
    }
}

impl State {
    fn check(&self, bucket: &Bucket, limit: Limit, now: Instant) -> Result<(), Duration> {
        let empty_at = self.empty_at.get(bucket);
        let level = empty_at.map_or(Duration::ZERO, |empty_at| empty_at.saturating_duration_since(now));
        let wait = (level + limit.leak).saturating_sub(limit.leak * limit.burst);
        if wait > Duration::ZERO { Err(wait) } else { Ok(()) }
    }

    fn add(&mut self, bucket: Bucket, limit: Limit, now: Instant) {
        let empty_at = self.empty_at.get(&bucket).unwrap_or(now).max(now);
        self.empty_at.insert(bucket, empty_at + limit.leak);
    }
}

impl Recent {
    fn get(&self, bucket: &Bucket) -> Option<Instant> {
        self.young.get(bucket).or_else(|| self.old.get(bucket)).copied()
    }

    fn insert(&mut self, bucket: Bucket, time: Instant) {
        if self.young.len() >= BUCKETS / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(bucket, time);
    }
}

/// The buckets of an attempt: the account's and the network's. Without an address nobody knows who shares a network, so
/// that limit does not apply.
fn buckets(account: &str, peer: Option<IpAddr>) -> (Bucket, Option<Bucket>) {
    let network = peer.map(|address| match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    });
    // Names are as long as the sender likes.
    let account = account.chars().take(128).collect();
    ((network, Some(account)), network.map(|network| (Some(network), None)))
}

#[cfg(test)]
mod tests;
