use super::*;

const JUNIT: &str = r#"<testsuites time="8.7" tests="9" failures="2" skipped="1">
  <testsuite name="OCI Conformance Test" tests="9" failures="2" errors="0" skipped="1" time="8.7">
    <properties><property name="Config" value="a: &#34;&#34;"></property></properties>
    <testcase name="T/ping" classname="" time="0.0" status="passed">
      <system-err>GET &lt;x&gt;</system-err>
    </testcase>
    <testcase name="T/mount" classname="" time="0.0" status="skipped">
      <system-out>fell back &amp; &#34;pushed&#34;</system-out>
    </testcase>
    <testcase name="T/get" classname="" time="0.0" status="failure">
      <system-out>404</system-out>
    </testcase>
  </testsuite>
</testsuites>"#;

#[test]
fn totals_come_from_the_suite_and_reasons_from_the_cases() {
    let entry = |name: &str, said: &str| (name.to_owned(), said.to_owned());
    assert_eq!(
        parse(JUNIT),
        Some(Outcome {
            passed: 6,
            failed: 2,
            errors: 0,
            skipped: vec![entry("T/mount", r#"fell back & "pushed""#)],
            failures: vec![entry("T/get", "404")],
        })
    );
}

#[test]
fn nothing_skipped_is_not_written_and_means_none() {
    let junit =
        r#"<testsuites tests="2"><testsuite name="T" tests="2" failures="0" errors="0"></testsuite></testsuites>"#;
    let outcome = parse(junit).unwrap();
    assert_eq!((outcome.passed, outcome.skipped.len()), (2, 0));
}

#[test]
fn a_file_without_totals_is_not_an_empty_success() {
    assert_eq!(parse("<testsuites></testsuites>"), None);
}
