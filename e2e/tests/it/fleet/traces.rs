//! A push and a pull are one trace each, from the client through every service to SQL and S3.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use entrepot_e2e::http::{Body, Request};
use entrepot_e2e::image::{Blob, Image};
use entrepot_e2e::process::Daemon;
use entrepot_e2e::registry::Registry;
use entrepot_e2e::traces::{Receiver, Span};
use entrepot_e2e::{environment, poll, ports, random_bytes};

use super::{check, plain};

const REPOSITORY: &str = "traces/app";
/// Attributes of the calls that leave the services.
const SQL: &str = "db.system.name=postgresql";
const S3: &str = "rpc.service=S3";
/// Spans are sent in batches.
const EXPORTED: Duration = Duration::from_secs(30);

/// A trace that a client has begun: its id and the client's span.
struct Client {
    trace: String,
    span: String,
}

impl Client {
    fn new() -> Self {
        Self { trace: hex::encode(random_bytes(16)), span: hex::encode(random_bytes(8)) }
    }

    fn traced<'a>(&self, request: Request<'a>) -> Request<'a> {
        request.header("traceparent", format!("00-{}-{}-01", self.trace, self.span))
    }
}

/// Pushes an image of which every request carries the client's context.
fn push(registry: &Registry, client: &Client, image: &Image) -> Result<()> {
    let api = registry.api();
    for blob in image.blobs() {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/");
        let opened = api.client().send(client.traced(Request::new("POST", path)))?.expect(&[202])?;
        let location = opened.header("location").context("no Location")?;
        let path = entrepot_e2e::api::with_digest(location, &blob.digest);
        let put = Request::new("PUT", path).header("Content-Type", "application/octet-stream");
        api.client().send(client.traced(put.body(Body::Bytes(&blob.bytes))))?.expect(&[201])?;
    }
    let path = format!("/v2/{REPOSITORY}/manifests/1");
    let put = Request::new("PUT", path).header("Content-Type", &image.manifest.media_type);
    api.client().send(client.traced(put.body(Body::Bytes(&image.manifest.bytes))))?.expect(&[201])?;
    Ok(())
}

fn pull(registry: &Registry, client: &Client, layer: &Blob) -> Result<()> {
    let api = registry.api();
    for path in [format!("/v2/{REPOSITORY}/manifests/1"), format!("/v2/{REPOSITORY}/blobs/{}", layer.digest)] {
        api.client().send(client.traced(Request::new("GET", path)))?.expect(&[200])?;
    }
    Ok(())
}

/// The way up from a span of this service with this attribute (or any), as far as the client.
fn reaches(spans: &[Span], client: &Client, service: &str, attribute: &str) -> Result<()> {
    let fits = |span: &&Span| {
        span.service == service && (attribute.is_empty() || span.attributes.iter().any(|known| known == attribute))
    };
    let starts = spans.iter().filter(fits);
    let joined = |start: &Span| {
        let mut at = start;
        // A tree has no more steps than spans.
        for _ in 0..=spans.len() {
            if at.parent == client.span {
                return true;
            }
            match spans.iter().find(|span| span.id == at.parent) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    };
    if starts.clone().any(joined) {
        return Ok(());
    }
    let known: Vec<String> = spans.iter().map(|span| format!("{} {:?}", span.service, span.name)).collect();
    bail!("no span of {service} with {attribute:?} descends from the client's; there are {known:#?}")
}

/// Waits for spans of all these services that descend from the client's span.
fn await_spans(receiver: &Receiver, client: &Client, wanted: &[(&str, &str)]) -> Result<usize> {
    let attempt = || {
        let spans = receiver.spans(&client.trace);
        wanted.iter().try_for_each(|(service, attribute)| reaches(&spans, client, service, attribute))?;
        Ok(spans.len())
    };
    Ok(poll::until("the whole trace", EXPORTED, attempt)?.0)
}

/// The trace id stands in an error's details.
fn error_tells(registry: &Registry, client: &Client) -> Result<()> {
    let path = format!("/v2/{REPOSITORY}/manifests/no-such-tag");
    let refused = registry.api().client().send(client.traced(Request::new("GET", path)))?.expect(&[404])?;
    ensure!(refused.text().contains(&client.trace), "the error does not name the trace: {}", refused.text());
    Ok(())
}

#[test]
fn joined_to_the_clients() {
    let receiver = Receiver::start().unwrap();
    let setup = plain().with("traces.otlp_endpoint", &receiver.endpoint());
    let engines = setup.scale.engines;
    check("traces", &[], &setup, |registry| {
        let image = Image::random(&[3_000_000], "amd64");
        let (pushing, pulling) = (Client::new(), Client::new());
        push(registry, &pushing, &image)?;
        pull(registry, &pulling, &image.layers[0])?;
        error_tells(registry, &pulling)?;
        let mut pushed = vec![("api-gateway", ""), ("manifest-index", ""), ("blob-store", "")];
        let mut pulled = vec![("api-gateway", ""), ("manifest-index", "")];
        if engines.postgres {
            pushed.push(("manifest-index", SQL));
            pulled.push(("manifest-index", SQL));
        }
        if engines.s3 {
            pushed.push(("blob-store", S3));
        }
        let pushed = await_spans(&receiver, &pushing, &pushed).context("of the push")?;
        let pulled = await_spans(&receiver, &pulling, &pulled).context("of the pull")?;
        Ok(format!("a push is one trace of {pushed} spans, a pull one of {pulled}"))
    });
}

/// What the collector is to do.
fn collector_config(port: u16) -> String {
    format!(
        "yaml:{{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}}}, \
         exporters: {{debug: {{verbosity: detailed, sampling_initial: 100000}}}}, \
         service: {{telemetry: {{metrics: {{level: none}}}}, \
         pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}}}}}"
    )
}

#[test]
fn received_by_a_collector() {
    if !environment::have("fleet traces to a collector", &["otelcol"]) {
        return;
    }
    let port = ports::free_port().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command: Command = environment::command("otelcol").unwrap();
    command.arg("--config").arg(collector_config(port));
    let mut collector = Daemon::start("otelcol", folder.path(), &mut command).unwrap();
    let listening = || {
        collector.check_alive()?;
        Ok(std::net::TcpStream::connect(("127.0.0.1", port))?)
    };
    poll::until("a collector that listens", EXPORTED, listening).unwrap();
    let setup = plain().with("traces.otlp_endpoint", &format!("http://127.0.0.1:{port}"));
    check("traces to a collector", &["otelcol"], &setup, |registry| {
        let (client, image) = (Client::new(), Image::random(&[1000], "amd64"));
        push(registry, &client, &image)?;
        let log = folder.path().join("otelcol.log");
        let attempt = || {
            let text = std::fs::read_to_string(&log)?;
            let found = text.matches(&client.trace).count();
            ensure!(found > 3, "{found} spans of the trace so far");
            Ok(found)
        };
        let (found, _) = poll::until("the trace at the collector", EXPORTED, attempt)?;
        Ok(format!("an OpenTelemetry Collector received {found} spans of one push"))
    });
}
