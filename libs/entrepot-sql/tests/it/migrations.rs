use entrepot_sql::{Database, Migration, SqlError};

use crate::support::work;

const ONE: Migration = Migration {
    version: 1,
    name: "one",
    sql: "CREATE TABLE one (id {identity}, at {int}); -- don't stop\nCREATE INDEX one_at ON one (at)",
};
const TWO: Migration = Migration { version: 2, name: "two", sql: "ALTER TABLE one ADD COLUMN extra {text}" };
const BROKEN: Migration = Migration { version: 2, name: "broken", sql: "CREATE TABLE two (id {int}); NONSENSE" };
const CHANGED: Migration = Migration { version: 1, name: "one", sql: "CREATE TABLE uno (id {identity})" };
const CLOCK: Migration = Migration { version: 1, name: "clock", sql: "SELECT {now}" };

async fn table_exists(database: &Database) -> bool {
    database.read(work(|tx| tx.query("SELECT id FROM two", &[]))).await.is_ok()
}

#[tokio::test]
async fn each_runs_once_and_owners_do_not_meet() {
    let database = Database::temporary().await.unwrap();
    assert_eq!(database.migrate("a", &[ONE]).await.unwrap(), 1);
    assert_eq!(database.migrate("a", &[ONE, TWO]).await.unwrap(), 1);
    assert_eq!(database.migrate("a", &[ONE, TWO]).await.unwrap(), 0);
    const OTHER: Migration = Migration { version: 1, name: "other", sql: "CREATE TABLE other (id {identity})" };
    assert_eq!(database.migrate("b", &[OTHER]).await.unwrap(), 1);
    database.write(work(|tx| tx.execute("INSERT INTO one (at, extra) VALUES (1, 'x')", &[]))).await.unwrap();
}

#[tokio::test]
async fn a_failure_applies_nothing_and_can_be_repeated() {
    let database = Database::temporary().await.unwrap();
    let refused = database.migrate("a", &[ONE, BROKEN]).await.unwrap_err();
    assert!(matches!(refused, SqlError::Statement { .. }));
    assert!(!table_exists(&database).await);
    assert_eq!(database.migrate("a", &[ONE, TWO]).await.unwrap(), 2);
}

#[tokio::test]
async fn an_older_program_and_a_changed_text_are_refused() {
    let database = Database::temporary().await.unwrap();
    database.migrate("a", &[ONE, TWO]).await.unwrap();
    let newer = database.migrate("a", &[ONE]).await.unwrap_err();
    assert!(matches!(newer, SqlError::SchemaTooNew { found: 2, known: 1, .. }), "{newer:?}");
    let changed = database.migrate("a", &[CHANGED, TWO]).await.unwrap_err();
    assert!(matches!(changed, SqlError::SchemaChanged { version: 1, .. }), "{changed:?}");
}

#[tokio::test]
async fn a_batch_has_no_clock() {
    let database = Database::temporary().await.unwrap();
    assert!(matches!(database.migrate("a", &[CLOCK]).await, Err(SqlError::Statement { .. })));
}
