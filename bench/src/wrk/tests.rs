use super::{Load, parse};

const OUTPUT: &str = "\
Running 1s test @ http://127.0.0.1:5000/v2/
  1 threads and 4 connections
Requests/sec:  30000.00

{\"requests\":30000,\"bytes\":90000000,\"micros\":1000123,\"p50\":120,\"p99\":410,\"failed\":2}
";

#[test]
fn counts_come_from_the_last_line() {
    let counts = parse(OUTPUT).unwrap();
    assert_eq!((counts.requests, counts.micros, counts.failed), (30_000.0, 1_000_123.0, 2.0));
}

#[test]
fn output_without_counts_is_refused() {
    assert_eq!(parse("unable to connect"), None);
    assert_eq!(parse("{\"requests\":1}"), None);
}

#[test]
fn ranges_end_inside_the_content() {
    let load = Load { path: "/", accept: "*/*", ranges_of: Some(200_000) };
    assert!(load.script().contains("math.random(0, 134464)"), "{}", load.script());
    let whole = Load { ranges_of: None, ..load };
    assert!(!whole.script().contains("Range"));
}
