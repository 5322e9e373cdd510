//! Token scopes (Distribution, "Docker Registry Token Scope and Access").

use std::fmt;
use std::str::FromStr;

use crate::repository::RepositoryName;
use crate::tenant::TenantName;

/// One right on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Upload blobs, put manifests, move tags.
    Push,
    /// Delete tags, manifests and blobs. Never implied by push.
    Delete,
}

impl Action {
    const ALL: [(Self, &'static str); 3] = [(Self::Pull, "pull"), (Self::Push, "push"), (Self::Delete, "delete")];

    /// The action as written in a scope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// A set of actions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// No action.
    pub const NONE: Self = Self(0);
    /// Every action; what `*` asks for.
    pub const ALL: Self = Self(0b111);

    /// True when `action` is in the set.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }

    /// The set with `action` added.
    #[must_use]
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | 1 << action as u8)
    }

    /// What both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either set holds.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What this set holds and the other does not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True when the set holds nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().map(|(action, _)| action).filter(move |action| self.contains(*action))
    }

    /// Reads names such as `pull,push`; `*` is all, names this registry does not know are ignored
    /// (clients ask for actions of other registries too).
    pub fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        names.fold(Self::NONE, |set, name| match name {
            "*" => Self::ALL,
            _ => Action::ALL.iter().find(|(_, known)| *known == name).map_or(set, |(action, _)| set.with(*action)),
        })
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, action) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a scope is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `repository:<name>`
    Repository(RepositoryName),
    /// `repository:<tenant>/*`: every repository of a tenant.
    Tenant(TenantName),
    /// `registry:catalog`: the list of repositories, filtered by what the caller may pull.
    Catalog,
}

impl Resource {
    /// True when a right on this resource is one on `other`.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tenant(tenant), Self::Repository(name)) => *tenant == name.tenant(),
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(name) => write!(f, "repository:{name}"),
            Self::Tenant(tenant) => write!(f, "repository:{tenant}/*"),
            Self::Catalog => f.write_str("registry:catalog"),
        }
    }
}

/// `resource:actions`, asked for by a client or granted by a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// What it is about.
    pub resource: Resource,
    /// What may be done.
    pub actions: Actions,
}

/// Why a text is not a scope this registry knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a scope of the form repository:NAME:ACTION[,ACTION] or registry:catalog:*")]
pub struct ScopeError;

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (kind, rest) = text.split_once(':').ok_or(ScopeError)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(ScopeError)?;
        // `repository(plugin):…` names a class; the class changes nothing here.
        let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
        let resource = match kind {
            "repository" => match name.strip_suffix("/*") {
                Some(tenant) => Resource::Tenant(tenant.parse().map_err(|_| ScopeError)?),
                None => Resource::Repository(name.parse().map_err(|_| ScopeError)?),
            },
            "registry" if name == "catalog" => Resource::Catalog,
            _ => return Err(ScopeError),
        };
        Ok(Self { resource, actions: Actions::from_names(actions.split(',')) })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resource {
            Resource::Catalog => f.write_str("registry:catalog:*"),
            Resource::Repository(_) | Resource::Tenant(_) => write!(f, "{}:{}", self.resource, self.actions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_clients_send() {
        let push: Scope = "repository:team/app:pull,push".parse().unwrap();
        assert!(push.actions.contains(Action::Pull) && push.actions.contains(Action::Push));
        assert!(!push.actions.contains(Action::Delete));
        assert_eq!("repository:a/b:*".parse::<Scope>().unwrap().actions, Actions::ALL);
        assert_eq!("repository(plugin):a/b:pull".parse::<Scope>().unwrap().to_string(), "repository:a/b:pull");
        assert_eq!("registry:catalog:*".parse::<Scope>().unwrap().resource, Resource::Catalog);
        let tenant: Scope = "repository:team/*:pull".parse().unwrap();
        assert_eq!(tenant.to_string(), "repository:team/*:pull");
        assert!(tenant.resource.covers(&push.resource) && !push.resource.covers(&tenant.resource));
        assert!(!tenant.resource.covers(&"repository:other/app:pull".parse::<Scope>().unwrap().resource));
        assert_eq!("repository:a:fly,pull".parse::<Scope>().unwrap().to_string(), "repository:a:pull");
        for bad in [
            "",
            "repository",
            "repository:a",
            "repository:a/b/*:pull",
            "repository:*:pull",
            "repository:/*:pull",
            "repository:A:pull",
            "registry:other:*",
            "x:y:z",
        ] {
            assert_eq!(bad.parse::<Scope>(), Err(ScopeError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,100}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
            }
        }
    }
}
