//! Telemetry is installed once per process, so these tests run this binary again as their subject.

use std::{
    future::pending,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use entrepot_runtime::{
    BoxError,
    serve::ServeOptions,
    shutdown::{Drain, DrainConfig},
    tasks::Tasks,
    telemetry::{self, LogFormat, RemoteTrace, TelemetryConfig},
};
use http::HeaderMap;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::support::{DEADLINE, start};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ENDPOINT: &str = "TEST_OTLP_ENDPOINT";
const CHILD: &str = "TEST_IS_CHILD";
/// In which the child stays.
const PHASE: &str = "TEST_PHASE";

fn child(test: &str, environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).stderr(Stdio::piped()).stdout(Stdio::null());
    command.env(CHILD, "1").envs(environment.iter().copied()).kill_on_drop(true).spawn().unwrap()
}

fn install(filter: &str) -> telemetry::Telemetry {
    telemetry::install(&TelemetryConfig {
        service_name: "runtime-test".to_owned(),
        filter: filter.to_owned(),
        format: LogFormat::Json,
        otlp_endpoint: std::env::var(ENDPOINT).ok(),
        sample_ratio: 1.0,
    })
    .unwrap()
}

#[tokio::test]
#[ignore = "runs as a child of the test below"]
async fn traced_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // The logs are quieter than the spans, which are exported all the same.
    let telemetry = install("warn");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
    let remote = RemoteTrace::from_headers(&headers);
    let work = async {
        tracing::warn!(answer = 42, "at \"work\"");
        assert_eq!(telemetry::current_trace_id(), TRACE);
    };
    telemetry::in_trace(&remote, || tracing::info_span!("the-request"), work).await;
    telemetry.shutdown().await;
}

#[tokio::test]
async fn a_callers_trace_reaches_the_logs_and_the_collector() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let export = async |State(seen): State<Arc<Mutex<Vec<u8>>>>, body: Bytes| {
        seen.lock().unwrap().extend_from_slice(&body);
        // An empty gRPC message, and a status in the headers as there is nothing to stream.
        ([("content-type", "application/grpc"), ("grpc-status", "0")], Bytes::from_static(&[0; 5]))
    };
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let collector = start(Router::new().route(path, post(export)).with_state(seen.clone()), ServeOptions::default());

    let child = child("telemetry::traced_child", &[(ENDPOINT, &format!("http://{}", collector.address))]);
    let output = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let logs = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{logs}");
    let line = logs.lines().find(|line| line.contains("at \\\"work\\\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((line["trace_id"].as_str(), line["answer"].as_i64()), (Some(TRACE), Some(42)));

    let exported = seen.lock().unwrap().clone();
    let contains = |wanted: &[u8]| exported.windows(wanted.len()).any(|window| window == wanted);
    let trace = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    for wanted in [&trace[..], b"the-request", b"runtime-test", &0xb7ad_6b71_6920_3331_u64.to_be_bytes()] {
        assert!(contains(wanted), "{} is missing", String::from_utf8_lossy(wanted));
    }
}

/// Whoever mistyped the endpoint has no traces, and must not have to guess why.
#[tokio::test]
async fn traces_that_cannot_be_exported_are_in_the_log() {
    // Was free a moment ago, so nobody listens there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    let child = child("telemetry::traced_child", &[(ENDPOINT, &endpoint)]);
    let output = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let logs = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{logs}");
    assert!(logs.lines().any(|line| line.contains("opentelemetry") && line.contains("Connection refused")), "{logs}");
}

#[tokio::test]
#[ignore = "runs as a child of the test below"]
async fn stubborn_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let telemetry = install("info");
    let stubborn_in = std::env::var(PHASE).unwrap();
    let grace = if stubborn_in == "draining" { DEADLINE * 10 } else { Duration::ZERO };
    let drain = Drain::new(DrainConfig { grace, timeout: DEADLINE * 10 });
    let mut tasks = Tasks::new(drain.clone());
    tasks.watch_signals().unwrap();
    // What is in flight is there until the drain times out.
    let in_flight = (stubborn_in == "stopping").then(|| drain.hold());
    tasks.spawn::<_, BoxError>("announce", async move {
        tracing::info!("running");
        drain.draining().await;
        tracing::info!("draining");
        drain.stopping().await;
        tracing::info!("stopping");
        pending().await
    });
    tasks.run().await.unwrap();
    tracing::info!("ended");
    // As a database that does not let itself be closed.
    pending::<()>().await;
    drop((in_flight, telemetry));
}

#[tokio::test]
async fn the_second_signal_ends_the_process_at_once() {
    for phase in ["draining", "stopping", "ended"] {
        let mut child = child("telemetry::stubborn_child", &[(PHASE, phase)]);
        let mut logs = BufReader::new(child.stderr.take().unwrap()).lines();
        let signal = |child: &Child| {
            let id = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
            rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        };
        for state in ["running", phase] {
            let state = format!("\"{state}\"");
            while !timeout(DEADLINE, logs.next_line()).await.unwrap().unwrap().unwrap().contains(&state) {}
            signal(&child);
        }
        let status = timeout(DEADLINE, child.wait()).await;
        assert_eq!(status.unwrap_or_else(|_| panic!("still {phase}")).unwrap().code(), Some(130));
    }
}
