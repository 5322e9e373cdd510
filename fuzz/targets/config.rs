//! Any environment is either a configuration or a list of mistakes that name their keys.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use entrepot_runtime::config::{ByteSize, Reader, Source};
use libfuzzer_sys::fuzz_target;

const KEYS: [&str; 7] = ["text", "flag", "number", "time", "size", "listen", "format"];

// Lines of NAME=VALUE.
fuzz_target!(|text: &str| {
    let variables = text.lines().map(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (format!("ENTREPOT__{name}").into(), value.into())
    });
    let Ok(mut source) = Source::load(None, variables) else { return };
    for key in KEYS {
        source.set(&format!("set.{key}"), text);
    }
    let mut reader = Reader::new(&source);
    for section in ["set", "a", "http"] {
        let key = |name: &str| format!("{section}.{name}");
        reader.field(&key("text"), String::new(), "");
        reader.field(&key("flag"), false, "");
        reader.field(&key("number"), 0u64, "");
        let _: Option<Duration> = reader.optional(&key("time"), "");
        let _: Option<ByteSize> = reader.optional(&key("size"), "");
        reader.list::<SocketAddr>(&key("listen"), Vec::new(), "");
        reader.choice(&key("format"), 1, &[("one", 1), ("two", 2)], "");
    }
    match reader.finish() {
        Ok(reference) => assert!(!reference.to_markdown().is_empty()),
        Err(errors) => assert!(errors.errors().iter().all(|error| !error.key.is_empty() && !error.message.is_empty())),
    }
});
