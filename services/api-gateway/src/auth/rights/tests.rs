use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use entrepot_core::ports::auth::{Authorized, IssuedToken, RightsChanges, TokenRequest};

use super::*;

/// A list of changes that can be added to, cut off and made slow.
#[derive(Default)]
struct Feed {
    changes: StdMutex<Vec<RightsChange>>,
    down: AtomicBool,
    stalled: AtomicBool,
    readings: AtomicUsize,
}

impl Feed {
    fn change(&self, subject: Principal) -> u64 {
        let mut changes = self.changes.lock().unwrap();
        let generation = changes.last().map_or(1, |last| last.generation + 1);
        changes.push(RightsChange { subject, generation });
        generation
    }

    fn readings(&self) -> usize {
        self.readings.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenService for Feed {
    async fn issue(&self, _: TokenRequest) -> Result<IssuedToken, AuthError> {
        unreachable!("only changes are read")
    }

    async fn authorize(&self, _: TokenRequest) -> Result<Authorized, AuthError> {
        unreachable!("only changes are read")
    }

    async fn key_set(&self) -> Result<String, AuthError> {
        unreachable!("only changes are read")
    }

    /// Two changes at a time.
    async fn changes(&self, after: u64) -> Result<RightsChanges, AuthError> {
        self.readings.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        if self.stalled.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(AuthError::Unavailable("down".into()));
        }
        let changes = self.changes.lock().unwrap();
        let head = changes.last().map_or(0, |last| last.generation);
        let after = if after > head { 0 } else { after };
        let new: Vec<_> = changes.iter().filter(|change| change.generation > after).cloned().collect();
        let part: Vec<_> = new.iter().take(2).cloned().collect();
        let more = part.len() < new.len();
        Ok(RightsChanges { cursor: part.last().map_or(head, |last| last.generation), changes: part, more })
    }
}

fn alice() -> Principal {
    Principal::User("alice".into())
}

fn grant(principal: Principal, generation: u64) -> Grant {
    Grant { principal, scopes: Vec::new(), refused: Vec::new(), expires_at: u64::MAX, id: "x".into(), generation }
}

fn feed() -> (Arc<Feed>, Arc<Rights>) {
    let feed = Arc::new(Feed::default());
    (Arc::clone(&feed), Rights::new(feed))
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

async fn allowed(rights: &Arc<Rights>, grant: &Grant, purpose: Purpose) -> Option<bool> {
    rights.check(grant, purpose).await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_token_from_before_a_change_of_its_own_is_refused_and_no_other() {
    let (feed, rights) = feed();
    let old = grant(alice(), 0);
    assert_eq!(allowed(&rights, &old, Purpose::Write).await, Some(true));
    feed.change(Principal::Robot("alice".into()));
    let known = feed.change(alice());
    pass(FRESH).await;
    assert_eq!(allowed(&rights, &old, Purpose::Read).await, Some(false));
    assert_eq!(allowed(&rights, &grant(alice(), known - 1), Purpose::Read).await, Some(false));
    assert_eq!(allowed(&rights, &grant(alice(), known), Purpose::Read).await, Some(true));
    assert_eq!(allowed(&rights, &grant(Principal::User("bob".into()), 0), Purpose::Read).await, Some(true));
    assert_eq!(allowed(&rights, &grant(Principal::Anonymous, 0), Purpose::Read).await, Some(true));
    let everybody = feed.change(Principal::Anonymous);
    pass(FRESH).await;
    for principal in [alice(), Principal::User("bob".into()), Principal::Anonymous] {
        assert_eq!(allowed(&rights, &grant(principal.clone(), known), Purpose::Read).await, Some(false));
        assert_eq!(allowed(&rights, &grant(principal, everybody), Purpose::Read).await, Some(true));
    }
}

/// Whatever the pace of the requests, and however the change falls between two readings.
#[tokio::test(start_paused = true)]
async fn no_change_takes_longer_than_five_seconds() {
    for pace in [50, 400, 999, 1_000, 1_001, 3_000, 3_999, 4_000, 30_000] {
        let (feed, rights) = feed();
        let old = grant(alice(), 0);
        for _ in 0..7 {
            assert_eq!(allowed(&rights, &old, Purpose::Read).await, Some(true));
            pass(Duration::from_millis(pace)).await;
        }
        feed.change(alice());
        let changed = Instant::now();
        while allowed(&rights, &old, Purpose::Read).await == Some(true) {
            assert!(changed.elapsed() < Duration::from_secs(5), "requests every {pace} ms");
            pass(Duration::from_millis(pace)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_makes_it_count_at_once_and_steady_requests_do_not_wait() {
    let (feed, rights) = feed();
    let old = grant(alice(), 0);
    assert_eq!(allowed(&rights, &old, Purpose::Read).await, Some(true));
    feed.change(alice());
    assert_eq!(allowed(&rights, &old, Purpose::Read).await, Some(true), "nothing told of it yet");
    rights.hint();
    assert_eq!(allowed(&rights, &old, Purpose::Read).await, Some(false));
    let readings = feed.readings();
    for _ in 0..100 {
        let asked = Instant::now();
        assert_eq!(allowed(&rights, &old, Purpose::Read).await, Some(false));
        assert!(asked.elapsed().is_zero(), "a request waited");
        // As long as a reading on the side takes, so that one finishes.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let readings = feed.readings() - readings;
    assert!((4..=6).contains(&readings), "{readings} readings in 5 s");
}

#[tokio::test(start_paused = true)]
async fn many_at_once_cause_one_reading() {
    let (feed, rights) = feed();
    let old = grant(alice(), 0);
    let checks = (0..100).map(|_| rights.check(&old, Purpose::Read));
    assert!(
        futures_util::future::join_all(checks).await.into_iter().all(|checked| checked.is_ok_and(|allowed| allowed))
    );
    assert_eq!(feed.readings(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_auth_token_pushes_stop_and_pulls_go_on_for_a_minute() {
    for stalled in [false, true] {
        let (feed, rights) = feed();
        let token = grant(alice(), 0);
        assert_eq!(allowed(&rights, &token, Purpose::Write).await, Some(true));
        feed.down.store(true, Ordering::SeqCst);
        feed.stalled.store(stalled, Ordering::SeqCst);
        pass(FRESH).await;
        let asked = Instant::now();
        assert_eq!(allowed(&rights, &token, Purpose::Write).await, None);
        assert!(asked.elapsed() <= PATIENCE + PAUSE);
        for _ in 0..50 {
            let asked = Instant::now();
            assert_eq!(allowed(&rights, &token, Purpose::Write).await, None);
            assert_eq!(allowed(&rights, &token, Purpose::Read).await, Some(true));
            assert!(asked.elapsed().is_zero(), "a request waited for what had just failed");
            pass(Duration::from_secs(1)).await;
        }
        pass(Duration::from_secs(6)).await;
        assert_eq!(allowed(&rights, &token, Purpose::Read).await, None, "the minute is over");
        feed.down.store(false, Ordering::SeqCst);
        feed.stalled.store(false, Ordering::SeqCst);
        let back = Instant::now();
        while allowed(&rights, &token, Purpose::Write).await.is_none() {
            assert!(back.elapsed() < PATIENCE * 2, "it does not recover");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_never_read_them_lets_nobody_in() {
    let (feed, rights) = feed();
    feed.down.store(true, Ordering::SeqCst);
    assert_eq!(allowed(&rights, &grant(alice(), 9), Purpose::Read).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_restored_database_starts_a_new_history() {
    let (feed, rights) = feed();
    for _ in 0..5 {
        feed.change(alice());
    }
    assert_eq!(allowed(&rights, &grant(alice(), 4), Purpose::Read).await, Some(false));
    feed.changes.lock().unwrap().clear();
    let bob = Principal::User("bob".into());
    let known = feed.change(bob.clone());
    pass(FRESH).await;
    assert_eq!(allowed(&rights, &grant(alice(), known), Purpose::Read).await, Some(true));
    assert_eq!(allowed(&rights, &grant(bob.clone(), known - 1), Purpose::Read).await, Some(false));
    feed.change(bob.clone());
    pass(FRESH).await;
    assert_eq!(allowed(&rights, &grant(bob, known), Purpose::Read).await, Some(false));
}

#[test]
fn changes_that_no_token_outlives_are_forgotten() {
    let mut changes = Changes::default();
    let start = Instant::now();
    changes.add(vec![RightsChange { subject: alice(), generation: 1 }], start);
    changes.add(vec![RightsChange { subject: Principal::User("bob".into()), generation: 2 }], start + CHANGES_KEPT);
    assert_eq!(changes.of.len(), 1);
}
