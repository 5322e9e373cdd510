//! Accounts.

use async_trait::async_trait;
use entrepot_sql::{Row, SqlError, Transaction, Tx, params};

use super::changes;
use crate::account::{Account, AccountKind, AccountName};

/// What a login is checked against.
pub(crate) struct StoredAccount {
    pub(crate) kind: AccountKind,
    /// See the schema.
    pub(crate) secret: String,
}

/// Finds an account with its secret.
pub(crate) struct FindAccount(pub(crate) AccountName);

#[async_trait]
impl Transaction for FindAccount {
    type Output = Option<StoredAccount>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, SqlError> {
        let sql = "SELECT kind, secret FROM auth_account WHERE name = $1";
        let row = tx.query_opt(sql, params![self.0.as_str()]).await?;
        row.map(|row| Ok(StoredAccount { kind: kind(&row)?, secret: row.get("secret")? })).transpose()
    }
}

/// Adds an account; answers whether the name was free.
pub(crate) struct AddAccount {
    pub(crate) name: AccountName,
    pub(crate) kind: AccountKind,
    pub(crate) secret: String,
}

#[async_trait]
impl Transaction for AddAccount {
    type Output = bool;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, SqlError> {
        let added = tx
            .execute(
                "INSERT INTO auth_account (name, kind, secret, created_at) VALUES ($1, $2, $3, {now})
                 ON CONFLICT (name) DO NOTHING",
                params![self.name.as_str(), self.kind.as_str(), &self.secret],
            )
            .await?;
        Ok(added == 1)
    }
}

/// Changes an account's secret and ends what was obtained with the old one; answers whether there is such an account.
pub(crate) struct SetSecret {
    pub(crate) name: AccountName,
    pub(crate) kind: AccountKind,
    pub(crate) secret: String,
}

#[async_trait]
impl Transaction for SetSecret {
    type Output = bool;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, SqlError> {
        let sql = "UPDATE auth_account SET secret = $3 WHERE name = $1 AND kind = $2";
        let changed = tx.execute(sql, params![self.name.as_str(), self.kind.as_str(), &self.secret]).await?;
        if changed == 1 {
            let sql = "DELETE FROM auth_refresh_token WHERE account = $1";
            tx.execute(sql, params![self.name.as_str()]).await?;
            changes::record(tx, &self.kind.principal(&self.name)).await?;
        }
        Ok(changed == 1)
    }
}

/// Removes an account with its grants and refresh tokens, so that a later account of that name starts with nothing;
/// answers whether there was one.
pub(crate) struct RemoveAccount(pub(crate) AccountName);

#[async_trait]
impl Transaction for RemoveAccount {
    type Output = bool;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, SqlError> {
        // First: whoever gives it a right at the moment holds it, and what was given meanwhile is found below.
        let removed = tx.execute("DELETE FROM auth_account WHERE name = $1", params![self.0.as_str()]).await?;
        if removed == 0 {
            return Ok(false);
        }
        let principals = [AccountKind::User, AccountKind::Robot].map(|kind| kind.principal(&self.0));
        for principal in &principals {
            tx.execute("DELETE FROM auth_grant WHERE subject = $1", params![&principal.to_string()]).await?;
        }
        for principal in &principals {
            changes::record(tx, principal).await?;
        }
        Ok(true)
    }
}

/// All accounts by name.
pub(crate) struct ListAccounts;

#[async_trait]
impl Transaction for ListAccounts {
    type Output = Vec<Account>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<Account>, SqlError> {
        let rows = tx.query("SELECT name, kind, created_at FROM auth_account ORDER BY name", &[]).await?;
        let account =
            |row: &Row| Ok(Account { name: name(row, "name")?, kind: kind(row)?, created_at: row.get("created_at")? });
        rows.iter().map(account).collect()
    }
}

fn kind(row: &Row) -> Result<AccountKind, SqlError> {
    let unknown = || SqlError::Column { column: "kind".into(), expected: "a kind of account" };
    AccountKind::from_stored(row.get("kind")?).ok_or_else(unknown)
}

/// A column with the name of an account.
pub(super) fn name(row: &Row, column: &'static str) -> Result<AccountName, SqlError> {
    let unknown = |_| SqlError::Column { column: column.into(), expected: "the name of an account" };
    row.get::<&str>(column)?.parse().map_err(unknown)
}
