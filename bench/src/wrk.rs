//! Closed-loop GETs by wrk.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// Kept-alive connections of the load, enough to keep a server with two cores busy.
const CONNECTIONS: usize = 4;
/// Bytes of one ranged read.
pub(crate) const RANGE_BYTES: usize = 64 << 10;

/// One line of JSON after the usual output: `bytes` as read from the sockets.
const REPORT: &str = r#"
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\n{"requests":%.0f,"bytes":%.0f,"micros":%.0f,"p50":%.0f,"p99":%.0f,"failed":%.0f}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"#;

/// What wrk counted.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Counts {
    /// Answers received whole.
    pub(crate) requests: f64,
    /// Bytes read, those of unfinished answers too.
    pub(crate) bytes: f64,
    /// Wall time.
    pub(crate) micros: f64,
    /// Latency in microseconds.
    pub(crate) p50: f64,
    /// Latency in microseconds.
    pub(crate) p99: f64,
    /// Connections that broke, answers that were late or no success.
    pub(crate) failed: f64,
}

/// A load on one path.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) path: &'a str,
    /// `Accept` header.
    pub(crate) accept: &'a str,
    /// Where set, each request reads [`RANGE_BYTES`] at a random place of a content of this size.
    pub(crate) ranges_of: Option<usize>,
}

impl Load<'_> {
    fn script(&self) -> String {
        let Some(size) = self.ranges_of else { return REPORT.to_owned() };
        let last = size.saturating_sub(RANGE_BYTES);
        let span = RANGE_BYTES - 1;
        format!(
            "math.randomseed(42)\nrequest = function()\n  local from = math.random(0, {last})\n  \
             return wrk.format('GET', nil, {{['Range'] = string.format('bytes=%d-%d', from, from + {span})}})\nend\n{REPORT}"
        )
    }

    /// Loads the server for `time`, keeping the script in `folder`.
    ///
    /// # Errors
    /// When wrk fails or any answer was not a success.
    pub(crate) fn run(
        &self,
        wrk: &mut Command,
        server: SocketAddr,
        time: Duration,
        folder: &Path,
    ) -> anyhow::Result<Counts> {
        let script = folder.join("load.lua");
        std::fs::write(&script, self.script()).context("cannot write wrk's script")?;
        let output = wrk
            .args(["-t1", "--timeout", "60s", "-c", &CONNECTIONS.to_string(), "-d", &format!("{}s", time.as_secs())])
            .arg("-s")
            .arg(&script)
            .args(["-H", &format!("Accept: {}", self.accept), &format!("http://{server}{}", self.path)])
            .output()
            .context("cannot run wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        let counts = parse(&text).with_context(|| format!("wrk printed something else: {text}"))?;
        ensure!(counts.failed == 0.0, "{} of {} requests failed", counts.failed, counts.requests);
        ensure!(counts.requests > 0.0, "no request was answered in {time:?}");
        Ok(counts)
    }
}

fn parse(output: &str) -> Option<Counts> {
    let line = output.lines().rev().find(|line| line.starts_with('{'))?;
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests;
