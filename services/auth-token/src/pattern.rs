//! Which repositories a grant is for.

use std::{fmt, str::FromStr};

use entrepot_core::{RepositoryName, Resource, TenantName};

/// One repository, everything below a prefix (`team/*`), or everything (`*`).
///
/// A pattern is only ever compared as a whole: a scope is turned into the few patterns that could cover it, and those
/// are looked up by key. No character of a name has a meaning to the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grant is for a repository (team/app), for all below a prefix (team/*) or for everything (*)")]
pub struct PatternError;

impl Pattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every pattern that covers this resource. The catalog shows all names, so only `*` covers it.
    pub(crate) fn covering(resource: &Resource) -> Vec<String> {
        let mut patterns = vec!["*".to_owned()];
        if let Resource::Tenant(tenant) = resource {
            patterns.push(format!("{tenant}/*"));
        }
        if let Resource::Repository(name) = resource {
            let name = name.as_str();
            patterns.push(name.to_owned());
            patterns.extend(name.match_indices('/').map(|(slash, _)| format!("{}/*", &name[..slash])));
            if !name.contains('/') {
                patterns.push(format!("{}/*", TenantName::LIBRARY));
            }
        }
        patterns
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_suffix("/*").unwrap_or(text);
        if text != "*" && name.parse::<RepositoryName>().is_err() {
            return Err(PatternError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
