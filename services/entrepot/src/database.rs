//! Which engine holds metadata and accounts, and bringing its schemas up to date.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use entrepot_sql::{Database, Migration, SqliteOptions};
use manifest_index::Options;

use crate::config::Config;

/// File of the accounts in the data directory.
const ACCOUNTS: &str = "auth.db";

/// The database of metadata, and what the index may keep in memory of it.
pub(crate) fn open_registry(config: &Config) -> anyhow::Result<(Database, Options)> {
    if let Some(postgres) = &config.database.postgres {
        // Other processes write too.
        return Ok((postgres.clone().schema(manifest_index::SCHEMA).open(), Options::UNCACHED));
    }
    create_directory(&config.data_dir)?;
    let options = SqliteOptions::new(config.data_dir.join("registry.db"));
    Ok((options.open().context("cannot open the metadata database")?, Options::default()))
}

/// The database of accounts and grants. On SQLite it is shared with the commands that add users and grants while the
/// registry runs.
pub(crate) fn open_accounts(config: &Config) -> anyhow::Result<Database> {
    if let Some(postgres) = &config.database.postgres {
        return Ok(postgres.clone().schema(auth_token::SCHEMA).open());
    }
    create_directory(&config.data_dir)?;
    let options = SqliteOptions::new(config.data_dir.join(ACCOUNTS)).shared();
    options.open().context("cannot open the accounts database")
}

/// Whether [`open_accounts`] would make a database, in which nobody is known.
pub(crate) fn has_no_accounts(config: &Config) -> anyhow::Result<bool> {
    let path = config.data_dir.join(ACCOUNTS);
    let there = config.database.postgres.is_some()
        || std::fs::exists(&path).with_context(|| {
            format!(
                "cannot look for the accounts database in the data directory {} (storage.data_dir)",
                config.data_dir.display()
            )
        })?;
    Ok(!there)
}

pub(crate) fn create_directory(data_dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot create the data directory {} (storage.data_dir)", data_dir.display()))
}

/// `entrepot migrate`: brings both schemas up to date and returns what to print.
pub(crate) async fn migrate(config: &Config) -> anyhow::Result<String> {
    let Some(postgres) = &config.database.postgres else {
        return Ok(
            "nothing to do: database.url is not set, and SQLite is brought up to date by the service that opens it"
                .into(),
        );
    };
    let open = |schema| postgres.clone().schema(schema).open();
    let registry = open(manifest_index::SCHEMA);
    let applied = manifest_index::migrate(&registry).await.context("cannot bring the metadata up to date")?;
    let mut report = report(manifest_index::SCHEMA, manifest_index::migrations(), applied)?;
    let accounts = open(auth_token::SCHEMA);
    let applied = auth_token::migrate(&accounts).await.context("cannot bring the accounts up to date")?;
    report += &self::report(auth_token::SCHEMA, auth_token::migrations(), applied)?;
    registry.close().await?;
    accounts.close().await?;
    Ok(report.trim_end().to_owned())
}

/// The last `applied` of these are new.
fn report(schema: &str, migrations: &[Migration], applied: usize) -> anyhow::Result<String> {
    let mut lines = String::new();
    for migration in &migrations[migrations.len() - applied..] {
        writeln!(lines, "{schema}: applied {}, {}", migration.version, migration.name)?;
    }
    let version = migrations.last().map_or(0, |last| last.version);
    writeln!(lines, "{schema}: version {version}, {}", if applied == 0 { "was up to date" } else { "up to date now" })?;
    Ok(lines)
}
