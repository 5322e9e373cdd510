use std::time::Duration;

use async_trait::async_trait;
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::IndexError;

use super::{Connection, Intercepted, Peer};
use crate::pb::gc::v1 as pb;
use crate::pb::gc::v1::garbage_queue_client::GarbageQueueClient;
use crate::wire::{convert_all, millis};

/// [`GarbageQueue`] at a peer.
#[derive(Debug)]
pub struct GarbageQueueGrpcClient {
    peer: Peer<IndexError>,
}

impl GarbageQueueGrpcClient {
    /// Calls the peer at the end of `connection`.
    pub fn new(connection: &Connection) -> Self {
        Self { peer: connection.peer() }
    }

    fn client(&self) -> GarbageQueueClient<Intercepted> {
        GarbageQueueClient::new(self.peer.channel())
    }
}

#[async_trait]
impl GarbageQueue for GarbageQueueGrpcClient {
    async fn lease(&self, limit: u32, hold: Duration, idle: Duration) -> Result<Vec<Garbage>, IndexError> {
        let request = pb::LeaseRequest { limit, hold_millis: millis(hold), idle_millis: millis(idle) };
        let response: pb::LeaseResponse = self.peer.unary(self.client().lease(request)).await?;
        self.peer.checked(convert_all(response.items))
    }

    async fn acknowledge(&self, ids: &[u64]) -> Result<(), IndexError> {
        let request = pb::AcknowledgeRequest { ids: ids.to_vec() };
        let pb::AcknowledgeResponse {} = self.peer.unary(self.client().acknowledge(request)).await?;
        Ok(())
    }
}
