//! A pattern of a grant and the name of an account are kept as written, and hold nothing with a meaning elsewhere.
#![no_main]

use auth_token::{AccountKind, AccountName, Pattern};
use entrepot_core::{Principal, RepositoryName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let repository = text.parse::<RepositoryName>().is_ok();
    match text.parse::<Pattern>() {
        Ok(pattern) => {
            assert_eq!((pattern.as_str(), pattern.to_string().as_str()), (text, text));
            let prefix = text.strip_suffix("/*").is_some_and(|prefix| prefix.parse::<RepositoryName>().is_ok());
            assert!(text == "*" || prefix || repository);
            assert!(!text.contains(['%', '\'', '"', '\\', ' ']));
        }
        Err(_) => assert!(!repository && text != "*"),
    }
    let Ok(name) = text.parse::<AccountName>() else { return };
    assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
    assert!((1..=128).contains(&text.len()) && !text.contains([':', ' ', '/']));
    for kind in [AccountKind::User, AccountKind::Robot] {
        let principal = kind.principal(&name);
        assert_ne!(principal, Principal::Anonymous);
        assert_eq!(principal.to_string().parse(), Ok(principal));
    }
});
