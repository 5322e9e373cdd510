//! Migrations where several processes share a schema.

use std::time::Duration;

use entrepot_sql::{Database, Migration, PostgresOptions, SqlError, testing::Tampering};
use futures_util::future::join_all;

use super::{sleeping, until};
use crate::support::{MIGRATIONS, database, insert, names, work};

const MORE: Migration = Migration { version: 2, name: "more", sql: "ALTER TABLE item ADD COLUMN more {int}" };

const WITH_MORE: &[Migration] = &[MIGRATIONS[0], MORE];

const WITH_LESS: &[Migration] = &[MIGRATIONS[0], MORE, LESS];

const LESS: Migration = Migration { version: 3, name: "contract: less", sql: "ALTER TABLE item DROP COLUMN body" };

/// Longer than the grace for an answer.
const LONG: &[Migration] = &[Migration { version: 1, name: "long", sql: "SELECT pg_sleep(6)" }];

#[tokio::test]
async fn a_process_that_may_not_migrate_only_looks() {
    let database = Database::temporary().await.unwrap();
    let service = database.replica_with(Tampering::default(), |options| options.migrate(false));
    let missing = service.prepare("test", MIGRATIONS).await.unwrap_err();
    assert!(matches!(missing, SqlError::SchemaTooOld { found: 0, known: 1, .. }));
    assert!(missing.to_string().contains("entrepot migrate"), "{missing}");
    assert_eq!(database.migrate("test", MIGRATIONS).await.unwrap(), 1);
    assert_eq!(service.prepare("test", MIGRATIONS).await.unwrap(), 0);
    let older = service.prepare("test", WITH_MORE).await.unwrap_err();
    assert!(matches!(older, SqlError::SchemaTooOld { found: 1, known: 2, .. }));
    assert!(matches!(service.prepare("test", &[MORE]).await, Err(SqlError::SchemaChanged { .. })));
    // What was added since does not concern the old release; what was taken away does.
    assert_eq!(database.migrate("test", WITH_MORE).await.unwrap(), 1);
    assert_eq!(service.prepare("test", MIGRATIONS).await.unwrap(), 0);
    assert_eq!(database.migrate("test", WITH_LESS).await.unwrap(), 1);
    let newer = service.prepare("test", MIGRATIONS).await.unwrap_err();
    assert!(matches!(newer, SqlError::SchemaTooNew { found: 3, known: 1, .. }), "{newer:?}");
}

#[tokio::test]
async fn of_processes_that_migrate_at_once_one_does() {
    let database = Database::temporary().await.unwrap();
    let processes: Vec<_> = (0..4).map(|_| database.replica(Tampering::default())).collect();
    let migrated = join_all(processes.iter().map(|process| process.migrate("test", MIGRATIONS))).await;
    let mut steps: Vec<usize> = migrated.into_iter().map(Result::unwrap).collect();
    steps.sort_unstable();
    assert_eq!(steps, [0, 0, 0, 1]);
}

/// The one that waits for another hears nothing for longer than a server may take for any other statement.
#[tokio::test]
async fn a_long_migration_is_waited_for() {
    let database = Database::temporary().await.unwrap();
    let process = || database.replica_with(Tampering::default(), |options| options.statement_timeout(Duration::ZERO));
    let (first, second) = (process(), process());
    let migrating = tokio::spawn(async move { first.migrate("test", LONG).await });
    until("the first is at it", async || sleeping(&database).await == 1).await;
    assert_eq!(second.migrate("test", LONG).await.unwrap(), 0);
    assert_eq!(migrating.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_migration_makes_the_schema_that_is_missing() {
    let database = database().await;
    let schema = format!("{}_b", database.schema_name());
    let other = PostgresOptions::parse(&entrepot_sql::testing::url()).unwrap().schema(&schema).open();
    assert_eq!(other.migrate("test", MIGRATIONS).await.unwrap(), 1);
    other.write(insert("there")).await.unwrap();
    assert_eq!(names(&database).await, [""; 0]);
    let drop = work(|tx| tx.batch("DO $$ BEGIN EXECUTE format('DROP SCHEMA %I CASCADE', current_schema()); END $$"));
    other.write(drop).await.unwrap();
}
