//! The contract of the port, over the implementation itself and over its remote adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use entrepot_core::ports::TokenService;
use entrepot_proto::client::TokenServiceGrpcClient;
use entrepot_proto::server::Services;
use entrepot_testkit::contract::rights::{self, Act, RightsPorts};
use entrepot_testkit::contract::tokens::{self, TokenPorts};

use crate::support::{PASSWORD, Registry, SERVICE};

async fn near() -> TokenPorts {
    let registry = Registry::managed().await;
    for (name, pattern, actions) in
        [("alice", "team/*", "pull"), ("alice", "team/app", "push"), ("anonymous", "public/*", "pull")]
    {
        registry.admin.grant(name, pattern, actions).await.unwrap();
    }
    TokenPorts { tokens: Arc::new(registry.auth), service: SERVICE.into(), password: PASSWORD.into() }
}

async fn remote() -> TokenPorts {
    let ports = near().await;
    let services = Services::new(entrepot_proto::testing::secret()).token_service(Arc::clone(&ports.tokens));
    let connection = entrepot_proto::testing::connect(services);
    let tokens: Arc<dyn TokenService> = Arc::new(TokenServiceGrpcClient::new(&connection));
    TokenPorts { tokens, ..ports }
}

fn act<F>(registry: &Arc<Registry>, act: impl Fn(Arc<Registry>) -> F + Send + Sync + 'static) -> Act
where
    F: Future<Output = ()> + Send + 'static,
{
    let registry = Arc::clone(registry);
    Arc::new(move || Box::pin(act(Arc::clone(&registry))))
}

async fn rights_here() -> RightsPorts {
    let registry = Registry::managed().await;
    registry.admin.add_robot("ci").await.unwrap();
    let registry = Arc::new(registry);
    let given = Arc::new(AtomicU32::new(0));
    let clock = Arc::clone(&registry);
    RightsPorts {
        tokens: Arc::new(registry.auth.clone()),
        grant_alice: act(&registry, async |registry| registry.admin.grant("alice", "team/*", "pull").await.unwrap()),
        grant_everybody: act(&registry, move |registry| {
            let pattern = format!("public-{}/*", given.fetch_add(1, SeqCst));
            async move { registry.admin.grant("anonymous", &pattern, "pull").await.unwrap() }
        }),
        renew_robot: act(&registry, async |registry| {
            registry.admin.renew_robot("ci").await.unwrap();
        }),
        pass: Arc::new(move |time| {
            clock.database.shift_clock(i64::try_from(time.as_millis()).unwrap());
            true
        }),
    }
}

async fn rights_remote() -> RightsPorts {
    let ports = rights_here().await;
    let services = Services::new(entrepot_proto::testing::secret()).token_service(Arc::clone(&ports.tokens));
    let connection = entrepot_proto::testing::connect(services);
    RightsPorts { tokens: Arc::new(TokenServiceGrpcClient::new(&connection)), ..ports }
}

#[tokio::test]
async fn changes_here() {
    rights::all(rights_here).await;
}

#[tokio::test]
async fn changes_remotely() {
    rights::all(rights_remote).await;
}

#[tokio::test]
async fn here() {
    tokens::all(near).await;
}

#[tokio::test]
async fn remotely() {
    tokens::all(remote).await;
}
