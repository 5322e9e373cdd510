//! Calls that many requests want the answer of are made once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

type Flight<V> = BoxFuture<'static, V>;
type Open<K, V> = Mutex<HashMap<K, WeakShared<Flight<V>>>>;

/// Calls under way, by key. A call is carried on by whoever still waits for it and ends when nobody does.
pub(crate) struct Flights<K, V: Clone>(Arc<Open<K, V>>);

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// The answer of the call that is under way for `key`, or of `call`.
    pub(crate) fn join<F>(&self, key: K, call: impl FnOnce() -> F) -> Shared<Flight<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut open = lock(&self.0);
        if let Some(flight) = open.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let landing = Landing { key: key.clone(), open: Arc::downgrade(&self.0) };
        let call = call();
        let flight = async move {
            let _landing = landing;
            call.await
        };
        let flight = flight.boxed().shared();
        if let Some(under_way) = flight.downgrade() {
            open.insert(key, under_way);
        }
        flight
    }
}

/// Takes a call out of the map when it has ended, or when the last who waited for it went away.
struct Landing<K: Eq + Hash, V: Clone> {
    key: K,
    open: Weak<Open<K, V>>,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        if let Some(open) = self.open.upgrade() {
            lock(&open).remove(&self.key);
        }
    }
}

fn lock<K, V: Clone>(open: &Open<K, V>) -> MutexGuard<'_, HashMap<K, WeakShared<Flight<V>>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_answered_by_one_call() {
        let (flights, calls) = (Flights::new(), Arc::new(AtomicUsize::new(0)));
        let ask = |key: u32| {
            let calls = Arc::clone(&calls);
            flights.join(key, || async move {
                tokio::task::yield_now().await;
                (key, calls.fetch_add(1, SeqCst))
            })
        };
        let answers = join_all((0..100).map(|n| ask(n % 2))).await;
        assert!(answers.iter().enumerate().all(|(n, (key, _))| *key as usize == n % 2));
        assert_eq!(calls.load(SeqCst), 2);
        ask(0).await;
        assert_eq!(calls.load(SeqCst), 3, "an answer is not kept");
        assert!(lock(&flights.0).is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_takes_nobody_along_and_leaves_nothing_behind() {
        let (flights, go) = (Flights::new(), Arc::new(Notify::new()));
        let ask = || {
            let go = Arc::clone(&go);
            flights.join((), || async move { go.notified().await })
        };
        let (mut first, second) = (ask(), ask());
        assert!((&mut first).now_or_never().is_none());
        drop(first);
        go.notify_one();
        second.await;
        let abandoned = ask();
        assert_eq!(lock(&flights.0).len(), 1);
        drop(abandoned);
        assert!(lock(&flights.0).is_empty());
    }
}
