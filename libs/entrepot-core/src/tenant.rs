//! Tenants: the first component of a repository name.

use std::fmt;
use std::str::FromStr;

use crate::repository::{RepositoryName, RepositoryNameError};

/// The tenant a repository belongs to. Made by [`crate::RepositoryName::tenant`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(pub(crate) String);

impl TenantName {
    /// The tenant of one-component names such as `alpine`.
    pub const LIBRARY: &'static str = "library";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = RepositoryNameError;

    /// One component of a repository name, short enough to have a repository below it.
    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        if text.is_empty() {
            return Err(RepositoryNameError::Empty);
        }
        // The shortest repository a tenant can own proves the name: a right on a tenant that no
        // repository can belong to would be a right on nothing.
        let _: RepositoryName = format!("{text}/a").parse()?;
        if text.contains('/') { Err(RepositoryNameError::Malformed) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_can_own_a_repository() {
        let longest = "a".repeat(RepositoryName::MAX_LEN - 2);
        let tenant: TenantName = longest.parse().unwrap();
        assert_eq!(format!("{tenant}/a").parse::<RepositoryName>().unwrap().tenant(), tenant);
        assert_eq!(format!("{longest}a").parse::<TenantName>(), Err(RepositoryNameError::TooLong));
    }

    #[test]
    fn a_tenant_is_one_component() {
        for bad in ["a/b", "/", "a/", "/a", "A", "a."] {
            assert_eq!(bad.parse::<TenantName>(), Err(RepositoryNameError::Malformed), "{bad}");
        }
        assert_eq!("".parse::<TenantName>(), Err(RepositoryNameError::Empty));
    }
}
