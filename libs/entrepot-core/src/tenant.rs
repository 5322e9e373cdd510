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

    /// One component of a repository name.
    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        let name: RepositoryName = text.parse()?;
        if name.as_str().contains('/') { Err(RepositoryNameError::Malformed) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
