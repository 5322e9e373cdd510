//! The schema's versions.

use entrepot_sql::{Database, Migration, SqlError};
use manifest_index::{Index, Options, migrations};

use crate::support::Query;

#[cfg(not(feature = "postgres-tests"))]
const SCHEMA: &str = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";

#[cfg(feature = "postgres-tests")]
const SCHEMA: &str = "
    SELECT table_name || '.' || column_name AS name,
           data_type || ' ' || is_nullable || ' ' || coalesce(collation_name, '') || ' ' || ordinal_position AS sql
    FROM information_schema.columns WHERE table_schema = current_schema()
    UNION ALL SELECT indexname, replace(indexdef, current_schema(), '') FROM pg_indexes WHERE schemaname = current_schema()
    UNION ALL SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
              WHERE connamespace = current_schema()::regnamespace
    ORDER BY 1";

async fn schema(database: &Database) -> Vec<(String, String)> {
    let rows = database.read(Query(SCHEMA)).await.unwrap();
    rows.iter().map(|row| (row.get("name").unwrap(), row.get("sql").unwrap())).collect()
}

/// A database that got each migration when it was new has the schema of one that gets all of them today.
#[tokio::test]
async fn a_fresh_schema_equals_a_migrated_one() {
    let fresh = Database::temporary().await.unwrap();
    Index::open(fresh.clone(), Options::default()).await.unwrap();
    let migrated = Database::temporary().await.unwrap();
    for count in 1..=migrations().len() {
        assert_eq!(migrated.migrate("registry", &migrations()[..count]).await.unwrap(), 1);
    }
    assert_eq!(schema(&fresh).await, schema(&migrated).await);
    Index::open(migrated, Options::default()).await.unwrap();
    let versions: Vec<i64> = migrations().iter().map(|migration| migration.version).collect();
    assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_changed_migration_is_refused() {
    const CHANGED: &[Migration] =
        &[Migration { version: 1, name: "registry", sql: "CREATE TABLE other (id {int}) {strict};" }];
    let database = Database::temporary().await.unwrap();
    database.migrate("registry", CHANGED).await.unwrap();
    let opened = Index::open(database, Options::default()).await;
    assert!(matches!(opened.err(), Some(SqlError::SchemaChanged { owner: "registry", version: 1 })));
}
