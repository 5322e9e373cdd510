use entrepot_runtime::admin::Readiness;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// `grpc.health.v1` over what the admin port reports: every service of a process is as ready as the process.
///
/// Not the reporter of tonic-health, whose watches never end: a watch must not hold up a process that drains.
pub(super) struct Server {
    pub(super) readiness: Readiness,
}

#[tonic::async_trait]
impl Health for Server {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(answer(self.readiness.is_ready())))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        // What to wait for before the next answer; nothing more after the shutdown was told.
        let start = Some((self.readiness.clone(), None));
        let changes = stream::unfold(start, |state| async move {
            let (readiness, wait_for) = state?;
            if let Some(ready) = wait_for {
                readiness.wait_until(ready).await;
            }
            let ready = readiness.is_ready();
            let next = (!readiness.is_draining()).then_some((readiness, Some(!ready)));
            Some((Ok(answer(ready)), next))
        });
        Ok(Response::new(changes.boxed()))
    }
}

fn answer(ready: bool) -> HealthCheckResponse {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}
