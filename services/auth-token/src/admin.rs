//! What the command line does to accounts and grants.

use entrepot_core::{Actions, Principal};
use entrepot_sql::{Database, SqlError};

use crate::{
    account::{ANONYMOUS, Account, AccountKind, AccountName, AccountNameError},
    password,
    pattern::{Pattern, PatternError},
    schema::{MIGRATIONS, OWNER},
    secret::{NoRandomness, Purpose, Secret},
    store::{
        accounts::{AddAccount, FindAccount, ListAccounts, RemoveAccount, SetSecret},
        grants::{AddGrant, Grant, ListGrants, RemoveGrant},
    },
};

/// Adds, changes and removes accounts and grants.
#[derive(Clone)]
pub struct Admin {
    database: Database,
}

/// Why an account or grant was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The name is taken.
    #[error("there is an account called {0} already")]
    Exists(AccountName),
    /// No account of this name, or of another kind.
    #[error("there is no such account: {0}")]
    NoAccount(AccountName),
    /// No such grant.
    #[error("{subject} has no grant for {pattern}")]
    NoGrant {
        /// Whose grant.
        subject: String,
        /// For what.
        pattern: Pattern,
    },
    /// Not a name for an account.
    #[error(transparent)]
    Name(#[from] AccountNameError),
    /// Not a pattern of repositories.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A name among the actions that is none.
    #[error("{0:?} is not an action: use pull, push, delete or *")]
    Action(String),
    /// A password that is too short or too long.
    #[error("a password has {} to {} bytes", password::LENGTH.start(), password::LENGTH.end())]
    Password,
    /// The database does not answer.
    #[error("the accounts cannot be read or changed")]
    Database(#[from] SqlError),
    /// The system gave no randomness.
    #[error("a secret cannot be made")]
    Secret(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Admin {
    /// Works on a database. On SQLite, and where it was told to, brings the tables up to date first.
    ///
    /// # Errors
    /// When the database does not answer or its schema is not one this program knows.
    pub async fn open(database: Database) -> Result<Self, AdminError> {
        database.prepare(OWNER, MIGRATIONS).await?;
        Ok(Self { database })
    }

    /// Adds a person.
    ///
    /// # Errors
    /// [`AdminError::Exists`], or what is wrong with the name or the password.
    pub async fn add_user(&self, name: &str, password: &str) -> Result<(), AdminError> {
        let secret = hash(password).await?;
        self.add(name.parse()?, AccountKind::User, secret).await
    }

    /// Whether an account of this name may be added, if there is none, with this password if it is a person's.
    ///
    /// # Errors
    /// What is wrong with the name or the password.
    pub fn check_account(name: &str, password: Option<&str>) -> Result<(), AdminError> {
        name.parse::<AccountName>()?;
        password.map_or(Ok(()), check_password)
    }

    /// Whether there may be such a grant.
    ///
    /// # Errors
    /// What is wrong with the pattern or the actions.
    pub fn check_grant(pattern: &str, actions: &str) -> Result<(), AdminError> {
        pattern.parse::<Pattern>()?;
        parse(actions).map(drop)
    }

    /// Adds a robot; answers its secret, which is shown this once.
    ///
    /// # Errors
    /// [`AdminError::Exists`], or what is wrong with the name.
    pub async fn add_robot(&self, name: &str) -> Result<String, AdminError> {
        let secret = Secret::generate(Purpose::Robot)?;
        self.add(name.parse()?, AccountKind::Robot, secret.hash()).await?;
        Ok(secret.expose())
    }

    /// Changes a person's password and ends the sessions that the old one began.
    ///
    /// # Errors
    /// [`AdminError::NoAccount`], or what is wrong with the password.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), AdminError> {
        let secret = hash(password).await?;
        self.set_secret(name.parse()?, AccountKind::User, secret).await
    }

    /// Gives a robot a new secret in place of the old; answers it.
    ///
    /// # Errors
    /// [`AdminError::NoAccount`].
    pub async fn renew_robot(&self, name: &str) -> Result<String, AdminError> {
        let secret = Secret::generate(Purpose::Robot)?;
        self.set_secret(name.parse()?, AccountKind::Robot, secret.hash()).await?;
        Ok(secret.expose())
    }

    /// Removes an account with all its rights.
    ///
    /// # Errors
    /// [`AdminError::NoAccount`].
    pub async fn remove(&self, name: &str) -> Result<(), AdminError> {
        let name: AccountName = name.parse()?;
        let removed = self.database.write(RemoveAccount(name.clone())).await?;
        if removed { Ok(()) } else { Err(AdminError::NoAccount(name)) }
    }

    /// All accounts by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn accounts(&self) -> Result<Vec<Account>, AdminError> {
        Ok(self.database.read(ListAccounts).await?)
    }

    /// Lets an account, or everybody (`anonymous`), do these actions (`pull,push`, `*`) on what a pattern covers;
    /// replaces what was granted for the same pattern before.
    ///
    /// # Errors
    /// [`AdminError::NoAccount`], or what is wrong with the pattern or the actions.
    pub async fn grant(&self, name: &str, pattern: &str, actions: &str) -> Result<(), AdminError> {
        let grant = Grant { subject: self.subject(name).await?, pattern: pattern.parse()?, actions: parse(actions)? };
        let given = self.database.write(AddGrant(grant)).await?;
        // It was there a moment ago.
        if given { Ok(()) } else { Err(AdminError::NoAccount(name.parse()?)) }
    }

    /// Takes a grant away.
    ///
    /// # Errors
    /// [`AdminError::NoGrant`] when it was not given.
    pub async fn revoke(&self, name: &str, pattern: &str) -> Result<(), AdminError> {
        let (subject, pattern) = (self.subject(name).await?, pattern.parse::<Pattern>()?);
        let removed = self.database.write(RemoveGrant { subject, pattern: pattern.clone() }).await?;
        if removed { Ok(()) } else { Err(AdminError::NoGrant { subject: name.into(), pattern }) }
    }

    /// All grants.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn grants(&self) -> Result<Vec<Grant>, AdminError> {
        Ok(self.database.read(ListGrants).await?)
    }

    async fn add(&self, name: AccountName, kind: AccountKind, secret: String) -> Result<(), AdminError> {
        let added = self.database.write(AddAccount { name: name.clone(), kind, secret }).await?;
        if added { Ok(()) } else { Err(AdminError::Exists(name)) }
    }

    async fn set_secret(&self, name: AccountName, kind: AccountKind, secret: String) -> Result<(), AdminError> {
        let changed = self.database.write(SetSecret { name: name.clone(), kind, secret }).await?;
        if changed { Ok(()) } else { Err(AdminError::NoAccount(name)) }
    }

    async fn subject(&self, name: &str) -> Result<Principal, AdminError> {
        if name == ANONYMOUS {
            return Ok(Principal::Anonymous);
        }
        let name: AccountName = name.parse()?;
        match self.database.read(FindAccount(name.clone())).await? {
            Some(account) => Ok(account.kind.principal(&name)),
            None => Err(AdminError::NoAccount(name)),
        }
    }
}

impl From<NoRandomness> for AdminError {
    fn from(error: NoRandomness) -> Self {
        Self::Secret(error.into())
    }
}

/// Unlike in a scope, where clients ask for actions of other registries, a name that is none is an error here.
fn parse(actions: &str) -> Result<Actions, AdminError> {
    for name in actions.split(',') {
        if Actions::from_names(std::iter::once(name)).is_empty() {
            return Err(AdminError::Action(name.into()));
        }
    }
    Ok(Actions::from_names(actions.split(',')))
}

fn check_password(password: &str) -> Result<(), AdminError> {
    if password::LENGTH.contains(&password.len()) { Ok(()) } else { Err(AdminError::Password) }
}

async fn hash(password: &str) -> Result<String, AdminError> {
    check_password(password)?;
    let password = password.to_owned();
    let hashed = tokio::task::spawn_blocking(move || password::hash(&password)).await;
    Ok(hashed.map_err(|error| AdminError::Secret(error.into()))??)
}
