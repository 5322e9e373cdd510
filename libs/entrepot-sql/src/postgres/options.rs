//! Where a PostgreSQL database is and how much of it may be used.

use std::time::Duration;

use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use super::hosts::{self, PostgresUrlError};

/// More than all statements of a service.
const STATEMENTS: usize = 256;

/// Where a PostgreSQL database is and how much of it may be used.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(super) hosts: Vec<PgConnectOptions>,
    pub(super) schema: String,
    pub(super) max_connections: u32,
    pub(super) connect_timeout: Duration,
    pub(super) acquire_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) migrate: bool,
}

impl PostgresOptions {
    /// Reads `postgres://user:password@host:5432,other:5432/database`: of several servers, the one that takes writes is
    /// used. Parameters are those of libpq that sqlx knows, above all `sslmode` and `sslrootcert`.
    ///
    /// # Errors
    /// What is wrong with the URL, without repeating it: it holds a password.
    pub fn parse(url: &str) -> Result<Self, PostgresUrlError> {
        let hosts = hosts::parse(url)?;
        let named = |options: PgConnectOptions| match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("entrepot"),
        };
        let prepared = |options| named(options).statement_cache_capacity(STATEMENTS).disable_statement_logging();
        Ok(Self {
            hosts: hosts.into_iter().map(prepared).collect(),
            schema: "public".to_owned(),
            max_connections: 16,
            connect_timeout: Duration::from_secs(3),
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            migrate: false,
        })
    }

    /// The schema that holds the owner's tables (`public`); made by the first migration.
    ///
    /// # Panics
    /// When the name is more than lower-case letters, digits and `_`: it is a constant of the program.
    #[must_use]
    pub fn schema(mut self, schema: &str) -> Self {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(!schema.is_empty() && schema.chars().all(plain), "{schema:?} is not the name of a schema");
        schema.clone_into(&mut self.schema);
        self
    }

    /// How many connections there may be at once (16).
    #[must_use]
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How long one server may take to accept a connection before the next is tried (3 s).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a caller waits for a connection, a server that takes writes being looked for meanwhile, before it is told
    /// [`SqlError::Unavailable`](crate::SqlError::Unavailable) (5 s).
    #[must_use]
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// How long a statement may run (10 s). Half of it may be spent waiting for one lock.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout.max(Duration::from_millis(2));
        self
    }

    /// Whether this process brings the schema up to date when it starts (no): with several processes that is for
    /// `entrepot migrate` to do, before any of them is replaced.
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }
}

impl std::fmt::Debug for PostgresOptions {
    /// Without passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(hosts::name).collect();
        f.debug_struct("PostgresOptions").field("hosts", &hosts).field("schema", &self.schema).finish_non_exhaustive()
    }
}
