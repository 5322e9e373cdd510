//! The tables of auth-token.

use entrepot_sql::{Database, Migration, SqlError};

/// Whose tables they are, and the schema that holds them on PostgreSQL.
pub const OWNER: &str = "auth";

/// The schema, step by step.
pub fn migrations() -> &'static [Migration] {
    MIGRATIONS
}

/// Brings the schema up to date; answers how many steps that took.
///
/// # Errors
/// [`SqlError`] when the database does not answer or was written by a newer program.
pub async fn migrate(database: &Database) -> Result<usize, SqlError> {
    database.migrate(OWNER, MIGRATIONS).await
}

/// Every step from an empty database.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "accounts, grants, refresh tokens, signing keys",
        sql: "
        CREATE TABLE auth_account (
            name {text} NOT NULL PRIMARY KEY,
            kind {text} NOT NULL CHECK (kind IN ('user', 'robot')),
            -- argon2id in PHC form for people, SHA-256 in hexadecimal for robots
            secret {text} NOT NULL,
            created_at {int} NOT NULL
        ) {keyed};

        CREATE TABLE auth_grant (
            -- 'anonymous', 'user:NAME' or 'robot:NAME'
            subject {text} NOT NULL,
            pattern {text} NOT NULL,
            actions {text} NOT NULL,
            PRIMARY KEY (subject, pattern)
        ) {keyed};

        CREATE TABLE auth_refresh_token (
            hash {text} NOT NULL PRIMARY KEY,
            -- the token that a login gave and all that replaced it
            family {text} NOT NULL,
            account {text} NOT NULL REFERENCES auth_account (name) ON DELETE CASCADE,
            expires_at {int} NOT NULL,
            replaced_at {int}
        ) {keyed};
        CREATE INDEX auth_refresh_token_account ON auth_refresh_token (account, expires_at);
        CREATE INDEX auth_refresh_token_family ON auth_refresh_token (family);

        CREATE TABLE auth_signing_key (
            id {text} NOT NULL PRIMARY KEY,
            pkcs8 {bytes} NOT NULL,
            created_at {int} NOT NULL
        ) {keyed}
    ",
    },
    Migration {
        version: 2,
        name: "when refresh tokens were last used",
        sql: "
        ALTER TABLE auth_refresh_token ADD COLUMN used_at {int} NOT NULL DEFAULT 0;
        -- the day of the login: 90 days before the end
        UPDATE auth_refresh_token SET used_at = expires_at - 7776000000;
        CREATE INDEX auth_refresh_token_used ON auth_refresh_token (account, used_at)
    ",
    },
    Migration {
        version: 3,
        name: "changes of rights",
        sql: "
        -- One row. Each change locks it, as the last thing it does before its commit, so that generations are counted up
        -- in the order of commits.
        CREATE TABLE auth_generation (
            id {int} NOT NULL PRIMARY KEY CHECK (id = 1),
            generation {int} NOT NULL
        ) {keyed};
        INSERT INTO auth_generation (id, generation) VALUES (1, 0);

        -- the last change of each subject, as in auth_grant, forgotten when no older token can be valid any more
        CREATE TABLE auth_change (
            subject {text} NOT NULL PRIMARY KEY,
            generation {int} NOT NULL,
            changed_at {int} NOT NULL
        ) {keyed};
        CREATE INDEX auth_change_generation ON auth_change (generation)
        ",
    },
    Migration {
        version: 4,
        name: "one replica at a time changes the signing keys",
        sql: "
        -- its one row is held while the keys are read and changed
        CREATE TABLE auth_signing_turn (id {int} NOT NULL PRIMARY KEY) {strict};
        INSERT INTO auth_signing_turn (id) VALUES (1)
    ",
    },
];
