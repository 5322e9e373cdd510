//! A call on its way to one of the replicas of a peer: deadline, choice, and another attempt where that is right.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::budget::RetryBudget;
use super::member::{Member, Sent};
use super::members::{Members, Pick};
use super::methods::{Repeat, repeat};
use crate::deadline;

/// How often a call whose outcome is unknown is made again.
const MAX_RETRIES: u32 = 2;
/// Pauses before a retry: at random up to this, doubled for the second.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Replicas that may turn out to be closing before a call gives up.
const MAX_UNSENT: usize = 16;

/// The way to the replicas of one peer. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Channel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    members: Arc<Members>,
    budget: RetryBudget,
    deadline: Duration,
}

/// How an attempt of a call with a small request ended.
enum Outcome {
    /// With this answer, whatever it says.
    Answer(Box<Response<Collected<Bytes>>>),
    /// The replica did certainly not act on it.
    Untouched,
    /// It may have acted on it.
    Unknown(Status),
}

impl Channel {
    pub(super) fn new(members: Arc<Members>, deadline: Duration) -> Self {
        Self(Arc::new(Inner { members, budget: RetryBudget::new(), deadline }))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Which replica is ready is decided per attempt.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(super::USER_AGENT));
        match repeat(request.uri().path()) {
            Repeat::Never => Box::pin(async move { inner.stream(request).await }),
            repeat => Box::pin(async move { inner.unary(request, repeat == Repeat::Yes).await }),
        }
    }
}

impl Inner {
    /// A call whose request streams: for as long as it takes, and to one replica once anything was sent.
    async fn stream(&self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut tried = Vec::new();
        while tried.len() < MAX_UNSENT {
            let Pick { member, sender } = self.members.pick(&tried).await?;
            let _in_flight = member.begin();
            match member.send(sender, request).await {
                Sent::Answered(response) => return Ok(response.map(Body::new)),
                Sent::Failed(error) => return Err(lost(error)),
                Sent::Unsent(unsent) => request = *unsent,
            }
            tried.push(member);
        }
        Err(nobody())
    }

    /// A call with a small request and answer, within the deadline.
    async fn unary(&self, request: Request<Body>, repeatable: bool) -> Result<Response<Body>, Status> {
        let deadline = Instant::now() + self.deadline;
        match timeout_at(deadline, self.attempts(request, repeatable, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {:?}", self.deadline))),
        }
    }

    async fn attempts(
        &self,
        request: Request<Body>,
        repeatable: bool,
        deadline: Instant,
    ) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        self.budget.deposit();
        let mut tried: Vec<Arc<Member>> = Vec::new();
        let mut retries = 0;
        while tried.len() < MAX_UNSENT {
            let pick = self.members.pick(&tried).await?;
            let member = Arc::clone(&pick.member);
            let mut attempt = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
            deadline::set(attempt.headers_mut(), deadline.saturating_duration_since(Instant::now()));
            let outcome = self.attempt(pick, attempt, repeatable).await;
            tried.push(member);
            let result = match outcome {
                Outcome::Untouched => continue,
                Outcome::Answer(answer) if !is_unavailable(&answer) => return Ok((*answer).map(Body::new)),
                Outcome::Answer(answer) => Ok((*answer).map(Body::new)),
                Outcome::Unknown(status) => Err(status),
            };
            if !repeatable || retries == MAX_RETRIES || !self.budget.withdraw() {
                return result;
            }
            metrics::counter!("entrepot_rpc_retries_total").increment(1);
            sleep(rand::random_range(Duration::ZERO..=RETRY_PAUSE * (1 << retries))).await;
            retries += 1;
        }
        Err(nobody())
    }

    /// One attempt. A call that may be repeated leaves a replica that fell silent, when another takes calls.
    async fn attempt(&self, pick: Pick, request: Request<Body>, repeatable: bool) -> Outcome {
        let Pick { member, sender } = pick;
        let _in_flight = member.begin();
        let mut exchange = pin!(exchange(&member, sender, request));
        tokio::select! {
            biased;
            outcome = &mut exchange => return outcome,
            () = member.silent(), if repeatable => {}
        }
        if self.members.serves_besides(&member) {
            return Outcome::Unknown(Status::unavailable("a replica stopped answering"));
        }
        exchange.await
    }
}

/// Sends `request` and reads the whole answer.
async fn exchange(member: &Member, sender: super::member::Sender, request: Request<Body>) -> Outcome {
    let response = match member.send(sender, request).await {
        Sent::Answered(response) => response,
        Sent::Unsent(_) => return Outcome::Untouched,
        Sent::Failed(error) if was_refused(&error) => return Outcome::Untouched,
        Sent::Failed(error) => return Outcome::Unknown(lost(error)),
    };
    let (parts, body): (_, Incoming) = response.into_parts();
    match Limited::new(body, crate::MAX_MESSAGE_BYTES + FRAME_HEAD).collect().await {
        Ok(body) => Outcome::Answer(Box::new(Response::from_parts(parts, body))),
        Err(error) => Outcome::Unknown(Status::unavailable(format!("the answer of a peer broke off: {error}"))),
    }
}

/// Before each gRPC message stand a flag and its length.
const FRAME_HEAD: usize = 5;

/// Whether the peer itself says that it cannot do it now: in the trailers, which stand in the head when there is no body.
fn is_unavailable(answer: &Response<Collected<Bytes>>) -> bool {
    let code = answer.headers().get(Status::GRPC_STATUS);
    let code = code.or_else(|| answer.body().trailers()?.get(Status::GRPC_STATUS));
    code.is_some_and(|code| code == "14")
}

/// Whether the peer said that it did not begin with this request (RFC 9113, 8.7): the stream was refused, or lies
/// beyond the last one that a draining peer takes.
fn was_refused(error: &hyper::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return error.is_remote()
                && (reason == Some(h2::Reason::REFUSED_STREAM)
                    || error.is_go_away() && reason == Some(h2::Reason::NO_ERROR));
        }
        source = error.source();
    }
    false
}

fn lost(error: hyper::Error) -> Status {
    let mut status = Status::unavailable("the connection to a peer broke");
    status.set_source(Arc::new(error));
    status
}

fn nobody() -> Status {
    Status::unavailable("every replica of a peer is going away")
}
