//! Refresh tokens.
//!
//! docker keeps the token of its login for as long as it is logged in and never looks at a newer one, so a token
//! stays good when it is used. A client that asks for a new one (`access_type=offline`) gets it in place of the old.
//! When a replaced token comes back, two parties hold tokens of one login: all of them end.

use async_trait::async_trait;
use entrepot_core::Principal;
use entrepot_sql::{SqlError, Transaction, Tx, params};

use super::accounts;
use crate::account::AccountKind;

/// How long a token is good, in milliseconds: 90 days.
const LIFETIME: i64 = 90 * 24 * 60 * 60 * 1000;

/// How long a replaced token may still come, from requests already under way, in milliseconds.
const OVERLAP: i64 = 60 * 1000;

/// How many tokens an account keeps; those not used for longest go first. An account may be shared by a fleet of
/// machines with a login each, so this bounds the table rather than the logins.
const KEPT: i64 = 4096;

/// How exactly the last use is known, in milliseconds, so that a busy token is not written at every use.
const USE_STEP: i64 = 10 * 60 * 1000;

/// Keeps a token that a login gave, unless the account's secret has changed since it was checked; answers whether it did.
pub(crate) struct AddRefreshToken {
    pub(crate) account: String,
    /// What the login was checked against.
    pub(crate) secret: String,
    pub(crate) hash: String,
}

#[async_trait]
impl Transaction for AddRefreshToken {
    type Output = bool;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, SqlError> {
        // Held: a change of the secret either is seen here or finds the token and ends it.
        let sql = "SELECT 1 FROM auth_account WHERE name = $1 AND secret = $2 {share}";
        if tx.query_opt(sql, params![&self.account, &self.secret]).await?.is_none() {
            return Ok(false);
        }
        insert(tx, &self.hash, &self.hash, &self.account).await?;
        Ok(true)
    }
}

/// Finds whose token this is, and replaces it where a successor is given. Answers `None` where it is not good.
pub(crate) struct UseRefreshToken {
    pub(crate) hash: String,
    pub(crate) successor: Option<String>,
}

#[async_trait]
impl Transaction for UseRefreshToken {
    type Output = Option<Principal>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Option<Principal>, SqlError> {
        let row = tx
            .query_opt(
                "SELECT a.name, a.kind, t.family, t.replaced_at, {now} AS now
                 FROM auth_refresh_token t JOIN auth_account a ON a.name = t.account
                 WHERE t.hash = $1 AND t.expires_at > {now} {update t}",
                params![&self.hash],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let family: String = row.get("family")?;
        let replaced_at: Option<i64> = row.get("replaced_at")?;
        let now: i64 = row.get("now")?;
        if replaced_at.is_some_and(|at| now > at + OVERLAP) {
            tx.execute("DELETE FROM auth_refresh_token WHERE family = $1", params![&family]).await?;
            return Ok(None);
        }
        let name = accounts::name(&row, "name")?;
        let sql = "UPDATE auth_refresh_token SET used_at = {now} WHERE hash = $1 AND used_at < {now} - $2";
        tx.execute(sql, params![&self.hash, USE_STEP]).await?;
        if let Some(successor) = &self.successor {
            insert(tx, successor, &family, name.as_str()).await?;
            let sql = "UPDATE auth_refresh_token SET replaced_at = {now} WHERE hash = $1 AND replaced_at IS NULL";
            tx.execute(sql, params![&self.hash]).await?;
        }
        Ok(AccountKind::from_stored(row.get("kind")?).map(|kind| kind.principal(&name)))
    }
}

/// Keeps a token, and of the account's others those that are good and fit beside it.
async fn insert(tx: &mut dyn Tx, hash: &str, family: &str, account: &str) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO auth_refresh_token (hash, family, account, expires_at, used_at)
         VALUES ($1, $2, $3, {now} + $4, {now})",
        params![hash, family, account, LIFETIME],
    )
    .await?;
    let sql = "DELETE FROM auth_refresh_token WHERE account = $1 AND expires_at <= {now}";
    tx.execute(sql, params![account]).await?;
    // One comes, so one goes; the limit is what SQLite's grammar wants before an offset.
    tx.execute(
        "DELETE FROM auth_refresh_token WHERE hash IN (
             SELECT hash FROM auth_refresh_token WHERE account = $1 ORDER BY used_at DESC LIMIT 1000 OFFSET $2)",
        params![account, KEPT],
    )
    .await?;
    Ok(())
}
