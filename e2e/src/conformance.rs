//! The OCI conformance suite, run as its authors intend and counted exactly.

use std::path::Path;

use anyhow::{Context, Result};

use crate::environment;
use crate::registry::Registry;

/// Where the suite keeps the results that are read here.
const RESULTS: &str = "junit.xml";

/// What one run of the suite came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Checks that passed.
    pub passed: u32,
    /// Checks that failed.
    pub failed: u32,
    /// Faults of the suite itself.
    pub errors: u32,
    /// Checks that were not made, each with its name and the suite's reason.
    pub skipped: Vec<(String, String)>,
    /// Names of the failed checks with what the suite said.
    pub failures: Vec<(String, String)>,
}

/// Runs the suite for one version of the specification (`1.1` or `dev`), with every optional API on.
///
/// # Errors
/// When the suite does not start or leaves no results.
pub fn run(registry: &Registry, version: &str, folder: &Path) -> Result<Outcome> {
    let mut command = environment::command("conformance")?;
    command
        .current_dir(folder)
        .env("OCI_REGISTRY", registry.authority())
        .env("OCI_TLS", "disabled")
        .env("OCI_VERSION", version)
        .env("OCI_RESULTS_DIR", folder)
        .env("OCI_API_BLOBS_DIGEST_HEADER", "true")
        .env("OCI_API_MANIFESTS_DIGEST_HEADER", "true")
        .env("OCI_API_MANIFESTS_TAG_PARAM", "true")
        .env("OCI_API_BLOBS_UPLOAD_CANCEL", "true");
    if let Some(credentials) = registry.credentials() {
        command.env("OCI_USERNAME", &credentials.user).env("OCI_PASSWORD", &credentials.password);
    }
    // Its exit code only repeats what the results say.
    let output = command.output().context("starting the conformance suite")?;
    let results = std::fs::read_to_string(folder.join(RESULTS)).with_context(|| {
        format!("the conformance suite left no results: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    parse(&results).context("the conformance suite's results have another shape")
}

/// Reads the suite's results file (junit.xml). Its totals count more than its test cases do, so both are read.
fn parse(junit: &str) -> Option<Outcome> {
    let suite = junit.split_once("<testsuite ")?.1.split_once('>')?.0;
    let total = |name: &str| attribute(suite, name)?.parse::<u32>().ok();
    let (tests, failed, errors) = (total("tests")?, total("failures")?, total("errors")?);
    // The suite leaves the attribute out when there is nothing to count.
    let mut outcome = Outcome {
        passed: tests - failed - errors - total("skipped").unwrap_or(0),
        failed,
        errors,
        skipped: Vec::new(),
        failures: Vec::new(),
    };
    for case in junit.split("<testcase ").skip(1) {
        let (head, rest) = case.split_once('>')?;
        let entry = || -> Option<(String, String)> { Some((attribute(head, "name")?.to_owned(), said(rest))) };
        match attribute(head, "status")? {
            "skipped" => outcome.skipped.push(entry()?),
            "failure" | "error" => outcome.failures.push(entry()?),
            _ => {}
        }
    }
    Some(outcome)
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag
        .split_once(&format!(" {name}=\""))
        .or_else(|| tag.strip_prefix(&format!("{name}=\"")).map(|rest| ("", rest)))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// The text of `<system-out>`, its entities resolved.
fn said(case: &str) -> String {
    let text = case
        .split_once("<system-out>")
        .and_then(|(_, rest)| rest.split_once("</system-out>"))
        .map_or("", |(text, _)| text);
    [("&#34;", "\""), ("&#39;", "'"), ("&#xA;", "\n"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

#[cfg(test)]
mod tests;
