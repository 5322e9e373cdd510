//! What is accepted is JSON to an ordinary parser too, and stays so when written again.
#![no_main]

use entrepot_core::strict_json;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    match strict_json::check(data) {
        Ok(()) => {
            let value: Value = serde_json::from_slice(data).unwrap();
            assert!(depth(&value) <= strict_json::MAX_DEPTH);
            assert!(strict_json::check(&serde_json::to_vec(&value).unwrap()).is_ok());
        }
        Err(error) => assert!(!error.reason().is_empty()),
    }
});

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
