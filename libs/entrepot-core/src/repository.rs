//! Repository names (OCI Distribution Specification, "Pulling manifests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::tenant::TenantName;

/// A repository name such as `team/app` or `team/sub/app`.
///
/// Grammar: components of `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by `/`, at most
/// [`RepositoryName::MAX_LEN`] bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// Why a text is not a repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryNameError {
    /// Nothing at all.
    #[error("the repository name is empty")]
    Empty,
    /// Over 255 bytes.
    #[error("the repository name is longer than 255 characters")]
    TooLong,
    /// A component that breaks the grammar.
    #[error(
        "a repository name is made of components of lower-case letters and digits, \
         separated inside by '.', '_', '__' or dashes, and joined by '/'"
    )]
    Malformed,
}

impl RepositoryName {
    /// Longest name accepted: the specification asks clients to keep host and name within 255.
    pub const MAX_LEN: usize = 255;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tenant: the first component, or `library` for a name of one component.
    pub fn tenant(&self) -> TenantName {
        let tenant = match self.0.split_once('/') {
            Some((first, _)) => first,
            None => TenantName::LIBRARY,
        };
        TenantName(tenant.to_owned())
    }
}

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        if text.is_empty() {
            return Err(RepositoryNameError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(RepositoryNameError::TooLong);
        }
        if text.split('/').all(|component| is_component(component.as_bytes())) {
            Ok(Self(text.into()))
        } else {
            Err(RepositoryNameError::Malformed)
        }
    }
}

fn is_component(bytes: &[u8]) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    bytes
        .split(alphanumeric)
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_the_grammar_of_the_specification() {
        for name in ["a", "alpine", "team/app", "a.b_c__d---e/0/x", "0a/b1/c2/d3"] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
        assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
    }

    #[test]
    fn refuses_what_the_grammar_does_not_make() {
        for name in [
            "/a", "a/", "a//b", "A", "a/B", ".a", "a.", "-a", "a-", "a..b", "a___b", "a._b", "a-_b", "..", "a/../b",
            "a b", "a%2fb", "a\0", "ä", "a:b", "a@b",
        ] {
            assert_eq!(name.parse::<RepositoryName>(), Err(RepositoryNameError::Malformed), "{name}");
        }
        assert_eq!("".parse::<RepositoryName>(), Err(RepositoryNameError::Empty));
        assert_eq!("a".repeat(256).parse::<RepositoryName>(), Err(RepositoryNameError::TooLong));
    }

    #[test]
    fn the_tenant_is_the_first_component_or_library() {
        for (name, tenant) in [("team/a/b", "team"), ("alpine", "library"), ("library/alpine", "library")] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().tenant().as_str(), tenant);
        }
    }

    proptest! {
        #[test]
        fn what_the_grammar_makes_is_accepted(name in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,4}") {
            prop_assert!(name.parse::<RepositoryName>().is_ok());
        }

        #[test]
        fn never_panics(name in "\\PC{0,300}") {
            let _ = name.parse::<RepositoryName>();
        }
    }
}
