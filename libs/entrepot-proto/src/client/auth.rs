use async_trait::async_trait;
use entrepot_core::ports::auth::{AuthError, Authorized, IssuedToken, RightsChanges, TokenRequest, TokenService};

use super::{Connection, Intercepted, Peer};
use crate::pb::auth::v1 as pb;
use crate::pb::auth::v1::token_service_client::TokenServiceClient;

/// [`TokenService`] at a peer.
#[derive(Debug)]
pub struct TokenServiceGrpcClient {
    peer: Peer<AuthError>,
}

impl TokenServiceGrpcClient {
    /// Calls the peer at the end of `connection`.
    pub fn new(connection: &Connection) -> Self {
        Self { peer: connection.peer() }
    }

    fn client(&self) -> TokenServiceClient<Intercepted> {
        TokenServiceClient::new(self.peer.channel())
    }
}

#[async_trait]
impl TokenService for TokenServiceGrpcClient {
    async fn issue(&self, request: TokenRequest) -> Result<IssuedToken, AuthError> {
        let request = pb::IssueRequest { request: Some(request.into()) };
        self.peer.unary(self.client().issue(request)).await.map(IssuedToken::from)
    }

    async fn authorize(&self, request: TokenRequest) -> Result<Authorized, AuthError> {
        let request = pb::AuthorizeRequest { request: Some(request.into()) };
        let response = self.peer.unary(self.client().authorize(request)).await?;
        self.peer.checked(response.try_into())
    }

    async fn key_set(&self) -> Result<String, AuthError> {
        let request = pb::GetKeySetRequest {};
        let response: pb::GetKeySetResponse = self.peer.unary(self.client().get_key_set(request)).await?;
        Ok(response.jwks)
    }

    async fn changes(&self, after: u64) -> Result<RightsChanges, AuthError> {
        let request = pb::ListChangesRequest { after };
        self.peer.unary(self.client().list_changes(request)).await.map(RightsChanges::from)
    }
}
