//! The admin port: liveness, readiness and metrics, apart from the port that clients use.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use tokio::sync::watch;

use crate::{metrics, shutdown::Drain};

/// What must hold before the process takes traffic: named conditions, and that it is not shutting down.
#[derive(Clone)]
pub struct Readiness {
    drain: Drain,
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
    changed: watch::Sender<()>,
}

/// One named condition of a [`Readiness`]; its owner says whether it holds. Clones are the same condition.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

/// A condition that does not hold, as `/readyz` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotReady {
    /// The condition's name.
    pub condition: &'static str,
    /// Why it does not hold.
    pub reason: String,
}

#[derive(Serialize)]
struct ReadyReport {
    ready: bool,
    not_ready: Vec<NotReady>,
}

impl Readiness {
    /// Ready until a condition is added or the drain starts.
    pub fn new(drain: Drain) -> Self {
        Self { drain, conditions: Arc::default(), changed: watch::Sender::new(()) }
    }

    /// Adds a condition, which does not hold yet ("starting").
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition { name, readiness: self.clone() };
        condition.not_ready("starting");
        condition
    }

    /// Whether everything holds.
    pub fn is_ready(&self) -> bool {
        !self.drain.is_draining() && self.lock().values().all(Option::is_none)
    }

    /// What does not hold, by name; the shutdown counts as the condition `running`.
    pub fn not_ready(&self) -> Vec<NotReady> {
        let draining =
            self.drain.is_draining().then(|| NotReady { condition: "running", reason: "shutting down".to_owned() });
        let conditions = self.lock();
        let failing = conditions
            .iter()
            .filter_map(|(name, reason)| reason.clone().map(|reason| NotReady { condition: name, reason }));
        draining.into_iter().chain(failing).collect()
    }

    /// Completes when every condition holds, or the shutdown begins.
    pub async fn wait(&self) {
        let mut changed = self.changed.subscribe();
        let settled = changed.wait_for(|()| self.lock().values().all(Option::is_none));
        tokio::select! {
            _ = settled => {}
            () = self.drain.draining() => {}
        }
    }

    /// Whether the shutdown has begun: what is not ready now will not be again.
    pub fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }

    /// Completes when [`Readiness::is_ready`] is `ready`, or the shutdown begins.
    pub async fn wait_until(&self, ready: bool) {
        let mut changed = self.changed.subscribe();
        while self.is_ready() != ready && !self.is_draining() {
            tokio::select! {
                // `self` keeps the sender alive, so waiting cannot fail.
                _ = changed.changed() => {}
                () = self.drain.draining() => {}
            }
        }
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        self.lock().insert(name, reason);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.not_ready()).finish()
    }
}

impl Condition {
    /// The condition holds.
    pub fn ready(&self) {
        self.readiness.set(self.name, None);
    }

    /// The condition does not hold; `reason` is shown to operators.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.set(self.name, Some(reason.into()));
    }
}

/// `/livez` (200 while the process runs), `/readyz` (200, or 503 and what is not ready, as JSON) and `/metrics`.
pub fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .with_state(readiness)
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    let not_ready = readiness.not_ready();
    let ready = not_ready.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadyReport { ready, not_ready }))
}

async fn prometheus() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render())
}
