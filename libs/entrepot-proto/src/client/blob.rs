use async_trait::async_trait;
use entrepot_core::ports::blobs::{Appended, BlobError, BlobSource, BlobStore, ByteStream, WriterPosition};
use entrepot_core::{Digest, Page, PageOf, StorageKey};
use futures_util::stream::{self, StreamExt};

use super::{Connection, Intercepted, Peer};
use crate::body;
use crate::pb::blob::v1 as pb;
use crate::pb::blob::v1::blob_store_client::BlobStoreClient;

/// [`BlobStore`] at a peer. [`BlobStore::open`] only ever answers [`BlobSource::Url`].
#[derive(Debug)]
pub struct BlobStoreGrpcClient {
    peer: Peer<BlobError>,
}

impl BlobStoreGrpcClient {
    /// Calls the peer at the end of `connection`.
    pub fn new(connection: &Connection) -> Self {
        Self { peer: connection.peer() }
    }

    fn client(&self) -> BlobStoreClient<Intercepted> {
        BlobStoreClient::new(self.peer.channel())
            .max_decoding_message_size(crate::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(crate::MAX_MESSAGE_BYTES)
    }
}

#[async_trait]
impl BlobStore for BlobStoreGrpcClient {
    async fn append(&self, position: WriterPosition, body: ByteStream) -> Result<Appended, BlobError> {
        use pb::append_request::Part;
        let first = stream::iter([pb::AppendRequest { part: Some(Part::Position(position.into())) }]);
        let rest = body::send(body).map(|part| pb::AppendRequest { part: Some(Part::Body(part)) });
        self.peer.answer(self.client().append(first.chain(rest)).await).map(Appended::from)
    }

    async fn seal(&self, position: WriterPosition, body: ByteStream, expected: Digest) -> Result<u64, BlobError> {
        use pb::seal_request::Part;
        let start = pb::SealStart { position: Some(position.into()), expected: Some(expected.into()) };
        let first = stream::iter([pb::SealRequest { part: Some(Part::Start(start)) }]);
        let rest = body::send(body).map(|part| pb::SealRequest { part: Some(Part::Body(part)) });
        self.peer.answer(self.client().seal(first.chain(rest)).await).map(|response: pb::SealResponse| response.size)
    }

    async fn open(&self, key: StorageKey) -> Result<BlobSource, BlobError> {
        let request = pb::OpenRequest { key: key.to_string() };
        self.peer.unary(self.client().open(request)).await.map(BlobSource::from)
    }

    async fn delete(&self, key: StorageKey) -> Result<(), BlobError> {
        let request = pb::DeleteRequest { key: key.to_string() };
        let pb::DeleteResponse {} = self.peer.unary(self.client().delete(request)).await?;
        Ok(())
    }

    async fn list(&self, page: Page) -> Result<PageOf<StorageKey>, BlobError> {
        let request = pb::ListRequest { page: Some(page.into()) };
        let response = self.peer.unary(self.client().list(request)).await?;
        self.peer.checked(response.try_into())
    }
}
