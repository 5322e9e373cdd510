//! The payload of a token (Docker token specification, "Getting a bearer token").

use entrepot_core::{Actions, Resource, Scope};
use serde::{Deserialize, Serialize};

/// Unknown claims are let through, so that a newer signer can add some; known ones are required, but for `gen`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Always the service name, as is `aud`: the registry issues tokens for itself only.
    pub(crate) iss: String,
    /// The principal in its text form; `anonymous` for nobody.
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
    /// Generation of rights. Zero, which says the least, where a signer did not write it yet.
    #[serde(rename = "gen", default)]
    pub(crate) generation: u64,
    pub(crate) access: Vec<Access>,
    /// What was asked for and not granted, of resources of which something was. Ours alone, and left out where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<Access>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Access {
    pub(crate) fn of(scope: &Scope) -> Self {
        let (kind, name) = match &scope.resource {
            Resource::Repository(name) => ("repository", name.to_string()),
            Resource::Tenant(tenant) => ("repository", format!("{tenant}/*")),
            Resource::Catalog => {
                // Listing has no actions to choose from: `*` is all of it, none is what the other scopes let see.
                let all = (!scope.actions.is_empty()).then(|| "*".to_owned());
                return Self { kind: "registry".into(), name: "catalog".into(), actions: all.into_iter().collect() };
            }
        };
        let actions = scope.actions.iter().map(|action| action.as_str().to_owned()).collect();
        Self { kind: kind.into(), name, actions }
    }

    /// The scope, or `None` where it is of a kind this version does not know: that grants nothing.
    pub(crate) fn scope(&self) -> Option<Scope> {
        let resource = match self.kind.as_str() {
            "repository" => match self.name.strip_suffix("/*") {
                Some(tenant) => Resource::Tenant(tenant.parse().ok()?),
                None => Resource::Repository(self.name.parse().ok()?),
            },
            "registry" if self.name == "catalog" => Resource::Catalog,
            _ => return None,
        };
        Some(Scope { resource, actions: Actions::from_names(self.actions.iter().map(String::as_str)) })
    }
}
