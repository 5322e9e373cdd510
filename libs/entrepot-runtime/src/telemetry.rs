//! Logs on standard error, traces over OTLP when an endpoint is configured, and W3C trace context in and out.
//!
//! A request costs almost nothing more when nobody exports or debugs: [`in_trace`] then makes no span at all, and a
//! trace id is only drawn when something asks for it, such as an error answer.

mod chain;
mod context;
mod format;
#[cfg(test)]
mod tests;

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, ParseError},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

pub use chain::Chain;
pub use context::{RemoteTrace, carry, current_trace_id, in_trace, inject, inject_headers};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What to log and where to send traces.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// `service.name` of exported traces.
    pub service_name: String,
    /// Level or filter directives, as in `info` or `info,h2=debug`.
    pub filter: String,
    /// How log lines look.
    pub format: LogFormat,
    /// OTLP gRPC endpoint such as `http://127.0.0.1:4317`, or `https://` trusting the system's roots; `None` exports
    /// nothing.
    pub otlp_endpoint: Option<String>,
    /// Share of traces started here that are exported, 0 to 1; a caller's decision is followed.
    pub sample_ratio: f64,
}

/// Why telemetry cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not a level and not directives.
    #[error("cannot read the log filter {filter:?}")]
    Filter {
        /// The filter as configured.
        filter: String,
        /// Where it is wrong.
        #[source]
        source: ParseError,
    },
    /// The exporter cannot be made.
    #[error("cannot export traces to {endpoint}")]
    Exporter {
        /// The endpoint as configured.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: ExporterBuildError,
    },
    /// The process has a tracing subscriber already.
    #[error("cannot install the log subscriber")]
    Installed(#[source] TryInitError),
}

/// Keeps the exporter; [`Telemetry::shutdown`] sends what it still holds.
#[derive(Debug)]
#[must_use = "traces not yet exported are lost unless shut down"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

static SPANS: AtomicBool = AtomicBool::new(false);

/// Whether request spans have a reader: an exporter, or debug logs.
pub fn spans_enabled() -> bool {
    SPANS.load(Ordering::Relaxed)
}

/// Whether `filter` is a level or directives.
///
/// # Errors
/// What it has to be instead.
pub fn check_filter(filter: &str) -> Result<(), String> {
    const EXPECTED: &str = "must be off, error, warn, info, debug or trace, or directives such as info,h2=debug";
    // A word alone would be the name of a target, and nothing but that target would be logged.
    if !filter.contains(['=', ',']) && filter.parse::<LevelFilter>().is_err() {
        return Err(EXPECTED.to_owned());
    }
    EnvFilter::try_new(filter).map(|_| ()).map_err(|error| format!("{EXPECTED}: {error}"))
}

/// Installs logs, traces and a panic hook for the process. Call inside the tokio runtime.
///
/// # Errors
/// The filter or the endpoint is wrong, or a subscriber is installed already.
pub fn install(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
    let debugging = filter.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG);
    let provider = config.otlp_endpoint.as_deref().map(|endpoint| exporter(config, endpoint)).transpose()?;
    // What is logged does not decide what is traced: quiet logs are no reason for a broken trace.
    let exporting = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("entrepot")).with_filter(LevelFilter::INFO)
    });
    let ansi = config.format == LogFormat::Text && std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .event_format(format::Lines::new(config.format, ansi))
        .with_filter(filter);
    tracing_subscriber::registry().with(exporting).with(logs).try_init().map_err(TelemetryError::Installed)?;
    SPANS.store(provider.is_some() || debugging, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.location = place, "panic: {message}");
    }));
    Ok(Telemetry { provider })
}

fn exporter(config: &TelemetryConfig, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source })?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio))))
        .with_resource(Resource::builder().with_service_name(config.service_name.clone()).build())
        .build())
}

impl Telemetry {
    /// Sends what the exporter still holds, for at most its own timeout of a few seconds.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(error = %Chain(&error), "some traces were not exported");
        }
    }
}
