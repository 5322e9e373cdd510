//! Accounts: people and robots share one set of names.

use std::{fmt, str::FromStr};

use entrepot_core::Principal;

/// Who grants are for that everybody has. No account has this name.
pub const ANONYMOUS: &str = "anonymous";

/// The name of an account: 1 to 128 letters, digits and `._@+-`, starting with a letter or digit.
///
/// `anonymous` is nobody's name, and no name holds a colon (RFC 7617 ends the user name there).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

/// Why a text is not the name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account name is 1 to 128 letters, digits or any of ._@+-, starts with a letter or digit, and is not `anonymous`"
)]
pub struct AccountNameError;

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = AccountNameError;

    fn from_str(text: &str) -> Result<Self, AccountNameError> {
        let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte));
        let start = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !letters || !start || text.len() > 128 || text == ANONYMOUS {
            return Err(AccountNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an account stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// A person with a password.
    User,
    /// A program with a generated secret.
    Robot,
}

impl AccountKind {
    /// The kind as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Robot => "robot",
        }
    }

    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        [Self::User, Self::Robot].into_iter().find(|kind| kind.as_str() == text)
    }

    /// The principal that an account of this kind acts as.
    pub fn principal(self, name: &AccountName) -> Principal {
        match self {
            Self::User => Principal::User(name.0.clone()),
            Self::Robot => Principal::Robot(name.0.clone()),
        }
    }
}

/// An account as listed: never with its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// What it stands for.
    pub kind: AccountKind,
    /// When it was added, in milliseconds since 1970.
    pub created_at: i64,
}
