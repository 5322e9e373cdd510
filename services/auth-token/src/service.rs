//! The token service.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use aws_lc_rs::constant_time;
use entrepot_core::{
    Action, Actions, Principal, Resource, Scope,
    ports::{
        AuthError, TokenService,
        auth::{Authorized, Credentials, IssuedToken, RightsChanges, TokenRequest},
    },
};
use entrepot_sql::{Database, SqlError};
use entrepot_token::{MAX_LIFETIME, MAX_SCOPES, SignError};

use crate::{
    account::{AccountKind, AccountName},
    catalog,
    config::{AuthConfig, Mode},
    keys::KeyRing,
    password::{Busy, Passwords},
    pattern::Pattern,
    schema::{MIGRATIONS, OWNER},
    secret::{NoRandomness, Purpose, Secret},
    store::{
        accounts::{FindAccount, StoredAccount},
        changes::{ListChanges, ReadGeneration},
        grants::{FindPullable, FindRights},
        refresh::{AddRefreshToken, UseRefreshToken},
    },
    throttle::Throttle,
};

/// The token service over its own tables. Clones share everything.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    config: AuthConfig,
    database: Database,
    keys: Arc<KeyRing>,
    passwords: Passwords,
    throttle: Throttle,
}

/// Who the caller is, and the refresh token it asked for.
struct Session {
    principal: Principal,
    refresh_token: Option<String>,
}

impl Auth {
    /// Starts the service. On SQLite, and where it was told to, brings the tables up to date first.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`] when the database does not answer.
    pub async fn open(database: Database, config: AuthConfig) -> Result<Self, AuthError> {
        database.prepare(OWNER, MIGRATIONS).await.map_err(unavailable)?;
        let keys = Arc::new(KeyRing::new(database.clone(), &config.service));
        let passwords = Passwords::new(config.concurrent_logins).map_err(no_randomness)?;
        Ok(Self(Arc::new(Inner { config, database, keys, passwords, throttle: Throttle::default() })))
    }

    fn check_request(&self, request: &TokenRequest) -> Result<(), AuthError> {
        let service = &self.0.config.service;
        if let Some(asked) = &request.service
            && asked != service
        {
            return Err(AuthError::InvalidRequest(format!("this registry issues tokens for service {service:?} only")));
        }
        if request.scopes.len() > MAX_SCOPES {
            return Err(AuthError::InvalidRequest(format!(
                "a token covers at most {MAX_SCOPES} scopes; ask for fewer"
            )));
        }
        Ok(())
    }

    async fn authenticate(&self, request: &TokenRequest) -> Result<Session, AuthError> {
        if self.0.config.mode == Mode::Open {
            return Ok(Session { principal: Principal::Anonymous, refresh_token: None });
        }
        match &request.credentials {
            Credentials::Anonymous => Ok(Session { principal: Principal::Anonymous, refresh_token: None }),
            Credentials::Password { name, password } => {
                let (account, stored) = self.log_in(name, password, request.peer).await?;
                let principal = stored.kind.principal(&account);
                // A robot's secret is as good as a refresh token, and ends when it is renewed.
                let remembered = request.offline && stored.kind == AccountKind::User;
                let refresh_token = if remembered {
                    let token = self.remember(&account, stored.secret).await?;
                    Some(token.ok_or(AuthError::InvalidCredentials)?)
                } else {
                    None
                };
                Ok(Session { principal, refresh_token })
            }
            Credentials::Refresh(token) => self.refresh(token, request).await,
        }
    }

    /// Checks a name and its secret. Which path is taken depends on what was presented, never on what is stored, so
    /// that the time taken does not tell which names exist. Only passwords are throttled: a generated secret cannot be
    /// guessed, and whoever shares an address with a guesser keeps working with one.
    async fn log_in(
        &self,
        name: &str,
        secret: &str,
        peer: Option<IpAddr>,
    ) -> Result<(AccountName, StoredAccount), AuthError> {
        if let Some(secret) = Secret::parse(Purpose::Robot, secret) {
            let robot = self.find(name, AccountKind::Robot).await?.filter(|(_, robot)| {
                constant_time::verify_slices_are_equal(secret.hash().as_bytes(), robot.secret.as_bytes()).is_ok()
            });
            return robot.ok_or(AuthError::InvalidCredentials);
        }
        let throttle = &self.0.throttle;
        throttle.check(name, peer, Instant::now()).map_err(|retry_after| AuthError::TooManyAttempts { retry_after })?;
        let user = self.find(name, AccountKind::User).await?;
        let stored = user.as_ref().map(|(_, user)| user.secret.as_str());
        let fits = self.0.passwords.verify(name, secret, stored).await.map_err(busy)?;
        let Some((name, user)) = user.filter(|_| fits) else {
            throttle.failed(name, peer, Instant::now());
            return Err(AuthError::InvalidCredentials);
        };
        throttle.succeeded(name.as_str(), peer, Instant::now());
        Ok((name, user))
    }

    async fn find(&self, name: &str, kind: AccountKind) -> Result<Option<(AccountName, StoredAccount)>, AuthError> {
        let Ok(name) = name.parse::<AccountName>() else { return Ok(None) };
        let stored = self.0.database.read_key(FindAccount(name.clone())).await.map_err(unavailable)?;
        Ok(stored.filter(|stored| stored.kind == kind).map(|stored| (name, stored)))
    }

    /// A refresh token for a login that was checked against this secret; none where that has been changed since.
    async fn remember(&self, account: &AccountName, secret: String) -> Result<Option<String>, AuthError> {
        let token = Secret::generate(Purpose::Refresh).map_err(no_randomness)?;
        let add = AddRefreshToken { account: account.to_string(), secret, hash: token.hash() };
        let added = self.0.database.write(add).await.map_err(unavailable)?;
        Ok(added.then(|| token.expose()))
    }

    async fn refresh(&self, token: &str, request: &TokenRequest) -> Result<Session, AuthError> {
        let token = Secret::parse(Purpose::Refresh, token).ok_or(AuthError::InvalidCredentials)?;
        let successor = request.offline.then(|| Secret::generate(Purpose::Refresh)).transpose();
        let successor = successor.map_err(no_randomness)?;
        let take = UseRefreshToken { hash: token.hash(), successor: successor.as_ref().map(Secret::hash) };
        match self.0.database.write(take).await.map_err(unavailable)? {
            Some(principal) => Ok(Session { principal, refresh_token: successor.map(Secret::expose) }),
            None => Err(AuthError::InvalidCredentials),
        }
    }

    /// Requested ∩ granted, each scope by itself. A scope of which nothing is granted stays, without actions: the
    /// registry then knows that asking again would change nothing. Beside a catalog without actions stands what its
    /// owner may see of it.
    async fn granted(&self, principal: &Principal, requested: &[Scope]) -> Result<Vec<Scope>, AuthError> {
        let covering: Vec<_> = requested.iter().map(|scope| Pattern::covering(&scope.resource)).collect();
        let rights = match self.0.config.mode {
            Mode::Open => HashMap::from([("*".to_owned(), Actions::ALL)]),
            Mode::Managed => self.rights(principal, &covering).await?,
        };
        let grant = |(scope, covering): (&Scope, &Vec<String>)| {
            let held = covering.iter().filter_map(|pattern| rights.get(pattern));
            let held = held.fold(Actions::NONE, |all, some| all.union(*some));
            let actions = match scope.resource {
                Resource::Catalog if held.contains(Action::Pull) => scope.actions,
                Resource::Catalog => Actions::NONE,
                Resource::Repository(_) | Resource::Tenant(_) => scope.actions.intersection(held),
            };
            Scope { resource: scope.resource.clone(), actions }
        };
        let mut granted: Vec<_> = requested.iter().zip(&covering).map(grant).collect();
        if granted.iter().any(|scope| scope.resource == Resource::Catalog && scope.actions.is_empty()) {
            let pullable = self.0.database.read(FindPullable(principal.clone())).await.map_err(unavailable)?;
            catalog::add_visible(&mut granted, &pullable);
        }
        Ok(granted)
    }

    /// Read before the account and its rights: a change that comes between is one that the token may not know.
    async fn generation(&self) -> Result<u64, AuthError> {
        match self.0.config.mode {
            Mode::Open => Ok(0),
            Mode::Managed => self.0.database.read_key(ReadGeneration).await.map_err(unavailable),
        }
    }

    async fn rights(
        &self,
        principal: &Principal,
        covering: &[Vec<String>],
    ) -> Result<HashMap<String, Actions>, AuthError> {
        let patterns: HashSet<String> = covering.iter().flatten().cloned().collect();
        if patterns.is_empty() {
            return Ok(HashMap::new());
        }
        let find = FindRights { principal: principal.clone(), patterns: patterns.into_iter().collect() };
        let mut rights = HashMap::new();
        for (pattern, actions) in self.0.database.read_key(find).await.map_err(unavailable)? {
            let held = rights.entry(pattern).or_insert(Actions::NONE);
            *held = held.union(actions);
        }
        Ok(rights)
    }
}

#[async_trait]
impl TokenService for Auth {
    async fn issue(&self, request: TokenRequest) -> Result<IssuedToken, AuthError> {
        self.check_request(&request)?;
        let generation = self.generation().await?;
        let session = self.authenticate(&request).await?;
        let granted = self.granted(&session.principal, &request.scopes).await?;
        let refused = refused(&request.scopes, &granted);
        let issued_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let lifetime = self.0.config.token_lifetime.as_secs().clamp(1, MAX_LIFETIME);
        let keys = self.0.keys.keys().await?;
        let token = keys.signer.sign(&session.principal, &granted, &refused, generation, issued_at, lifetime).map_err(
            |error| match error {
                SignError::TooLarge => {
                    AuthError::InvalidRequest("the scopes do not fit into one token; ask for fewer".into())
                }
                error => AuthError::Internal(error.into()),
            },
        )?;
        Ok(IssuedToken {
            token,
            expires_in: Duration::from_secs(lifetime),
            issued_at,
            refresh_token: session.refresh_token,
        })
    }

    async fn authorize(&self, request: TokenRequest) -> Result<Authorized, AuthError> {
        self.check_request(&request)?;
        let session = self.authenticate(&request).await?;
        let granted = self.granted(&session.principal, &request.scopes).await?;
        Ok(Authorized { principal: session.principal, granted })
    }

    async fn key_set(&self) -> Result<String, AuthError> {
        Ok(self.0.keys.keys().await?.published.to_string())
    }

    async fn changes(&self, after: u64) -> Result<RightsChanges, AuthError> {
        self.0.database.read(ListChanges(after)).await.map_err(unavailable)
    }
}

/// What was asked for and not granted beside something that was. The granted scopes begin with one for each requested.
fn refused(requested: &[Scope], granted: &[Scope]) -> Vec<Scope> {
    let missing = |(asked, given): (&Scope, &Scope)| {
        let actions = asked.actions.without(given.actions);
        let partly = !given.actions.is_empty() && !actions.is_empty();
        partly.then(|| Scope { resource: asked.resource.clone(), actions })
    };
    requested.iter().zip(granted).filter_map(missing).collect()
}

fn unavailable(error: SqlError) -> AuthError {
    match error {
        SqlError::Statement { .. } | SqlError::Column { .. } | SqlError::Body { .. } => {
            AuthError::Internal(error.into())
        }
        error => AuthError::Unavailable(error.into()),
    }
}

fn no_randomness(error: NoRandomness) -> AuthError {
    AuthError::Internal(error.into())
}

fn busy(_: Busy) -> AuthError {
    AuthError::TooManyAttempts { retry_after: Duration::from_secs(1) }
}
