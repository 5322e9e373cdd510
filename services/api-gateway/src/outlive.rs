//! Work that goes on when the request that began it is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use entrepot_runtime::telemetry::carry;
use tokio::runtime::Handle;

/// Work that is done in the task that waits for it, and in one of its own from the moment on that nobody waits any more.
///
/// Not in one of its own from its start: a body would then change threads with every piece of it.
pub(crate) struct Outliving<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

/// `work`, which is done to its end even if the future is dropped.
pub(crate) fn outliving<T: Send>(
    work: impl Future<Output = T> + Send + 'static,
) -> Outliving<impl Future<Output = T> + Send + 'static> {
    Outliving(Some(Box::pin(carry(work))))
}

impl<F: Future<Output: Send> + Send + 'static> Future for Outliving<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.0 else {
            // As of any future that is asked again after it was ready.
            return Poll::Pending;
        };
        let outcome = work.as_mut().poll(context);
        if outcome.is_ready() {
            self.0 = None;
        }
        outcome
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Outliving<F> {
    fn drop(&mut self) {
        // What unwinds is broken, and without a runtime nothing can go on.
        if let Some(work) = self.0.take()
            && !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn is_done_where_it_is_waited_for() {
        let request = tokio::spawn(async { (outliving(async { tokio::task::id() }).await, tokio::task::id()) });
        let (work, here) = request.await.unwrap();
        assert_eq!(work, here);
    }

    #[tokio::test]
    async fn goes_on_when_it_is_dropped() {
        let ((go, gone), (done, finished)) = (oneshot::channel::<()>(), oneshot::channel());
        let mut work = Box::pin(outliving(async move {
            gone.await.unwrap();
            done.send(()).unwrap();
        }));
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).unwrap();
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_done_twice() {
        let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
        outliving(async move { done.send(()).unwrap() }).await;
        finished.recv().await.unwrap();
        assert_eq!(finished.recv().await, None);
    }
}
