//! The result: medians, paired ratios and verdicts, as Markdown for people and JSON for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::cli::Folders;
use crate::measure::Sample;
use crate::procfs::Machine;
use crate::rounds::{Outcome, Plan, Samples};
use crate::scenario::{Floor, Scenario};
use crate::server::ServerKind;
use crate::stats::Spread;
use crate::tools::Tools;

/// Everything that a run has to say.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    machine: &'a Machine,
    versions: BTreeMap<&'static str, String>,
    rounds: usize,
    /// Whether the servers' data lay in memory, so that no disk took part.
    data_in_memory: bool,
    /// Share of the machine that other programs used.
    neighbours: Option<Spread>,
    lines: Vec<Line<'a>>,
    errors: &'a [String],
}

/// One scenario.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    rate_unit: &'static str,
    values: BTreeMap<ServerKind, Spread>,
    rates: BTreeMap<ServerKind, Spread>,
    of_sha256: BTreeMap<ServerKind, Spread>,
    /// How many times less ours takes than Distribution.
    distribution_over_ours: Option<Spread>,
    /// How much of nginx's figure ours takes.
    ours_over_nginx: Option<Spread>,
    verdicts: Vec<Verdict>,
    samples: &'a Samples,
}

/// A floor and what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Verdict {
    floor: Floor,
    measured: Option<f64>,
    holds: bool,
}

impl Verdict {
    fn new(floor: Floor, measured: Option<f64>) -> Self {
        let holds = measured.is_some_and(|measured| match floor {
            Floor::TimesLessThanDistribution(limit) | Floor::OfSha256(limit) => measured >= limit,
            Floor::AtMost(limit) => measured <= limit,
        });
        Self { floor, measured, holds }
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(plan: &Plan, tools: &Tools, outcome: &'a Outcome, folders: &Folders) -> Self {
        let lines: Vec<_> = plan
            .scenarios
            .iter()
            .zip(&outcome.samples)
            .map(|(scenario, samples)| Line::new(scenario, samples))
            .collect();
        let foreign: Vec<f64> = outcome
            .samples
            .iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .filter_map(|sample| sample.as_ref()?.foreign)
            .collect();
        let programs =
            [("wrk", Some(&tools.wrk)), ("nginx", tools.nginx.as_ref()), ("distribution", tools.distribution.as_ref())];
        let versions = programs.into_iter().filter_map(|(name, program)| Some((name, program?.version.clone())));
        Self {
            machine: &outcome.machine,
            versions: versions.chain([("entrepot", env!("CARGO_PKG_VERSION").to_owned())]).collect(),
            rounds: plan.rounds,
            data_in_memory: folders.reads.starts_with("/dev/shm"),
            neighbours: Spread::of(&foreign),
            lines,
            errors: &outcome.errors,
        }
    }

    /// Whether everything was measured and every floor holds.
    pub(crate) fn floors_hold(&self) -> bool {
        self.errors.is_empty() && self.lines.iter().flat_map(|line| &line.verdicts).all(|verdict| verdict.holds)
    }
}

impl<'a> Line<'a> {
    fn new(scenario: &Scenario, samples: &'a Samples) -> Self {
        let all = |kind, figure: fn(&Sample) -> Option<f64>| -> Vec<Option<f64>> {
            let of_kind = samples.get(&kind).map(Vec::as_slice).unwrap_or_default();
            of_kind.iter().map(|sample| sample.as_ref().and_then(figure)).collect()
        };
        let spreads = |figure: fn(&Sample) -> Option<f64>| -> BTreeMap<ServerKind, Spread> {
            let values = samples.keys().map(|&kind| (kind, all(kind, figure)));
            values
                .filter_map(|(kind, values)| {
                    Some((kind, Spread::of(&values.into_iter().flatten().collect::<Vec<_>>())?))
                })
                .collect()
        };
        let value = |kind| all(kind, |sample| Some(sample.value));
        let (ours, distribution, nginx) =
            (value(ServerKind::Ours), value(ServerKind::Distribution), value(ServerKind::Nginx));
        let distribution_over_ours = Spread::of_ratios(&distribution, &ours);
        let values = spreads(|sample| Some(sample.value));
        let of_sha256 = spreads(|sample| sample.of_sha256);
        let ours_of = |figures: &BTreeMap<ServerKind, Spread>| Some(figures.get(&ServerKind::Ours)?.median);
        let verdicts = scenario.floors.iter().map(|&floor| {
            let measured = match floor {
                Floor::TimesLessThanDistribution(_) => distribution_over_ours.map(|ratio| ratio.median),
                Floor::AtMost(_) => ours_of(&values),
                Floor::OfSha256(_) => ours_of(&of_sha256),
            };
            Verdict::new(floor, measured)
        });
        Self {
            name: scenario.name,
            title: scenario.title,
            unit: scenario.unit,
            rate_unit: scenario.rate_unit,
            rates: spreads(|sample| sample.rate),
            distribution_over_ours,
            ours_over_nginx: Spread::of_ratios(&ours, &nginx),
            verdicts: verdicts.collect(),
            values,
            of_sha256,
            samples,
        }
    }

    fn columns(figures: &BTreeMap<ServerKind, Spread>) -> String {
        let kinds = [ServerKind::Ours, ServerKind::Distribution, ServerKind::Nginx];
        kinds.map(|kind| figures.get(&kind).map_or_else(|| "-".to_owned(), |spread| number(spread.median))).join(" | ")
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| scenario | unit | ours | Distribution | nginx | Distribution / ours | ours / nginx |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for line in &self.lines {
            let ratios = [line.distribution_over_ours, line.ours_over_nginx].map(ratio).join(" | ");
            writeln!(f, "| {} | {} | {} | {ratios} |", line.title, line.unit, Line::columns(&line.values))?;
        }
        writeln!(f, "\n| wall time | unit | ours | Distribution | nginx |\n|---|---|---|---|---|")?;
        for line in self.lines.iter().filter(|line| !line.rates.is_empty()) {
            writeln!(f, "| {} | {} | {} |", line.title, line.rate_unit, Line::columns(&line.rates))?;
            if !line.of_sha256.is_empty() {
                writeln!(f, "| {} | of one-core SHA-256 | {} |", line.title, Line::columns(&line.of_sha256))?;
            }
        }
        writeln!(f)?;
        for line in &self.lines {
            for verdict in &line.verdicts {
                let word = if verdict.holds { "PASS" } else { "FAIL" };
                let measured = verdict.measured.map_or_else(|| "not measured".to_owned(), number);
                writeln!(f, "{word} {}: {measured} ({})", line.name, verdict.floor)?;
            }
        }
        for error in self.errors {
            writeln!(f, "FAIL {error}")?;
        }
        if let Some(share) = self.neighbours {
            let (median, max) = (share.median * 100.0, share.max * 100.0);
            writeln!(f, "Other programs used {median:.0} % of the machine (at most {max:.0} %).")?;
        }
        Ok(())
    }
}

/// Three significant digits.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// Median with minimum and maximum of the rounds.
fn ratio(spread: Option<Spread>) -> String {
    let show = |spread: Spread| format!("{} ({}-{})", number(spread.median), number(spread.min), number(spread.max));
    spread.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests;
