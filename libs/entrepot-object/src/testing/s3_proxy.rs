//! A proxy in front of an S3 server that breaks what passes through it, by a plan with a seed.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Body = BoxBody<Bytes, io::Error>;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Fault {
    /// `503 SlowDown`, and the server never sees it.
    Unavailable,
    /// The connection ends in the middle of the request's body, or before the answer if there is none.
    Reset,
    /// The server does it, and the connection ends before the answer.
    Lost,
    /// The answer is held back for as long as the plan says.
    Stall,
    /// The body of the answer ends half-way.
    Truncate,
    /// `200` with an error in the body and nothing done, as S3 may answer a request to complete an upload.
    ErrorInBody,
}

/// How often each fault happens, in a thousand requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultPlan {
    /// [`S3Fault::Unavailable`]
    pub unavailable: u32,
    /// [`S3Fault::Reset`]
    pub reset: u32,
    /// [`S3Fault::Lost`]
    pub lost: u32,
    /// [`S3Fault::Stall`]
    pub stall: u32,
    /// [`S3Fault::Truncate`]
    pub truncate: u32,
    /// How long a stall lasts.
    pub stall_for: Duration,
}

impl FaultPlan {
    /// The fault that `throw`, from 0 to 999, stands for.
    fn fault(&self, mut throw: u32) -> Option<S3Fault> {
        let faults = [
            (self.unavailable, S3Fault::Unavailable),
            (self.reset, S3Fault::Reset),
            (self.lost, S3Fault::Lost),
            (self.stall, S3Fault::Stall),
            (self.truncate, S3Fault::Truncate),
        ];
        for (share, fault) in faults {
            if throw < share {
                return Some(fault);
            }
            throw -= share;
        }
        None
    }
}

/// Picks one request: by method, and by what its path and query contain.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Such as `PUT`.
    pub method: &'static str,
    /// Such as `uploadId=`; empty for any.
    pub contains: &'static str,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct S3Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    plan: Mutex<(FaultPlan, StdRng)>,
    next: Mutex<Vec<(Target, S3Fault)>>,
    requests: AtomicU64,
    broken: AtomicU64,
}

impl S3Proxy {
    /// Listens on a free port of this machine and passes requests on to `upstream`, whole until it is told otherwise.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::new((FaultPlan::default(), StdRng::seed_from_u64(0))),
            next: Mutex::default(),
            requests: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL to give to a client as the endpoint of the store.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks requests from now on by `plan`. The same seed breaks the same ones, counted as they arrive.
    pub fn follow(&self, plan: FaultPlan, seed: u64) {
        *lock(&self.shared.plan) = (plan, StdRng::seed_from_u64(seed));
    }

    /// Breaks the next request that `target` picks, besides what the plan does.
    pub fn break_next(&self, target: Target, fault: S3Fault) {
        lock(&self.shared.next).push((target, fault));
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests that were broken.
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // The connections end with the proxy.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| Arc::clone(&shared).answer(request));
            // An error is what the fault was meant to be.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Body>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault(&request);
        if fault.is_some() {
            self.broken.fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            Some(S3Fault::Unavailable) => Ok(error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
            Some(S3Fault::ErrorInBody) => Ok(error(StatusCode::OK, "InternalError")),
            Some(S3Fault::Reset) => {
                cut(request).await;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(S3Fault::Lost) => {
                let answer = self.pass_on(request).await?;
                answer.into_body().collect().await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(S3Fault::Stall) => {
                let answer = self.pass_on(request).await;
                let pause = lock(&self.plan).0.stall_for;
                tokio::time::sleep(pause).await;
                answer
            }
            Some(S3Fault::Truncate) => self.pass_on(request).await.map(truncate),
            None => self.pass_on(request).await,
        }
    }

    fn fault(&self, request: &Request<Incoming>) -> Option<S3Fault> {
        let hit = |target: &Target| {
            request.method().as_str() == target.method && request.uri().to_string().contains(target.contains)
        };
        let mut next = lock(&self.next);
        if let Some(at) = next.iter().position(|(target, _)| hit(target)) {
            return Some(next.remove(at).1);
        }
        let (plan, random) = &mut *lock(&self.plan);
        plan.fault(random.random_range(0..1000))
    }

    /// The server's answer. The `Host` stays that of the proxy, for the signature covers it.
    async fn pass_on(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let socket = TcpStream::connect(self.upstream).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        Ok(answer.map(|body| body.map_err(io::Error::other).boxed()))
    }
}

/// Reads half of the body that was announced, or nothing.
async fn cut(request: Request<Incoming>) {
    let length = request.headers().get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let mut left = length.and_then(|text| text.parse().ok()).unwrap_or(0) / 2;
    let mut body = request.into_body();
    while left > 0 {
        match body.frame().await {
            Some(Ok(frame)) => left = usize::saturating_sub(left, frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) | None => return,
        }
    }
}

/// Cuts the body of an answer in the middle.
fn truncate(answer: Response<Body>) -> Response<Body> {
    let length = answer.headers().get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let half: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0) / 2;
    answer.map(|body| {
        let frames = body.into_data_stream().scan(half, |left, frame| {
            let frame = frame.map(|mut bytes: Bytes| {
                let now = bytes.split_to(bytes.len().min(*left));
                *left -= now.len();
                now
            });
            let ended = *left == 0;
            let frames = [Some(frame.map(Frame::data)), ended.then(|| Err(io::ErrorKind::ConnectionReset.into()))];
            std::future::ready(Some(stream::iter(frames.into_iter().flatten())))
        });
        BodyExt::boxed(StreamBody::new(frames.flatten()))
    })
}

fn error(status: StatusCode, code: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>on purpose</Message></Error>"
    );
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}
