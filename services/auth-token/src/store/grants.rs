//! Grants.

use async_trait::async_trait;
use entrepot_core::{Action, Actions, Principal};
use entrepot_sql::{Row, SqlError, Transaction, Tx, list, params};

use super::changes;
use crate::account::AccountKind;
use crate::pattern::Pattern;

/// A standing right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who has it; [`Principal::Anonymous`] stands for everybody.
    pub subject: Principal,
    /// On which repositories.
    pub pattern: Pattern,
    /// What may be done there.
    pub actions: Actions,
}

/// The rights that a principal has through any of these patterns, its own and everybody's.
pub(crate) struct FindRights {
    pub(crate) principal: Principal,
    pub(crate) patterns: Vec<String>,
}

#[async_trait]
impl Transaction for FindRights {
    type Output = Vec<(String, Actions)>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, SqlError> {
        let subjects = list([Principal::Anonymous.to_string(), self.principal.to_string()]);
        let rows = tx
            .query(
                "SELECT pattern, actions FROM auth_grant WHERE subject IN {list $1} AND pattern IN {list $2}",
                params![&subjects, &list(&self.patterns)],
            )
            .await?;
        rows.iter().map(|row| Ok((row.get("pattern")?, actions(row)?))).collect()
    }
}

/// The patterns of everything that a principal may pull, by its own grants and everybody's.
pub(crate) struct FindPullable(pub(crate) Principal);

#[async_trait]
impl Transaction for FindPullable {
    type Output = Vec<String>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Self::Output, SqlError> {
        let subjects = list([Principal::Anonymous.to_string(), self.0.to_string()]);
        let sql = "SELECT pattern, actions FROM auth_grant WHERE subject IN {list $1}";
        let mut patterns = Vec::new();
        for row in tx.query(sql, params![&subjects]).await? {
            if actions(&row)?.contains(Action::Pull) {
                patterns.push(row.get("pattern")?);
            }
        }
        Ok(patterns)
    }
}

/// Gives a right, in place of what was given for the same pattern before; answers whether there is who is to have it.
pub(crate) struct AddGrant(pub(crate) Grant);

#[async_trait]
impl Transaction for AddGrant {
    type Output = bool;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, SqlError> {
        let Grant { subject, pattern, actions } = &self.0;
        if !is_there(tx, subject).await? {
            return Ok(false);
        }
        let sql = "SELECT actions FROM auth_grant WHERE subject = $1 AND pattern = $2 {update}";
        let before = tx.query_opt(sql, params![&subject.to_string(), pattern.as_str()]).await?;
        if let Some(before) = before
            && self::actions(&before)? == *actions
        {
            // Given again by somebody who makes sure of it: nobody needs another token.
            return Ok(true);
        }
        tx.execute(
            "INSERT INTO auth_grant (subject, pattern, actions) VALUES ($1, $2, $3)
             ON CONFLICT (subject, pattern) DO UPDATE SET actions = excluded.actions",
            params![&subject.to_string(), pattern.as_str(), &actions.to_string()],
        )
        .await?;
        changes::record(tx, subject).await?;
        Ok(true)
    }
}

/// Holds the account behind a subject: its removal either is seen here or finds the grant and takes it along. A later
/// account of that name must not begin with it.
async fn is_there(tx: &mut dyn Tx, subject: &Principal) -> Result<bool, SqlError> {
    let (kind, name) = match subject {
        Principal::Anonymous => return Ok(true),
        Principal::User(name) => (AccountKind::User, name),
        Principal::Robot(name) => (AccountKind::Robot, name),
    };
    let sql = "SELECT 1 FROM auth_account WHERE name = $1 AND kind = $2 {share}";
    Ok(tx.query_opt(sql, params![name, kind.as_str()]).await?.is_some())
}

/// Takes a right away; answers whether it had been given.
pub(crate) struct RemoveGrant {
    pub(crate) subject: Principal,
    pub(crate) pattern: Pattern,
}

#[async_trait]
impl Transaction for RemoveGrant {
    type Output = bool;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<bool, SqlError> {
        let sql = "DELETE FROM auth_grant WHERE subject = $1 AND pattern = $2";
        let removed = tx.execute(sql, params![&self.subject.to_string(), self.pattern.as_str()]).await?;
        if removed == 1 {
            changes::record(tx, &self.subject).await?;
        }
        Ok(removed == 1)
    }
}

/// All grants, by subject.
pub(crate) struct ListGrants;

#[async_trait]
impl Transaction for ListGrants {
    type Output = Vec<Grant>;
    type Error = SqlError;

    async fn run(&self, tx: &mut dyn Tx) -> Result<Vec<Grant>, SqlError> {
        let sql = "SELECT subject, pattern, actions FROM auth_grant ORDER BY subject, pattern";
        tx.query(sql, &[]).await?.iter().map(grant).collect()
    }
}

fn grant(row: &Row) -> Result<Grant, SqlError> {
    let wrong = |column: &str, expected| SqlError::Column { column: column.into(), expected };
    let subject = row.get::<&str>("subject")?.parse().map_err(|_| wrong("subject", "a principal"))?;
    let pattern = row.get::<&str>("pattern")?.parse().map_err(|_| wrong("pattern", "a pattern"))?;
    Ok(Grant { subject, pattern, actions: actions(row)? })
}

fn actions(row: &Row) -> Result<Actions, SqlError> {
    Ok(Actions::from_names(row.get::<&str>("actions")?.split(',')))
}
