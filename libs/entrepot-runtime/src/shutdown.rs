//! Orderly shutdown: one [`Drain`] per process, cloned to everything that has to notice.
//!
//! The phases, in order:
//! 1. *running*;
//! 2. *draining*: readiness is off, connections are still accepted for the grace period, so that load balancers can
//!    notice; every HTTP/1.1 answer says `Connection: close`, and HTTP/2 clients of a public port get GOAWAY, so that clients
//!    come back at another replica; work that would start something long is refused by whoever asks
//!    [`Drain::is_draining`];
//! 3. *stopping*: listeners close, HTTP/1.1 connections end after their next response, all HTTP/2 ones get GOAWAY; whatever
//!    holds a [`Hold`] may finish until the drain timeout, and background tasks go on for it;
//! 4. *ended*: what is left is dropped.
//!
//! [`Drain::start`] is all a signal does, so tests shut down without signals.

use std::{fmt, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::config::Reader;

/// How long the phases last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// Time between losing readiness and closing the listeners.
    pub grace: Duration,
    /// Time for what is in flight after the listeners have closed.
    pub timeout: Duration,
}

impl DrainConfig {
    /// No grace and a short timeout: what tests want.
    pub const IMMEDIATE: Self = Self { grace: Duration::ZERO, timeout: Duration::from_secs(5) };

    /// Reads the two under `section`, such as `shutdown`.
    pub fn read(reader: &mut Reader<'_>, section: &str) -> Self {
        let default = Self::default();
        Self {
            grace: reader.field(
                &format!("{section}.grace"),
                default.grace,
                "Time between losing readiness and closing the listeners.",
            ),
            timeout: reader.field(
                &format!("{section}.timeout"),
                default.timeout,
                "Time for requests in flight to finish after that.",
            ),
        }
    }
}

impl Default for DrainConfig {
    /// 10 s for endpoints to propagate, 10 min for a layer that is being pushed.
    fn default() -> Self {
        Self { grace: Duration::from_secs(10), timeout: Duration::from_secs(600) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Stopping,
    Ended,
}

/// How the last phase was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything in flight finished.
    Clean,
    /// The drain timeout passed first; this many [`Hold`]s were left.
    TimedOut {
        /// Holds that were not dropped in time.
        held: usize,
    },
}

/// The process-wide shutdown state; clones share it.
#[derive(Clone)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    holds: TaskTracker,
    config: DrainConfig,
}

/// Keeps the process from ending before the drain timeout, as a request in flight does; ends when dropped.
#[must_use = "dropping the hold lets the process end"]
pub struct Hold {
    _token: TaskTrackerToken,
}

impl Drain {
    /// A running process.
    pub fn new(config: DrainConfig) -> Self {
        Self { phase: watch::Sender::new(Phase::Running), holds: TaskTracker::new(), config }
    }

    /// Begins the shutdown; harmless when it has begun.
    pub fn start(&self) {
        self.advance(Phase::Draining);
    }

    /// Whether the shutdown has begun.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Completes when the shutdown begins.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Completes when listeners must close.
    pub async fn stopping(&self) {
        self.reached(Phase::Stopping).await;
    }

    /// Completes when whatever is left must be dropped.
    pub async fn ended(&self) {
        self.reached(Phase::Ended).await;
    }

    /// Registers something that should be allowed to finish.
    pub fn hold(&self) -> Hold {
        Hold { _token: self.holds.token() }
    }

    /// Moves through the phases once the shutdown has begun; exactly one task of the process runs this
    /// (`tasks::Tasks::run` does).
    pub async fn drive(&self) -> Drained {
        self.draining().await;
        tracing::info!(grace = ?self.config.grace, "shutting down: not ready any more");
        tokio::time::sleep(self.config.grace).await;
        self.advance(Phase::Stopping);
        self.holds.close();
        let outcome = match tokio::time::timeout(self.config.timeout, self.holds.wait()).await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::TimedOut { held: self.holds.len() },
        };
        self.advance(Phase::Ended);
        outcome
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = *phase < to;
            if later {
                *phase = to;
            }
            later
        });
    }

    async fn reached(&self, wanted: Phase) {
        // `self` keeps the sender alive, so waiting cannot fail.
        let _ = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await;
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("phase", &*self.phase.borrow()).field("held", &self.holds.len()).finish()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

/// The signal handlers of a process: SIGTERM or SIGINT starts the drain, a second one ends the process at once.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers; from here on the signals no longer kill the process.
    ///
    /// # Errors
    /// The runtime has no signal driver or the kernel refused the handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Starts `drain` at the first signal and exits with status 130 at the second; runs for ever.
    pub async fn watch(mut self, drain: Drain) {
        self.next().await;
        drain.start();
        self.next().await;
        tracing::warn!("second signal: ending at once");
        std::process::exit(130);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
