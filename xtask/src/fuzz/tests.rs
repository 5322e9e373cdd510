use super::*;

#[test]
fn the_summary_takes_the_last_coverage_and_the_final_statistics() {
    let log = "#2\tINITED cov: 3 ft: 3 corp: 1/1b\n#4096\tpulse  cov: 17 ft: 20 corp: 2/2b\n\
               stat::number_of_executed_units: 8192\nstat::peak_rss_mb:              41\n";
    assert_eq!(summary(log).as_deref(), Some("8192 runs, coverage 17, peak 41 MB"));
}

#[test]
fn without_statistics_there_is_no_summary() {
    assert_eq!(summary("INFO: seed corpus"), None);
}
