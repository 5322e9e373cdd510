//! One replica of a peer: its connection, kept up in the background, and how it is doing.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use entrepot_runtime::BoxError;
use entrepot_runtime::telemetry::Chain;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::Service;

use super::dial::{Dial, Socket};

/// Flow control towards us: answers are at most a manifest, and several may be under way.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Most bytes of one upload that wait here to be sent: beyond it the client waits. A peer is near, and what all uploads
/// hold adds up.
const SEND_BUFFER: usize = 256 << 10;
/// Pauses between attempts to connect: doubled from the first to the last, each cut by up to half.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that lasted so long was a good one: the next attempt is made soon.
const LASTING: Duration = Duration::from_secs(1);
/// The trace of a health check: well-formed and not sampled, so that checks never fill a trace store.
const UNSAMPLED: &str = "00-00000000000000000000000000000001-0000000000000001-00";

pub(super) type Sender = http2::SendRequest<Body>;
type Connection = http2::Connection<TokioIo<Box<dyn Socket>>, Body, TokioExecutor>;

/// The times of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) connect_timeout: Duration,
    pub(super) keep_alive: Duration,
    /// Between two health checks, and how long the answer to one may take.
    pub(super) health_interval: Duration,
}

/// How a connected replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It takes calls.
    Serving,
    /// It starts, drains or misses something it needs: used only when no other takes calls.
    NotServing,
    /// It did not answer the last check.
    Silent,
}

#[derive(Clone)]
enum Line {
    Down,
    Up { sender: Sender, health: Health },
}

/// What the replicas of one peer have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Board {
    /// Replicas with a connection.
    pub(super) up: usize,
    /// Since when there has been none.
    pub(super) down_since: Option<Instant>,
}

impl Board {
    /// A new peer counts as down from now on.
    pub(super) fn channel() -> watch::Sender<Self> {
        watch::Sender::new(Self { up: 0, down_since: Some(Instant::now()) })
    }
}

/// A replica.
pub(super) struct Member {
    name: String,
    scheme: Scheme,
    authority: Authority,
    dial: Box<dyn Dial>,
    timing: Timing,
    line: watch::Sender<Line>,
    board: watch::Sender<Board>,
    in_flight: AtomicUsize,
    /// A call waits for a connection.
    wanted: Notify,
}

/// A call under way.
pub(super) struct InFlight(Arc<Member>);

/// What became of a request.
pub(super) enum Sent {
    /// The replica answers.
    Answered(Response<Incoming>),
    /// Not a byte of it left this process.
    Unsent(Box<Request<Body>>),
    /// It may have arrived.
    Failed(hyper::Error),
}

impl Member {
    pub(super) fn new(
        name: String,
        (scheme, authority): (Scheme, Authority),
        dial: Box<dyn Dial>,
        timing: Timing,
        board: watch::Sender<Board>,
    ) -> Arc<Self> {
        let line = watch::Sender::new(Line::Down);
        Arc::new(Self {
            name,
            scheme,
            authority,
            dial,
            timing,
            line,
            board,
            in_flight: AtomicUsize::new(0),
            wanted: Notify::new(),
        })
    }

    /// The connection, when it is up and takes requests.
    pub(super) fn sender(&self) -> Option<(Sender, Health)> {
        match &*self.line.borrow() {
            Line::Up { sender, health } if !sender.is_closed() => Some((sender.clone(), *health)),
            Line::Up { .. } | Line::Down => None,
        }
    }

    /// Calls under way.
    pub(super) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Completes when the replica has not answered a health check.
    pub(super) async fn silent(&self) {
        let silent = |line: &Line| matches!(line, Line::Up { health: Health::Silent, .. });
        // `self` keeps the sender of the watch alive, so waiting cannot fail.
        let _ = self.line.subscribe().wait_for(silent).await;
    }

    /// Sends `request` over `sender`.
    pub(super) async fn send(&self, mut sender: Sender, mut request: Request<Body>) -> Sent {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        // A URI with scheme, authority and the path that it had is complete.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        match sender.try_send_request(request).await {
            Ok(response) => Sent::Answered(response),
            Err(mut refused) => match refused.take_message() {
                Some(request) => Sent::Unsent(Box::new(request)),
                None => Sent::Failed(refused.into_error()),
            },
        }
    }

    /// Connects, checks on the replica while the connection lasts, and connects again, until it is dropped.
    pub(super) async fn keep(self: Arc<Self>) {
        let _down_at_the_end = Retired(&self);
        let mut failures = 0;
        loop {
            let connected = timeout(self.timing.connect_timeout, self.connect()).await;
            match connected {
                Ok(Ok((sender, connection))) => {
                    if failures > 0 {
                        tracing::info!(peer = self.name, "a peer can be reached again");
                    }
                    let began = Instant::now();
                    let ended = self.watch(&sender, connection).await;
                    tracing::debug!(peer = self.name, ?ended, "a connection to a peer ended");
                    if began.elapsed() >= LASTING {
                        failures = 0;
                    }
                }
                Ok(Err(error)) => self.unreachable(failures, &*error),
                Err(elapsed) => self.unreachable(failures, &elapsed),
            }
            self.set(Line::Down);
            self.pause(failures).await;
            failures += 1;
        }
    }

    /// Between two attempts to connect; cut short when a call wants the replica.
    async fn pause(&self, failures: u32) {
        let pause = backoff(failures);
        sleep(pause.min(BACKOFF.0)).await;
        // Either way it is time for the next attempt.
        let _ = timeout(pause.saturating_sub(BACKOFF.0), self.wanted.notified()).await;
    }

    /// Has the next attempt to connect made now.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    async fn connect(&self) -> Result<(Sender, Connection), BoxError> {
        let socket = self.dial.dial().await?;
        let connected = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(self.timing.keep_alive)
            .keep_alive_timeout(self.timing.keep_alive)
            .handshake(TokioIo::new(socket))
            .await?;
        Ok(connected)
    }

    /// Drives `connection` and checks on the replica. The line is up from the first answer to a check: before that
    /// nothing says that there is a peer at the other end, or that it has accepted our certificate.
    async fn watch(&self, sender: &Sender, connection: Connection) -> hyper::Result<()> {
        let checks = async {
            loop {
                let health = self.check(sender).await;
                self.set(Line::Up { sender: sender.clone(), health });
                sleep(self.timing.health_interval).await;
            }
        };
        let mut checks = pin!(checks);
        tokio::select! {
            ended = connection => ended,
            () = &mut checks => Ok(()),
        }
    }

    /// Asks the replica's health service. One that has none, an older version, is taken at its word: it answers.
    async fn check(&self, sender: &Sender) -> Health {
        let origin = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query("/");
        let mut client = HealthClient::with_origin(Direct(sender.clone()), origin.build().unwrap_or_default());
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert("traceparent", tonic::metadata::MetadataValue::from_static(UNSAMPLED));
        match timeout(self.timing.health_interval, client.check(request)).await {
            Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => Health::Serving,
            Ok(Ok(_)) => Health::NotServing,
            Ok(Err(status)) if status.code() == Code::Unimplemented => Health::Serving,
            Ok(Err(_)) | Err(_) => Health::Silent,
        }
    }

    fn set(&self, line: Line) {
        let is_up = matches!(line, Line::Up { .. });
        let before = self.line.send_replace(line);
        let was_up = matches!(before, Line::Up { .. });
        if is_up == was_up {
            return;
        }
        self.board.send_modify(|board| {
            board.up = if is_up { board.up + 1 } else { board.up - 1 };
            board.down_since = (board.up == 0).then(Instant::now);
        });
    }

    /// The first failure is news, the next ones are not.
    fn unreachable(&self, failures: u32, error: &(dyn std::error::Error + 'static)) {
        let error = Chain(error);
        if failures == 0 {
            tracing::warn!(peer = self.name, %error, "a peer cannot be reached");
        } else {
            tracing::debug!(peer = self.name, %error, failures, "a peer cannot be reached");
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = self.sender().map(|(_, health)| health);
        f.debug_struct("Member").field("name", &self.name).field("health", &health).finish_non_exhaustive()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A replica that is kept no longer does not count as up. Calls under way finish on what they hold of its connection.
struct Retired<'a>(&'a Member);

impl Drop for Retired<'_> {
    fn drop(&mut self) {
        self.0.set(Line::Down);
    }
}

fn backoff(failures: u32) -> Duration {
    let full = BACKOFF.0.saturating_mul(1 << failures.min(16)).min(BACKOFF.1);
    rand::random_range(full / 2..=full)
}

/// A connection as a service, for the health client.
struct Direct(Sender);

impl Service<Request<Body>> for Direct {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = futures_util::future::BoxFuture<'static, hyper::Result<Response<Incoming>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        Box::pin(self.0.send_request(request))
    }
}
