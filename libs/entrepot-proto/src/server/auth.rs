use std::sync::Arc;

use entrepot_core::ports::auth::{TokenRequest, TokenService};
use tonic::{Request, Response, Status};

use crate::error::to_status;
use crate::pb::auth::v1 as pb;
use crate::wire::required;

pub(super) struct Server {
    pub(super) tokens: Arc<dyn TokenService>,
}

#[tonic::async_trait]
impl pb::token_service_server::TokenService for Server {
    async fn issue(&self, request: Request<pb::IssueRequest>) -> Result<Response<pb::IssueResponse>, Status> {
        let request: TokenRequest = required(request.into_inner().request, "request")?;
        let token = self.tokens.issue(request).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(token.into()))
    }

    async fn authorize(
        &self,
        request: Request<pb::AuthorizeRequest>,
    ) -> Result<Response<pb::AuthorizeResponse>, Status> {
        let request: TokenRequest = required(request.into_inner().request, "request")?;
        let authorized = self.tokens.authorize(request).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(authorized.into()))
    }

    async fn get_key_set(
        &self,
        _request: Request<pb::GetKeySetRequest>,
    ) -> Result<Response<pb::GetKeySetResponse>, Status> {
        let jwks = self.tokens.key_set().await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::GetKeySetResponse { jwks }))
    }

    async fn list_changes(
        &self,
        request: Request<pb::ListChangesRequest>,
    ) -> Result<Response<pb::ListChangesResponse>, Status> {
        let changes = self.tokens.changes(request.into_inner().after).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(changes.into()))
    }
}
