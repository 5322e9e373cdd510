use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{BUCKETS, NETWORK, Throttle};

fn peer(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn ten_failures_close_an_account_to_one_network_for_a_while() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    for _ in 0..10 {
        throttle.check("alice", peer("192.0.2.1"), start).unwrap();
        throttle.failed("alice", peer("192.0.2.1"), start);
    }
    let wait = throttle.check("alice", peer("192.0.2.1"), start).unwrap_err();
    assert_eq!(wait, Duration::from_secs(6));
    throttle.check("alice", peer("192.0.2.2"), start).unwrap();
    throttle.check("bob", peer("192.0.2.1"), start).unwrap();
    throttle.check("alice", peer("192.0.2.1"), start + wait).unwrap();
    throttle.failed("alice", peer("192.0.2.1"), start + wait);
    throttle.check("alice", peer("192.0.2.1"), start + wait).unwrap_err();
}

#[test]
fn a_network_that_tries_many_accounts_is_closed_too() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    for n in 0..NETWORK.burst {
        let address = format!("2001:db8::{n:x}");
        throttle.check(&n.to_string(), peer(&address), start).unwrap();
        throttle.failed(&n.to_string(), peer(&address), start);
    }
    throttle.check("new", peer("2001:db8::ffff"), start).unwrap_err();
    throttle.check("new", peer("2001:db8:0:1::1"), start).unwrap();
    throttle.check("new", peer("2001:db8::ffff"), start + NETWORK.leak).unwrap();
}

#[test]
fn one_account_never_closes_its_network() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    for n in 0..2 * NETWORK.burst {
        throttle.failed("stale", peer("192.0.2.1"), start + n * Duration::from_secs(60));
    }
    throttle.check("new", peer("192.0.2.1"), start).unwrap();
}

#[test]
fn a_closed_network_stays_open_to_those_who_logged_in_from_it() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    throttle.succeeded("alice", peer("192.0.2.1"), start);
    throttle.succeeded("bob", peer("192.0.2.2"), start);
    for n in 0..=NETWORK.burst {
        throttle.failed(&n.to_string(), peer("192.0.2.1"), start);
    }
    throttle.check("alice", peer("192.0.2.1"), start).unwrap();
    throttle.check("bob", peer("192.0.2.1"), start).unwrap_err();
    for _ in 0..10 {
        throttle.failed("alice", peer("192.0.2.1"), start);
    }
    throttle.check("alice", peer("192.0.2.1"), start).unwrap_err();
    let days = Duration::from_secs(2 * 24 * 60 * 60);
    for n in 0..=NETWORK.burst {
        throttle.failed(&format!("later{n}"), peer("192.0.2.1"), start + days);
    }
    throttle.check("alice", peer("192.0.2.1"), start + days).unwrap_err();
}

#[test]
fn clients_without_an_address_do_not_close_each_other_out() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    for n in 0..2 * NETWORK.burst {
        throttle.failed(&n.to_string(), None, start);
    }
    throttle.check("alice", None, start).unwrap();
}

#[test]
fn memory_is_bounded() {
    let (throttle, start) = (Throttle::default(), Instant::now());
    for n in 0..50_000_u32 {
        throttle.failed(&n.to_string(), Some(IpAddr::V4(n.into())), start);
        throttle.succeeded(&n.to_string(), Some(IpAddr::V4(n.into())), start);
    }
    let state = throttle.0.lock().unwrap();
    for recent in [&state.empty_at, &state.familiar_until] {
        assert!(recent.young.len() + recent.old.len() <= BUCKETS);
    }
}
