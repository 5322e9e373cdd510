//! W3C trace context (`traceparent`, `tracestate`) with or without an exporter behind it.

use std::{cell::Cell, future::Future, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::spans_enabled;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// The trace of the request that a task works for; 0 until an id is needed.
struct Trace(Cell<u128>);

impl Trace {
    fn id(&self) -> u128 {
        if self.0.get() == 0 {
            self.0.set(rand::random());
        }
        self.0.get()
    }
}

tokio::task_local! {
    static TRACE: Trace;
}

/// The trace that a caller's headers name, if they name one.
#[derive(Clone, Debug, Default)]
pub struct RemoteTrace {
    parent: Option<Parent>,
    state: Option<String>,
}

impl RemoteTrace {
    /// Reads `traceparent` and `tracestate`; malformed ones are as good as absent.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let parent = text(TRACEPARENT).and_then(parse);
        // Only an exporter hands the state on.
        let state = parent.filter(|_| spans_enabled()).and_then(|_| text(TRACESTATE)).map(str::to_owned);
        Self { parent, state }
    }
}

/// Runs the future of one request inside its trace: the caller's, or a new one.
///
/// `span` is only called when somebody reads spans; its span becomes a child of the caller's.
pub fn in_trace<F: Future, S: FnOnce() -> Span>(
    remote: &RemoteTrace,
    span: S,
    future: F,
) -> impl Future<Output = F::Output> + use<F, S> {
    let mut id = remote.parent.map_or(0, |parent| parent.trace_id);
    let span = if spans_enabled() { span() } else { Span::none() };
    if !span.is_none() {
        if let Some(parent) = remote.parent {
            // Fails only without an exporter, when there is nothing to attach to.
            let _ = span.set_parent(parent.context(remote.state.as_deref()));
        }
        if let Some(exported) = exported(&span) {
            id = u128::from_be_bytes(exported.trace_id().to_bytes());
        }
    }
    TRACE.scope(Trace(Cell::new(id)), future.instrument(span))
}

/// Gives a future that will run in another task the trace and the span of this one.
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> + use<F> {
    let id = TRACE.try_with(Trace::id).unwrap_or(0);
    TRACE.scope(Trace(Cell::new(id)), future.in_current_span())
}

/// The id of the current trace, 32 hexadecimal digits: the same during one request, a new one outside of requests.
pub fn current_trace_id() -> String {
    format!("{:032x}", current().0)
}

/// Hands the headers of an outgoing call to `set`; fits any carrier, such as gRPC metadata.
pub fn inject(mut set: impl FnMut(&'static str, &str)) {
    let (trace, span, sampled, state) = current();
    set(TRACEPARENT, &format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled)));
    if !state.is_empty() {
        set(TRACESTATE, &state);
    }
}

/// [`inject`] into the headers of an outgoing HTTP request.
pub fn inject_headers(headers: &mut HeaderMap) {
    inject(|name, value| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    });
}

/// The trace id for log lines; `None` where no request, or none that needed an id, is being served.
pub(super) fn logged_trace_id() -> Option<u128> {
    TRACE.try_with(|trace| trace.0.get()).ok().filter(|id| *id != 0)
}

fn current() -> (u128, u64, bool, String) {
    if spans_enabled()
        && let Some(context) = exported(&Span::current())
    {
        return (
            u128::from_be_bytes(context.trace_id().to_bytes()),
            u64::from_be_bytes(context.span_id().to_bytes()),
            context.is_sampled(),
            context.trace_state().header(),
        );
    }
    let remembered = TRACE.try_with(Trace::id);
    (remembered.unwrap_or_else(|_| rand::random()), rand::random(), false, String::new())
}

fn exported(span: &Span) -> Option<SpanContext> {
    let context = span.context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then_some(span_context)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) sampled: bool,
}

impl Parent {
    fn context(self, state: Option<&str>) -> Context {
        let state = state.and_then(|text| TraceState::from_str(text).ok()).unwrap_or_default();
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let trace_id = TraceId::from_bytes(self.trace_id.to_be_bytes());
        let span_id = SpanId::from_bytes(self.span_id.to_be_bytes());
        Context::new().with_remote_span_context(SpanContext::new(trace_id, span_id, flags, true, state))
    }
}

/// Reads a `traceparent` (W3C Trace Context 3.2); `None` for anything malformed, which is as good as absent.
pub(super) fn parse(text: &str) -> Option<Parent> {
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = (version.len(), trace.len(), span.len(), flags.len());
    let extended = parts.next().is_some();
    if lengths != (2, 32, 16, 2) || version == "ff" || (version == "00" && extended) {
        return None;
    }
    if ![version, trace, span, flags].into_iter().all(hex) {
        return None;
    }
    let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(Parent { trace_id, span_id, sampled: flags & 1 == 1 })
}
