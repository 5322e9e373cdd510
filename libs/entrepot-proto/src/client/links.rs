use async_trait::async_trait;
use entrepot_core::ports::index::{IndexError, LocatedBlob};
use entrepot_core::ports::uploads::BlobLinks;
use entrepot_core::{Digest, RepositoryName};

use super::{Connection, Intercepted, Peer};
use crate::pb::index::v1 as pb;
use crate::pb::index::v1::blob_links_client::BlobLinksClient;
use crate::wire::required;

/// [`BlobLinks`] at a peer.
#[derive(Debug)]
pub struct BlobLinksGrpcClient {
    peer: Peer<IndexError>,
}

impl BlobLinksGrpcClient {
    /// Calls the peer at the end of `connection`.
    pub fn new(connection: &Connection) -> Self {
        Self { peer: connection.peer() }
    }

    fn client(&self) -> BlobLinksClient<Intercepted> {
        BlobLinksClient::new(self.peer.channel())
    }
}

#[async_trait]
impl BlobLinks for BlobLinksGrpcClient {
    async fn locate(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        let request = pb::LocateRequest { repository: repository.to_string(), digest: Some(digest.into()) };
        let response: pb::LocateResponse = self.peer.unary(self.client().locate(request)).await?;
        self.peer.checked(required(response.blob, "blob"))
    }

    async fn stat(&self, repository: &RepositoryName, digest: Digest) -> Result<LocatedBlob, IndexError> {
        let request = pb::StatRequest { repository: repository.to_string(), digest: Some(digest.into()) };
        let response: pb::StatResponse = self.peer.unary(self.client().stat(request)).await?;
        self.peer.checked(required(response.blob, "blob"))
    }

    async fn mount(
        &self,
        repository: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: Digest,
    ) -> Result<bool, IndexError> {
        let request = pb::MountRequest {
            repository: repository.to_string(),
            from: from.map(ToString::to_string),
            digest: Some(digest.into()),
        };
        let response: pb::MountResponse = self.peer.unary(self.client().mount(request)).await?;
        Ok(response.mounted)
    }

    async fn unlink(&self, repository: &RepositoryName, digest: Digest) -> Result<(), IndexError> {
        let request = pb::UnlinkRequest { repository: repository.to_string(), digest: Some(digest.into()) };
        let pb::UnlinkResponse {} = self.peer.unary(self.client().unlink(request)).await?;
        Ok(())
    }
}
