use entrepot_sql::{Database, Param, Row, SqlError, Value, list, params};
use futures_util::{FutureExt, future::join_all};

use crate::support::{Names, database, insert, names, work};

async fn row(database: &Database, sql: &'static str, params: &'static [Param<'static>]) -> Result<Row, SqlError> {
    database.read(work(move |tx| tx.query_one(sql, params))).await
}

#[tokio::test]
async fn more_reads_than_readers_take_turns() {
    let database = database().await;
    database.write(insert("a")).await.unwrap();
    let reads = join_all((0..64).map(|_| database.read(Names))).await;
    assert!(reads.into_iter().all(|found| found.unwrap() == ["a"]));
}

#[tokio::test]
async fn a_reader_cannot_write_and_stays_usable() {
    let database = database().await;
    for _ in 0..8 {
        let refused = database.read(insert("no")).await.unwrap_err();
        assert!(matches!(refused, SqlError::Statement { .. }), "{refused:?}");
    }
    assert!(names(&database).await.is_empty());
}

#[tokio::test]
async fn the_clock_is_the_databases_and_can_be_shifted() {
    let database = database().await;
    let now = |database: Database| async move {
        row(&database, "SELECT {now} AS now", &[]).await.unwrap().get::<i64>("now").unwrap()
    };
    let before = now(database.clone()).await;
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(wall.abs_diff(u128::try_from(before).unwrap()) < 60_000);
    database.shift_clock(86_400_000);
    let after = now(database).await;
    assert!((86_400_000..86_460_000).contains(&(after - before)), "{before} {after}");
}

#[tokio::test]
async fn values_come_back_as_they_went_in() {
    let database = database().await;
    let row = row(
        &database,
        "SELECT $1 AS int, $2 AS text, $3 AS bytes, $4 AS none, $5 AS yes",
        const { &[Param::Int(i64::MIN), Param::Text("naïve '"), Param::Blob(&[0, 255]), Param::Null, Param::Int(1)] },
    )
    .await
    .unwrap();
    assert_eq!(row.get::<i64>("int").unwrap(), i64::MIN);
    assert_eq!(row.get::<&str>("text").unwrap(), "naïve '");
    assert_eq!(row.get::<bytes::Bytes>(2).unwrap(), &[0, 255][..]);
    assert_eq!(row.get::<Option<String>>("none").unwrap(), None);
    assert_eq!(row.get::<Option<bool>>("yes").unwrap(), Some(true));
    for refused in [
        row.get::<u64>("int").map(|_| ()),
        row.get::<String>("none").map(|_| ()),
        row.get::<i64>("absent").map(|_| ()),
        row.get::<bool>("text").map(|_| ()),
    ] {
        assert!(matches!(refused, Err(SqlError::Column { .. })));
    }
    assert!(Param::unsigned(u64::MAX).is_err());
    assert_eq!(Param::unsigned(5).unwrap(), Param::Int(5));
    assert_eq!(Param::from(None::<&str>), Param::Null);
    assert_ne!(Value::Int(0), Value::Null);
}

#[tokio::test]
async fn a_list_is_one_parameter() {
    let database = database().await;
    for name in ["a", "b\"', ]", "c"] {
        database.write(insert(name)).await.unwrap();
    }
    let wanted = list(["b\"', ]", "c", "absent"]);
    let found = work(move |tx| {
        let wanted = wanted.clone();
        async move {
            let rows =
                tx.query("SELECT name FROM item WHERE name IN {list $1} ORDER BY name", params![&wanted]).await?;
            rows.iter().map(|row| row.get::<String>(0)).collect::<Result<Vec<_>, _>>()
        }
        .boxed()
    });
    assert_eq!(database.read(found).await.unwrap(), ["b\"', ]", "c"]);
}

#[tokio::test]
async fn wrong_statements_are_refused_with_their_text() {
    let database = database().await;
    for (sql, params) in [
        ("SELEC 1", &[] as &[Param<'_>]),
        ("SELECT $1", &[]),
        ("SELECT 1", &[Param::Null]),
        ("SELECT {nwo}", &[]),
        ("SELECT 1.5", &[]),
    ] {
        let refused = row(&database, sql, params).await.unwrap_err();
        assert!(refused.to_string().contains(sql), "{refused}");
    }
    assert!(matches!(row(&database, "SELECT 1 WHERE 1 = 0", &[]).await, Err(SqlError::NoRow { .. })));
}
