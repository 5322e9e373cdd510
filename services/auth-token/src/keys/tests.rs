use std::collections::{BTreeMap, BTreeSet};

use entrepot_core::ErrorKind;
use entrepot_core::error::Classify;

use super::*;
use crate::schema::{MIGRATIONS, OWNER};

#[tokio::test]
async fn keys_are_good_for_a_while_without_the_database() {
    let database = Database::temporary().await.unwrap();
    database.migrate(OWNER, MIGRATIONS).await.unwrap();
    let ring = Arc::new(KeyRing::new(database.clone(), "registry.test"));
    let first = ring.keys().await.unwrap();
    database.close().await.unwrap();
    // Only from here on: with a database at work a paused clock would run ahead of it.
    tokio::time::pause();
    tokio::time::advance(LATEST / 2).await;
    assert_eq!(ring.keys().await.unwrap().published, first.published);
    tokio::time::advance(LATEST / 2).await;
    assert_eq!(ring.keys().await.map(|_| ()).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn keys_are_read_again_while_the_old_ones_are_used() {
    let database = Database::temporary().await.unwrap();
    database.migrate(OWNER, MIGRATIONS).await.unwrap();
    let ring = Arc::new(KeyRing::new(database.clone(), "registry.test"));
    let first = ring.keys().await.unwrap();
    // Another replica changes them.
    database.shift_clock(ROTATE);
    Arc::new(KeyRing::new(database, "registry.test")).keys().await.unwrap();
    let loaded = |at| *ring.loaded.lock().unwrap() = Some((at, first.clone()));
    loaded(Instant::now() - RELOAD);
    assert_eq!(ring.keys().await.unwrap().published, first.published);
    let deadline = Instant::now() + Duration::from_secs(20);
    while ring.keys().await.unwrap().published == first.published {
        assert!(Instant::now() < deadline, "the keys were not read again");
        tokio::task::yield_now().await;
    }
}

#[test]
fn the_first_key_signs_at_once() {
    assert_eq!(plan(&[]), Plan { add: true, signs: 0, keep: 0 });
    assert_eq!(plan(&[0]), Plan { add: false, signs: 0, keep: 1 });
}

#[test]
fn a_new_key_waits_until_everybody_knows_it() {
    assert_eq!(plan(&[OVERLAP - 1, ROTATE]), Plan { add: false, signs: 1, keep: 2 });
    assert_eq!(plan(&[OVERLAP, ROTATE]), Plan { add: false, signs: 0, keep: 2 });
    assert_eq!(plan(&[2 * OVERLAP, ROTATE]), Plan { add: false, signs: 0, keep: 1 });
    assert_eq!(plan(&[ROTATE]), Plan { add: true, signs: 0, keep: 1 });
}

/// Plays a year minute by minute. Verifiers know what was published up to five minutes ago, tokens live five minutes, and any
/// replica may sign with, and publish, the keys of a while ago.
#[test]
fn every_token_can_be_verified_to_its_end_by_one_who_reads_the_keys_late() {
    let late = 5 * MINUTE;
    let stale = i64::try_from(LATEST.as_millis()).unwrap();
    let mut signers: BTreeMap<i64, u32> = BTreeMap::new();
    let mut created: Vec<(i64, u32)> = Vec::new();
    let mut published: BTreeMap<i64, BTreeSet<u32>> = BTreeMap::new();
    let mut signed: Vec<(i64, u32)> = Vec::new();
    for now in (0..365 * 24 * 60).map(|minute| minute * MINUTE) {
        let ages: Vec<i64> = created.iter().map(|(at, _)| now - at).collect();
        let plan = plan(&ages);
        created.truncate(plan.keep);
        if plan.add {
            let next = created.iter().map(|(_, id)| id + 1).max().unwrap_or(0);
            created.insert(0, (now, next));
        }
        let signs = if ages.is_empty() { 0 } else { plan.signs + usize::from(plan.add) };
        signers.insert(now, created[signs].1);
        signed.push((now, created[signs].1));
        signed.extend(signers.get(&(now - stale)).map(|key| (now, *key)));
        signers.retain(|at, _| *at > now - stale);
        published.insert(now, created.iter().map(|(_, id)| *id).collect());
        published.retain(|at, _| *at >= now - late - stale);
        signed.retain(|(at, _)| *at >= now - 5 * MINUTE);
        // One verifier reads the keys at this moment, another did so a while ago, a third from a replica that is late itself.
        for read_at in [now, now - late, now - late - stale] {
            let Some(known) = published.get(&read_at) else { continue };
            for (at, key) in &signed {
                assert!(known.contains(key), "key {key} signed at {at}, unknown at {now} by keys of {read_at}");
            }
        }
        assert!((1..=2).contains(&created.len()));
    }
    assert!(created[0].1 >= 11, "keys were not changed: {created:?}");
}
