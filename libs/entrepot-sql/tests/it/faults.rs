use std::error::Error;

use entrepot_sql::{ConstraintKind, SqlError, SqliteOptions, params};
use futures_util::FutureExt;

use crate::support::{Gate, Insert, MIGRATIONS, database, insert, names, work};

#[tokio::test]
async fn constraints_are_told_apart() {
    let database = database().await;
    database.write(insert("a")).await.unwrap();
    let kind = |refused: SqlError| match refused {
        SqlError::Constraint { kind, name, .. } => (kind, name),
        other => panic!("{other:?}"),
    };
    let unique = kind(database.write(insert("a")).await.unwrap_err());
    assert_eq!(unique, (ConstraintKind::Unique, "item.name".into()));
    let check = kind(database.write(Insert { size: 0, ..insert("b") }).await.unwrap_err());
    assert_eq!(check, (ConstraintKind::Check, "size_positive".into()));
    let orphan = kind(database.write(Insert { parent: Some(1), ..insert("c") }).await.unwrap_err());
    assert_eq!(orphan.0, ConstraintKind::ForeignKey);
    let parent = work(|tx| tx.execute("INSERT INTO parent (id) VALUES (1)", &[]));
    database.write(parent).await.unwrap();
    database.write(Insert { parent: Some(1), ..insert("child") }).await.unwrap();
    let referred = work(|tx| tx.execute("DELETE FROM parent", &[]));
    assert_eq!(kind(database.write(referred).await.unwrap_err()).0, ConstraintKind::ForeignKey);
    assert_eq!(names(&database).await, ["a", "child"]);
}

#[tokio::test]
async fn a_full_database_refuses_what_does_not_fit_and_keeps_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(directory.path().join("full.db")).max_pages(32);
    let database = options.open().unwrap();
    database.migrate("test", MIGRATIONS).await.unwrap();
    let large = || {
        let body = vec![7; 1 << 20];
        work(move |tx| {
            let body = body.clone();
            async move {
                let sql = "INSERT INTO item (name, size, body) VALUES ('large', 1, $1)";
                tx.execute(sql, params![&body]).await
            }
            .boxed()
        })
    };
    let alone = database.write(large()).await.unwrap_err();
    assert!(matches!(alone, SqlError::NoSpace { .. }), "{alone:?}");

    let gate = Gate::close(&database).await;
    let mut first = database.write(insert("first")).boxed();
    let mut full = database.write(large()).boxed();
    let mut last = database.write(insert("last")).boxed();
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut full).now_or_never().is_none());
    assert!((&mut last).now_or_never().is_none());
    drop(gate);
    let (first, full, last) = futures_util::future::join3(first, full, last).await;
    first.unwrap();
    last.unwrap();
    assert!(matches!(full.unwrap_err(), SqlError::NoSpace { .. }));
    assert_eq!(names(&database).await, ["first", "last"]);
}

#[tokio::test]
async fn a_second_opener_is_told_who_is_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.db");
    let database = SqliteOptions::new(&path).open().unwrap();
    let refused = SqliteOptions::new(&path).open().err().unwrap();
    assert!(matches!(refused, SqlError::InUse { .. }));
    assert!(refused.to_string().contains("shared.db"), "{refused}");
    database.close().await.unwrap();
    SqliteOptions::new(&path).open().unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.db");
    std::fs::write(&path, "not a database, and longer than the header of one would have to be; ".repeat(64)).unwrap();
    let refused = SqliteOptions::new(&path).open().err().unwrap();
    assert!(matches!(refused, SqlError::Corrupt { .. }), "{refused:?}");
    assert!(refused.source().is_some());
}

#[tokio::test]
async fn a_missing_directory_is_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let refused = SqliteOptions::new(directory.path().join("absent/x.db")).open().err().unwrap();
    assert!(matches!(refused, SqlError::Unavailable { .. }));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let database = SqliteOptions::new(directory.path().join("private.db")).open().unwrap();
    database.migrate("test", MIGRATIONS).await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        seen += 1;
    }
    assert_eq!(seen, 4, "the database, its log, its index and its lock");
}
