//! The Prometheus recorder, one per process however many services run in it.
//!
//! Metrics are recorded with the `metrics` crate's macros; histograms named `…_seconds` and `…_bytes` have fixed
//! buckets, so that replicas can be added up.

use std::{
    fs,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ::metrics::{counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::sendfile;

/// From a cached manifest (0.1 ms) to a large layer over a slow line.
const SECONDS: [f64; 14] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];
/// From a configuration blob to a 4 GiB layer, in powers of 16 and 4.
const BYTES: [f64; 9] = [
    4096.0,
    65_536.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
static STARTED: OnceLock<SystemTime> = OnceLock::new();

/// Installs the recorder; later calls do nothing.
pub fn install() {
    HANDLE.get_or_init(|| {
        STARTED.get_or_init(SystemTime::now);
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES))
            .expect("the bucket lists are not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if ::metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics stays empty");
        }
        handle
    });
}

/// The Prometheus text of all metrics, with the process's own brought up to date; empty before [`install`].
pub fn render() -> String {
    let Some(handle) = HANDLE.get() else {
        return String::new();
    };
    process();
    handle.run_upkeep();
    handle.render()
}

/// Folds recorded histogram samples into their buckets; without it they pile up while nobody scrapes. Runs for ever.
pub async fn upkeep() {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        if let Some(handle) = HANDLE.get() {
            handle.run_upkeep();
        }
    }
}

/// Resident memory of this process in bytes, from `/proc`.
pub fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    u64::try_from(rustix::param::page_size()).ok().map(|size| pages * size)
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^53 bytes are enough")]
fn process() {
    if let Some(resident) = resident_bytes() {
        gauge!("process_resident_memory_bytes").set(resident as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge!("process_open_fds").set(open.count() as f64);
    }
    if let Some(seconds) = cpu_seconds() {
        gauge!("process_cpu_seconds_total").set(seconds);
    }
    if let Some(started) = STARTED.get() {
        let since_epoch = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("process_start_time_seconds").set(since_epoch.as_secs_f64());
        gauge!("process_uptime_seconds").set(started.elapsed().unwrap_or_default().as_secs_f64());
    }
    counter!("entrepot_sendfile_bytes_total").absolute(sendfile::bytes_sent());
}

/// User and system time; the fields follow the command name, which is in parentheses and may hold spaces.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^53 ticks are enough")]
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}
