use std::{ffi::OsString, io::Write, net::SocketAddr, path::PathBuf, time::Duration};

use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn messages(result: Result<Reference, ConfigErrors>) -> Vec<String> {
    let errors = result.expect_err("the configuration is wrong");
    errors.errors().iter().map(|error| format!("{}: {}", error.key, error.message)).collect()
}

#[test]
fn layers_replace_each_other_in_order() {
    let file = file("[http]\nlisten = [\"127.0.0.1:1\"]\nidle = \"1s\"\nlimit = 7\n");
    let env = env(&[("ENTREPOT__HTTP__IDLE", "2s"), ("ENTREPOT__HTTP__LIMIT", "8"), ("PATH", "/bin")]);
    let mut source = Source::load(Some(file.path()), env).unwrap();
    source.set("http.limit", "9");
    let mut reader = Reader::new(&source);
    let listen = reader.list::<SocketAddr>("http.listen", vec![], "");
    let idle = reader.field("http.idle", Duration::ZERO, "");
    let limit = reader.field("http.limit", 0_u32, "");
    reader.finish().unwrap();
    assert_eq!(listen, ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(idle, Duration::from_secs(2));
    assert_eq!(limit, 9);
}

#[test]
fn every_mistake_is_reported_at_once_and_names_its_key() {
    let file = file("[http]\nlisten = \"foo\"\nidle = 5\nlisen = \"x\"\n[log]\nformat = \"xml\"\n");
    let source = Source::load(Some(file.path()), env(&[("ENTREPOT__HTTP__TLS", "maybe")])).unwrap();
    let mut reader = Reader::new(&source);
    reader.list::<SocketAddr>("http.listen", vec![], "");
    reader.field("http.idle", Duration::ZERO, "");
    reader.field("http.tls", false, "");
    reader.choice("log.format", 1, &[("json", 0), ("text", 1)], "");
    assert_eq!(
        messages(reader.finish()),
        [
            "http.listen: \"foo\" is not an address like 127.0.0.1:5000 or [::]:5000",
            "http.idle: 5 is not a duration like 500ms, 30s, 10m, 1h30m or 7d",
            "http.tls: \"maybe\" is not true or false",
            "log.format: \"xml\" is not one of json, text",
            "http.lisen: is not a known key; did you mean http.listen?",
        ]
    );
}

#[test]
fn an_error_says_where_the_value_came_from() {
    let source = Source::load(None, env(&[("ENTREPOT__HTTP__LISTEN", "foo")])).unwrap();
    let mut reader = Reader::new(&source);
    reader.optional::<SocketAddr>("http.listen", "");
    let text = reader.finish().unwrap_err().to_string();
    assert!(text.ends_with("(from ENTREPOT__HTTP__LISTEN)"), "{text}");
}

#[test]
fn variables_that_match_no_key_are_mistakes() {
    let source = Source::load(None, env(&[("ENTREPOT__ZZZ__QQQ", "1")])).unwrap();
    assert_eq!(messages(Reader::new(&source).finish()), ["zzz.qqq: is not a known key"]);
    let errors = Source::load(None, env(&[("ENTREPOT__HTTP____LISTEN", "1")])).unwrap_err();
    assert_eq!(errors.errors()[0].key, "ENTREPOT__HTTP____LISTEN");
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_named() {
    let errors = Source::load(Some("/nonexistent/entrepot.toml".as_ref()), []).unwrap_err();
    assert!(errors.to_string().contains("/nonexistent/entrepot.toml: cannot be read"), "{errors}");
    let file = file("a = [");
    let errors = Source::load(Some(file.path()), []).unwrap_err();
    assert!(errors.to_string().contains("is not valid TOML"), "{errors}");
}

#[test]
fn secrets_come_directly_or_from_a_file_and_never_show() {
    let secret_file = file("from-file\n");
    let path = secret_file.path().to_str().unwrap();
    let variables = env(&[
        ("ENTREPOT__A__KEY", "direct"),
        ("ENTREPOT__B__KEY_FILE", path),
        ("ENTREPOT__C__KEY_FILE", "/nonexistent"),
    ]);
    let source = Source::load(None, variables).unwrap();
    let mut reader = Reader::new(&source);
    let a = reader.secret("a.key", "").unwrap();
    let b = reader.secret("b.key", "").unwrap();
    assert!(reader.secret("c.key", "").is_none());
    assert!(reader.secret("d.key", "").is_none());
    assert_eq!((a.expose(), b.expose()), ("direct", "from-file"));
    assert_eq!(format!("{a:?}"), "***");
    let wrong = messages(reader.finish());
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].starts_with("c.key_file: /nonexistent cannot be read"), "{wrong:?}");
}

#[test]
fn a_secret_given_twice_is_refused() {
    let source = Source::load(None, env(&[("ENTREPOT__A__KEY", "x"), ("ENTREPOT__A__KEY_FILE", "/y")])).unwrap();
    let mut reader = Reader::new(&source);
    assert!(reader.secret("a.key", "").is_none());
    assert_eq!(messages(reader.finish()), ["a.key_file: and a.key are both given; give only one of them"]);
}

#[test]
fn text_forms_of_durations_and_sizes() {
    for (text, seconds) in [("30s", 30), ("10m", 600), ("1h30m", 5400), ("7d", 604_800), ("0s", 0)] {
        assert_eq!(Duration::parse(text), Some(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(Duration::parse("500ms"), Some(Duration::from_millis(500)));
    for text in ["", "30", "s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
        assert_eq!(Duration::parse(text), None, "{text}");
    }
    for (text, bytes) in [("4MiB", 4 << 20), ("10 MB", 10_000_000), ("512", 512), ("3KiB", 3072)] {
        assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
    }
    for text in ["", "MiB", "4mib", "99999999TiB"] {
        assert_eq!(ByteSize::parse(text), None, "{text}");
    }
    for duration in [0, 1, 60, 5400, 7200, 86400].map(Duration::from_secs) {
        assert_eq!(Duration::parse(&duration.render()), Some(duration));
    }
    assert_eq!(ByteSize::mib(4).render(), "4MiB");
}

#[test]
fn urls_need_a_scheme_and_a_host() {
    assert!(http::Uri::parse("http://127.0.0.1:4317").is_some());
    assert!(http::Uri::parse("127.0.0.1:4317").is_none());
    assert!(http::Uri::parse("ftp://host").is_none());
}

#[test]
fn the_reference_lists_each_key_by_section() {
    let source = Source::default();
    let mut reader = Reader::new(&source);
    reader.field("data_dir", PathBuf::from("./data"), "Where data is kept.");
    reader.field("http.idle", Duration::from_secs(75), "Idle time.");
    reader.secret("http.key", "Signs.");
    let reference = reader.finish().unwrap();
    assert_eq!(reference.fields()[1].variable(), "ENTREPOT__HTTP__IDLE");
    assert_eq!(
        reference.to_markdown(),
        "## Top level\n\n| key | type | default | meaning |\n|---|---|---|---|\n\
         | `data_dir` | path | `./data` | Where data is kept. |\n\n\
         ## `[http]`\n\n| key | type | default | meaning |\n|---|---|---|---|\n\
         | `http.idle` | duration | `75s` | Idle time. |\n\
         | `http.key` | secret | none | Signs. |\n\
         | `http.key_file` | path | none | File that holds `http.key`. |\n"
    );
}
