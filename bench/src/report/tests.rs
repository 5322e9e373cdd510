use std::collections::BTreeMap;

use super::{Line, Report, Verdict, number, ratio};
use crate::measure::Sample;
use crate::procfs::Machine;
use crate::rounds::Samples;
use crate::scenario::{Floor, SCENARIOS, Scenario};
use crate::server::ServerKind::{Distribution, Nginx, Ours};
use crate::stats::Spread;

fn scenario(name: &str) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap()
}

fn samples(values: &[f64]) -> Vec<Option<Sample>> {
    let sample =
        |&value| Sample { value, rate: Some(1e6 / value), of_sha256: Some(0.5), foreign: None, more: BTreeMap::new() };
    values.iter().map(sample).map(Some).collect()
}

fn report<'a>(machine: &'a Machine, lines: Vec<Line<'a>>, errors: &'a [String]) -> Report<'a> {
    Report { machine, versions: BTreeMap::new(), rounds: 2, data_in_memory: true, neighbours: None, lines, errors }
}

#[test]
fn floors_are_inclusive_and_face_the_right_way() {
    let holds = |floor, measured| Verdict::new(floor, Some(measured)).holds;
    assert!(holds(Floor::TimesLessThanDistribution(8.0), 8.0));
    assert!(!holds(Floor::TimesLessThanDistribution(8.0), 7.99));
    assert!(holds(Floor::AtMost(3.0), 3.0));
    assert!(!holds(Floor::AtMost(3.0), 3.01));
    assert!(holds(Floor::OfSha256(0.75), 0.8));
    assert!(!holds(Floor::OfSha256(0.75), 0.7));
    assert!(!Verdict::new(Floor::AtMost(3.0), None).holds, "what was not measured does not hold");
}

#[test]
fn ratios_are_paired_by_round() {
    let all: Samples =
        [(Ours, samples(&[10.0, 20.0])), (Distribution, samples(&[100.0, 100.0])), (Nginx, samples(&[20.0, 20.0]))]
            .into();
    let line = Line::new(scenario("manifest-tag"), &all);
    let times = line.distribution_over_ours.unwrap();
    assert_eq!((times.min, times.median, times.max), (5.0, 7.5, 10.0));
    assert_eq!(line.ours_over_nginx.unwrap().median, 0.75);
    assert_eq!(
        line.verdicts,
        [Verdict { floor: Floor::TimesLessThanDistribution(8.0), measured: Some(7.5), holds: false }]
    );
}

#[test]
fn sha256_floor_is_judged_on_the_wall_rate() {
    let all: Samples = [(Ours, samples(&[1.0])), (Distribution, samples(&[2.0]))].into();
    let line = Line::new(scenario("push-512m"), &all);
    let held: Vec<_> = line.verdicts.iter().map(|verdict| (verdict.measured, verdict.holds)).collect();
    assert_eq!(held, [(Some(0.5), false), (Some(2.0), true)]);
}

#[test]
fn a_failed_measurement_fails_the_check() {
    let machine = Machine::read();
    let all: Samples = [(Ours, samples(&[2.0]))].into();
    let line = || vec![Line::new(scenario("tags-page"), &all)];
    assert!(report(&machine, line(), &[]).floors_hold());
    assert!(!report(&machine, line(), &["round 1: refused".to_owned()]).floors_hold());
}

#[test]
fn tables_show_medians_ratios_and_verdicts() {
    let machine = Machine::read();
    let all: Samples = [(Ours, samples(&[10.0, 10.0])), (Distribution, samples(&[100.0, 120.0]))].into();
    let text = report(&machine, vec![Line::new(scenario("manifest-tag"), &all)], &[]).to_string();
    assert!(text.contains("| us CPU/request | 10.0 | 110 | - | 11.0 (10.0-12.0) | - |"), "{text}");
    assert!(text.contains("PASS manifest-tag: 11.0 (>= 8x less than Distribution)"), "{text}");
    assert!(text.contains("| requests/s | 100000 |"), "{text}");
}

#[test]
fn numbers_keep_three_digits() {
    assert_eq!([0.1234, 1.234, 12.34, 123.4, 12345.6].map(number), ["0.123", "1.23", "12.3", "123", "12346"]);
    assert_eq!(ratio(None), "-");
    assert_eq!(ratio(Some(Spread { median: 2.0, min: 1.0, max: 4.0 })), "2.00 (1.00-4.00)");
}
