//! The contract of the port, over the implementation itself and over its remote adapter.

use std::sync::Arc;

use entrepot_core::ports::TokenService;
use entrepot_proto::client::TokenServiceGrpcClient;
use entrepot_proto::server::Services;
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

#[tokio::test]
async fn here() {
    tokens::all(near).await;
}

#[tokio::test]
async fn remotely() {
    tokens::all(remote).await;
}
