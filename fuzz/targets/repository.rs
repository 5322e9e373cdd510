//! A repository name is safe in a path and a URL, and belongs to one tenant.
#![no_main]

use entrepot_core::RepositoryName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(name) = text.parse::<RepositoryName>() else { return };
    assert_eq!(name.as_str(), text);
    assert!(text.len() <= RepositoryName::MAX_LEN);
    assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte)));
    for component in text.split('/') {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        assert!(edge(component.as_bytes().first()) && edge(component.as_bytes().last()));
        assert!(!component.contains("..") && !component.contains("___"));
        assert!(component.parse::<RepositoryName>().is_ok(), "each component is a name too");
    }
    let tenant = name.tenant();
    let own = text.strip_prefix(tenant.as_str()).is_some_and(|rest| rest.starts_with('/'));
    assert!(own || (tenant.as_str() == "library" && !text.contains('/')));
});
