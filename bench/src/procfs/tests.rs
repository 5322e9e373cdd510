use super::{CpuMeter, ProcessStat, cpu_seconds, parse_busy, parse_stat, tree};

#[test]
fn stat_of_a_command_with_spaces_and_parentheses() {
    let line = "42 (nginx: (w) 1) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
    assert_eq!(parse_stat(line), Some(ProcessStat { parent: 7, ticks: 127 }));
    assert_eq!(parse_stat("42 (short) S 7"), None);
}

#[test]
fn tree_contains_grandchildren_and_no_strangers() {
    let stat = |parent| ProcessStat { parent, ticks: 0 };
    let all = [(10, stat(1)), (11, stat(10)), (12, stat(11)), (13, stat(1))].into();
    assert_eq!(tree(10, &all), [10, 11, 12]);
}

#[test]
fn busy_time_leaves_out_idle_iowait_and_guest() {
    assert_eq!(parse_busy("cpu  1 2 4 1000 1000 8 16 32 1000 1000\ncpu0 1\n"), Some(63));
    assert_eq!(parse_busy("intr 1"), None);
}

#[test]
fn meter_sees_the_work_of_the_measured_process() {
    let me = std::process::id();
    let meter = CpuMeter::start(me).unwrap();
    let before = cpu_seconds(me).unwrap();
    while cpu_seconds(me).unwrap() - before < 0.05 {}
    let used = meter.stop().unwrap();
    assert!(used.server >= 0.05 && used.wall > 0.0, "{used:?}");
}

#[test]
fn a_process_that_has_ended_is_an_error() {
    assert!(cpu_seconds(u32::MAX).is_err());
}
