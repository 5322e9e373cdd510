use std::path::Path;

use super::*;

fn options(line: &str) -> Result<Options> {
    parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn a_filter_and_options_may_stand_in_any_order() {
    let expected =
        Options { filter: Some("clients::crane".into()), release: true, target: Some("distribution".into()) };
    for line in ["clients::crane --release --target distribution", "--target distribution clients::crane --release"] {
        assert_eq!(options(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (line, part) in [("--fast", "--fast"), ("--target zot", "zot"), ("a b", "\"b\"")] {
        let error = options(line).unwrap_err().to_string();
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn the_program_is_the_last_artifact_that_has_one() {
    let messages = r#"{"reason":"compiler-artifact","executable":"/t/build-script"}
{"reason":"compiler-artifact","executable":"/t/debug/entrepot"}
{"reason":"build-finished","success":true}"#;
    assert_eq!(executable(messages).as_deref(), Some(Path::new("/t/debug/entrepot")));
    assert_eq!(executable("not json"), None);
}
