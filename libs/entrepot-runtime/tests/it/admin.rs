use entrepot_runtime::{
    admin::{self, Readiness},
    metrics,
    serve::ServeOptions,
    shutdown::{Drain, DrainConfig},
};
use tokio::time::timeout;

use crate::support::{DEADLINE, start};

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let drain = Drain::new(DrainConfig::IMMEDIATE);
    let readiness = Readiness::new(drain.clone());
    let database = readiness.condition("database");
    let server = start(admin::router(readiness.clone()), ServeOptions::default());
    let mut client = server.connect().await;

    assert_eq!(client.get("/livez").await.status, 200);
    let answer = client.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, br#"{"ready":false,"not_ready":[{"condition":"database","reason":"starting"}]}"#);

    let waiting = tokio::spawn({
        let readiness = readiness.clone();
        async move { readiness.wait().await }
    });
    database.ready();
    timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(client.get("/readyz").await.status, 200);

    database.not_ready("connection lost");
    assert!(String::from_utf8(client.get("/readyz").await.body).unwrap().contains("connection lost"));
    database.ready();
    drain.start();
    let answer = client.get("/readyz").await;
    assert_eq!(answer.body, br#"{"ready":false,"not_ready":[{"condition":"running","reason":"shutting down"}]}"#);
    assert_eq!(client.get("/livez").await.status, 200);
}

#[tokio::test]
async fn metrics_show_the_process() {
    metrics::install();
    metrics::install();
    let server = start(admin::router(Readiness::new(Drain::new(DrainConfig::IMMEDIATE))), ServeOptions::default());
    let text = String::from_utf8(server.connect().await.get("/metrics").await.body).unwrap();
    for name in [
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_cpu_seconds_total ",
        "process_uptime_seconds ",
        "entrepot_sendfile_bytes_total ",
        "entrepot_http_connections ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing in\n{text}");
    }
}
