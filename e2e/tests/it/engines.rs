//! The engines themselves: what the fleet suites rely on when they break them.

use anyhow::Context as _;
use entrepot_e2e::engines::{Minio, Postgres, Redis};
use entrepot_e2e::environment;
use tempfile::TempDir;

/// A folder that PostgreSQL's own user may enter.
fn folder() -> TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    tempfile::Builder::new().prefix("entrepot-e2e-").permissions(mode).tempdir().unwrap()
}

#[test]
fn a_promoted_standby_has_every_acknowledged_row() {
    if !environment::have("engines postgres", &["postgres"]) {
        return;
    }
    let folder = folder();
    let mut postgres = Postgres::start(folder.path(), false).unwrap();
    postgres.query("CREATE TABLE t (n int)").unwrap();
    for round in 1..=3 {
        postgres.add_standby().unwrap();
        postgres.query(&format!("INSERT INTO t VALUES ({round})")).unwrap();
        postgres.fail_over().unwrap();
        let rows = postgres.query("SELECT count(*) FROM t").unwrap();
        assert_eq!(rows.trim(), round.to_string());
    }
    postgres.crash().unwrap();
    assert_eq!(postgres.query("SELECT count(*) FROM t").unwrap().trim(), "3");
    postgres.stop().unwrap();
}

#[test]
fn a_killed_redis_is_back_empty() {
    if !environment::have("engines redis", &["redis-server"]) {
        return;
    }
    let folder = folder();
    let mut redis = Redis::start(folder.path()).unwrap();
    redis.flush().unwrap();
    let flushes = |redis: &Redis| {
        let calls = redis.calls().unwrap();
        calls.iter().find(|(name, _)| name == "flushall").map(|(_, calls)| *calls)
    };
    assert_eq!(flushes(&redis), Some(1));
    redis.kill().unwrap();
    assert!(redis.flush().is_err());
    redis.revive().unwrap();
    assert_eq!(flushes(&redis), None);
    redis.stop().unwrap();
}

#[test]
fn minio_has_its_bucket() {
    if !environment::have("engines minio", &["minio"]) {
        return;
    }
    let folder = folder();
    let mut minio = Minio::start(folder.path()).unwrap();
    let bucket = folder.path().join("drive").join(Minio::BUCKET);
    std::fs::metadata(&bucket).with_context(|| bucket.display().to_string()).unwrap();
    assert_eq!(minio.open_multiparts().unwrap(), 0);
    minio.stop().unwrap();
}
