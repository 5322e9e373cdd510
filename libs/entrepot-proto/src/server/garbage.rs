use std::sync::Arc;
use std::time::Duration;

use entrepot_core::ports::garbage::GarbageQueue;
use tonic::{Request, Response, Status};

use crate::error::to_status;
use crate::pb::gc::v1 as pb;

pub(super) struct Server {
    pub(super) queue: Arc<dyn GarbageQueue>,
}

#[tonic::async_trait]
impl pb::garbage_queue_server::GarbageQueue for Server {
    async fn lease(&self, request: Request<pb::LeaseRequest>) -> Result<Response<pb::LeaseResponse>, Status> {
        let request = request.into_inner();
        let hold = Duration::from_millis(request.hold_millis);
        let idle = Duration::from_millis(request.idle_millis);
        let items = self.queue.lease(request.limit, hold, idle).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::LeaseResponse { items: items.into_iter().map(Into::into).collect() }))
    }

    async fn acknowledge(
        &self,
        request: Request<pb::AcknowledgeRequest>,
    ) -> Result<Response<pb::AcknowledgeResponse>, Status> {
        self.queue.acknowledge(&request.into_inner().ids).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(pb::AcknowledgeResponse {}))
    }
}
