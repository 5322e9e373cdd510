//! A writer that may have to give up.

use std::ops::{Deref, DerefMut};

use entrepot_object::{ObjectError, ObjectWriter};
use entrepot_runtime::telemetry::Chain;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A writer whose bytes are taken back unless they are [kept](Attempt::keep).
///
/// Nobody may come to go on with an upload that broke off, so its bytes must not wait for the next writer. That
/// includes a request whose future is dropped when its connection ends.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// `None` once it is settled.
    writer: Option<Box<dyn ObjectWriter>>,
}

impl Attempt {
    pub(crate) fn new(writer: Box<dyn ObjectWriter>) -> Self {
        Self { writer: Some(writer) }
    }

    /// Leaves what was written to the next writer, or to `seal`.
    pub(crate) fn keep(mut self) {
        self.writer = None;
    }

    /// Takes back what was written, and returns when that is done.
    pub(crate) async fn give_up(mut self) {
        if let Some(task) = self.take_back() {
            // It can only have panicked, which the runtime has reported.
            let _ = task.await;
        }
    }

    /// A task of its own, for the caller may be dropped at any time.
    fn take_back(&mut self) -> Option<JoinHandle<()>> {
        let (writer, runtime) = (self.writer.take()?, Handle::try_current().ok()?);
        Some(runtime.spawn(async move {
            match writer.take_back().await {
                // Somebody else has the upload, or nothing is left of it.
                Ok(())
                | Err(ObjectError::Fenced { .. } | ObjectError::AlreadySealed { .. } | ObjectError::Discarded { .. }) =>
                    {}
                Err(error) => tracing::warn!(error = %Chain(&error), "a broken upload still takes up space"),
            }
        }))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Nobody waits for the task.
        drop(self.take_back());
    }
}

impl Deref for Attempt {
    type Target = dyn ObjectWriter;

    fn deref(&self) -> &Self::Target {
        self.writer.as_deref().expect("settling an attempt consumes it")
    }
}

impl DerefMut for Attempt {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.writer.as_deref_mut().expect("settling an attempt consumes it")
    }
}
