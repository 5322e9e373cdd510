//! An OTLP receiver inside the test: what the services export, to be asked whose child is whose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tonic::{Request, Response, Status};

/// One span as it was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Trace id in hexadecimal.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Its parent's id; empty for a root.
    pub parent: String,
    /// `service.name` of the process.
    pub service: String,
    /// What it says that it is.
    pub name: String,
    /// What it says about itself: `key=value` for every attribute that is text.
    pub attributes: Vec<String>,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<Span>>>);

/// A running receiver. Dropping it stops it.
pub struct Receiver {
    address: SocketAddr,
    sink: Sink,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    /// Listens on a port of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("listening for traces")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let sink = Sink::default();
        let service = TraceServiceServer::new(sink.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.map_err(std::io::Error::other)
        });
        Ok(Self { address, sink, _runtime: runtime })
    }

    /// For `traces.otlp_endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of one trace that came so far.
    #[must_use]
    pub fn spans(&self, trace: &str) -> Vec<Span> {
        self.sink.lock().iter().filter(|span| span.trace == trace).cloned().collect()
    }
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(spans);
        self.lock().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans(exported: ResourceSpans) -> impl Iterator<Item = Span> {
    let resource = exported.resource.unwrap_or_default();
    let service = text(&resource.attributes, "service.name").unwrap_or_default();
    exported.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| Span {
        trace: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        service: service.clone(),
        name: span.name,
        attributes: span.attributes.iter().filter_map(described).collect(),
    })
}

fn described(attribute: &KeyValue) -> Option<String> {
    let key = &attribute.key;
    Some(format!("{key}={}", text(std::slice::from_ref(attribute), key)?))
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
