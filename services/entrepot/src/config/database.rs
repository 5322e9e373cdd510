//! Section `database`.

use std::time::Duration;

use entrepot_runtime::config::Reader;
use entrepot_sql::PostgresOptions;

/// Where metadata and accounts are kept.
#[derive(Clone, Debug)]
pub struct Database {
    /// PostgreSQL; without it, SQLite in the data directory.
    pub postgres: Option<PostgresOptions>,
}

impl Database {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let url = reader.secret(
            "database.url",
            "PostgreSQL 15 or later for metadata and accounts: postgres://USER:PASSWORD@HOST:5432,OTHER:5432/NAME?sslmode=verify-full; \
             of several hosts the one that takes writes is used. Without it both are in SQLite files in storage.data_dir.",
        );
        let connections: u32 = reader.field(
            "database.max_connections",
            16,
            "Connections to PostgreSQL that the requests of one service use at most; `entrepot serve` has twice as many. Up to \
             two more ask whether the server is there.",
        );
        let connect_timeout: Duration = reader.field(
            "database.connect_timeout",
            Duration::from_secs(3),
            "How long one host of database.url may take to accept a connection before the next is tried.",
        );
        let acquire_timeout: Duration = reader.field(
            "database.acquire_timeout",
            Duration::from_secs(5),
            "How long a request waits for a connection, and in a failover for a server, before it is answered 503.",
        );
        let statement_timeout: Duration = reader.field(
            "database.statement_timeout",
            Duration::from_secs(10),
            "How long a statement may run on PostgreSQL; half of it may be spent waiting for a lock.",
        );
        let migrate: bool = reader.field(
            "database.migrate",
            false,
            "Let this service bring its schema in PostgreSQL up to date when it starts, instead of `entrepot migrate` before it.",
        );
        if connections == 0 {
            reader.reject("database.max_connections", "must be 1 or more");
        }
        if statement_timeout < Duration::from_millis(100) {
            reader.reject("database.statement_timeout", "must be 100ms or more");
        }
        let postgres = url.and_then(|url| match PostgresOptions::parse(url.expose()) {
            Ok(options) => Some(options),
            Err(error) => {
                let key = if reader.is_set("database.url_file") { "database.url_file" } else { "database.url" };
                reader.reject(key, error.to_string());
                None
            }
        });
        let postgres = postgres.map(|options| {
            options
                .max_connections(connections)
                .connect_timeout(connect_timeout)
                .acquire_timeout(acquire_timeout)
                .statement_timeout(statement_timeout)
                .migrate(migrate)
        });
        Self { postgres }
    }
}
