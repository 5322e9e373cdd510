use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use entrepot_core::ports::auth::{Authorized, Credentials, IssuedToken, RightsChange, RightsChanges, TokenRequest};
use entrepot_core::{Action, Principal, Resource, Scope};

use super::{WireError, convert_all, millis, parse, required};
use crate::pb::auth::v1 as pb;
use crate::pb::auth::v1::credentials::{Anonymous, Kind, Password};
use crate::pb::auth::v1::list_changes_response::{Change, change::Subject};
use crate::pb::auth::v1::scope::{Catalog, Resource as WireResource};

impl From<Credentials> for pb::Credentials {
    fn from(credentials: Credentials) -> Self {
        let kind = match credentials {
            Credentials::Anonymous => Kind::Anonymous(Anonymous {}),
            Credentials::Password { name, password } => Kind::Password(Password { name, password }),
            Credentials::Refresh(token) => Kind::Refresh(token),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Credentials> for Credentials {
    type Error = WireError;

    fn try_from(credentials: pb::Credentials) -> Result<Self, WireError> {
        match credentials.kind {
            Some(Kind::Anonymous(Anonymous {})) => Ok(Self::Anonymous),
            Some(Kind::Password(Password { name, password })) => Ok(Self::Password { name, password }),
            Some(Kind::Refresh(token)) => Ok(Self::Refresh(token)),
            None => Err(WireError("credentials")),
        }
    }
}

impl From<Scope> for pb::Scope {
    fn from(scope: Scope) -> Self {
        let resource = match scope.resource {
            Resource::Repository(name) => WireResource::Repository(name.to_string()),
            Resource::Tenant(tenant) => WireResource::Tenant(tenant.to_string()),
            Resource::Catalog => WireResource::Catalog(Catalog {}),
        };
        let actions = scope.actions.iter().map(|action| pb::Action::from(action).into()).collect();
        Self { resource: Some(resource), actions }
    }
}

impl TryFrom<pb::Scope> for Scope {
    type Error = WireError;

    fn try_from(scope: pb::Scope) -> Result<Self, WireError> {
        let resource = match scope.resource.ok_or(WireError("scope.resource"))? {
            WireResource::Repository(name) => Resource::Repository(parse(&name, "scope.repository")?),
            WireResource::Tenant(tenant) => Resource::Tenant(parse(&tenant, "scope.tenant")?),
            WireResource::Catalog(Catalog {}) => Resource::Catalog,
        };
        // An action of a newer peer is a right this version cannot give.
        let actions = scope.actions.into_iter().filter_map(action).collect();
        Ok(Self { resource, actions })
    }
}

impl From<Action> for pb::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Pull => Self::Pull,
            Action::Push => Self::Push,
            Action::Delete => Self::Delete,
        }
    }
}

fn action(number: i32) -> Option<Action> {
    match pb::Action::try_from(number).ok()? {
        pb::Action::Pull => Some(Action::Pull),
        pb::Action::Push => Some(Action::Push),
        pb::Action::Delete => Some(Action::Delete),
        pb::Action::Unspecified => None,
    }
}

impl From<TokenRequest> for pb::TokenRequest {
    fn from(request: TokenRequest) -> Self {
        let TokenRequest { credentials, service, scopes, offline, peer } = request;
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
            IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
        };
        Self {
            credentials: Some(credentials.into()),
            service,
            scopes: scopes.into_iter().map(Into::into).collect(),
            offline,
            peer: peer.map(octets),
        }
    }
}

impl TryFrom<pb::TokenRequest> for TokenRequest {
    type Error = WireError;

    fn try_from(request: pb::TokenRequest) -> Result<Self, WireError> {
        Ok(Self {
            credentials: required(request.credentials, "credentials")?,
            service: request.service,
            scopes: convert_all(request.scopes)?,
            offline: request.offline,
            peer: request.peer.as_deref().map(address).transpose()?,
        })
    }
}

fn address(octets: &[u8]) -> Result<IpAddr, WireError> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6).map_err(|_| WireError("peer"))
}

impl From<IssuedToken> for pb::IssueResponse {
    fn from(token: IssuedToken) -> Self {
        Self {
            token: token.token,
            expires_in_millis: millis(token.expires_in),
            issued_at: token.issued_at,
            refresh_token: token.refresh_token,
        }
    }
}

impl From<pb::IssueResponse> for IssuedToken {
    fn from(response: pb::IssueResponse) -> Self {
        Self {
            token: response.token,
            expires_in: Duration::from_millis(response.expires_in_millis),
            issued_at: response.issued_at,
            refresh_token: response.refresh_token,
        }
    }
}

impl From<Authorized> for pb::AuthorizeResponse {
    fn from(authorized: Authorized) -> Self {
        Self {
            principal: Some(authorized.principal.into()),
            granted: authorized.granted.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::AuthorizeResponse> for Authorized {
    type Error = WireError;

    fn try_from(response: pb::AuthorizeResponse) -> Result<Self, WireError> {
        Ok(Self { principal: required(response.principal, "principal")?, granted: convert_all(response.granted)? })
    }
}

impl From<RightsChanges> for pb::ListChangesResponse {
    fn from(changes: RightsChanges) -> Self {
        let change = |change: RightsChange| Change {
            subject: Some(Subject::Principal(change.subject.into())),
            generation: change.generation,
        };
        Self { changes: changes.changes.into_iter().map(change).collect(), cursor: changes.cursor, more: changes.more }
    }
}

impl From<pb::ListChangesResponse> for RightsChanges {
    fn from(response: pb::ListChangesResponse) -> Self {
        // A subject of a newer peer may be anybody: everybody asks again, and nobody keeps a right that is gone.
        let subject = |subject: Option<Subject>| match subject {
            Some(Subject::Principal(principal)) => Principal::try_from(principal).unwrap_or(Principal::Anonymous),
            None => Principal::Anonymous,
        };
        let change = |change: Change| RightsChange { subject: subject(change.subject), generation: change.generation };
        Self {
            changes: response.changes.into_iter().map(change).collect(),
            cursor: response.cursor,
            more: response.more,
        }
    }
}
