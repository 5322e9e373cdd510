//! `grpc.health.v1`, as probes and other clients see it.

use std::time::Duration;

use entrepot_runtime::shutdown::DrainConfig;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::replicas::{DEADLINE, Replica};

async fn connect(replica: &Replica) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", replica.address)).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_needs_no_secret_and_says_what_the_admin_port_says() {
    let drain = DrainConfig { grace: DEADLINE, timeout: DEADLINE };
    let replica = Replica::at(([127, 0, 0, 1], 0).into(), drain, None);
    let mut client = connect(&replica).await;
    let mut check = async || client.check(HealthCheckRequest::default()).await.unwrap().get_ref().status();
    assert_eq!(check().await, ServingStatus::Serving);
    replica.condition.not_ready("the database is gone");
    assert_eq!(check().await, ServingStatus::NotServing);
    replica.condition.ready();
    assert_eq!(check().await, ServingStatus::Serving);
    replica.drain.start();
    assert_eq!(check().await, ServingStatus::NotServing);
}

/// A watch must not hold up a process that drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_every_change_and_ends_with_the_shutdown() {
    let drain = DrainConfig { grace: Duration::ZERO, timeout: DEADLINE };
    let replica = Replica::at(([127, 0, 0, 1], 0).into(), drain, None);
    let mut client = connect(&replica).await;
    let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut next = async || changes.message().await.unwrap().map(|answer| answer.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    replica.condition.not_ready("the database is gone");
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    replica.condition.ready();
    assert_eq!(next().await, Some(ServingStatus::Serving));
    replica.drain();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    tokio::time::timeout(DEADLINE, replica.drain.ended()).await.unwrap();
}
