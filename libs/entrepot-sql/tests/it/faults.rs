use entrepot_sql::{ConstraintKind, SqlError};

use crate::support::{Insert, database, insert, names, work};

#[tokio::test]
async fn constraints_are_told_apart() {
    let database = database().await;
    database.write(insert("a")).await.unwrap();
    let kind = |refused: SqlError| match refused {
        SqlError::Constraint { kind, name, .. } => (kind, name),
        other => panic!("{other:?}"),
    };
    let unique = kind(database.write(insert("a")).await.unwrap_err());
    let name = if cfg!(feature = "postgres-tests") { "item_pkey" } else { "item.name" };
    assert_eq!(unique, (ConstraintKind::Unique, name.into()));
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
