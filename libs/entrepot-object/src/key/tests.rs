use std::path::{Component, Path};

use proptest::prelude::*;

use super::*;

#[test]
fn ordinary_keys_round_trip() {
    for text in ["data/ab/0b0e", "a", "idx/sha256/00/a_b-c.d", &"x".repeat(MAX_LEN)] {
        assert_eq!(text.parse::<ObjectKey>().unwrap().as_str(), text);
    }
}

#[test]
fn hostile_keys_are_refused() {
    for text in [
        "",
        "/",
        "/etc/passwd",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../b",
        "a/./b",
        ".lock",
        ".uploads/x",
        "a/.b",
        "A",
        "a b",
        "a\0",
        "a\n",
        "a\\b",
        "a%2fb",
        "a+b",
        "a@1",
        "é",
        &"x".repeat(MAX_LEN + 1),
    ] {
        assert_eq!(text.parse::<ObjectKey>(), Err(KeyError), "{text:?}");
    }
}

proptest! {
    #[test]
    fn an_accepted_key_is_a_plain_relative_path(text in "[a-z./_A-Z-]{0,12}") {
        if let Ok(key) = text.parse::<ObjectKey>() {
            prop_assert!(Path::new(key.as_str()).components().all(|c| matches!(c, Component::Normal(_))));
        }
    }
}
