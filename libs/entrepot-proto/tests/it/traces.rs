//! The trace of a caller goes on behind the port.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::IndexError;
use entrepot_proto::{GarbageQueueGrpcClient, Services, testing};
use entrepot_runtime::telemetry::{RemoteTrace, current_trace_id, in_trace};
use tracing::Span;

#[derive(Default)]
struct Observer {
    trace: Mutex<String>,
}

#[async_trait]
impl GarbageQueue for Observer {
    async fn lease(&self, _: u32, _: Duration, _: Duration) -> Result<Vec<Garbage>, IndexError> {
        Ok(Vec::new())
    }

    async fn acknowledge(&self, _: &[u64]) -> Result<(), IndexError> {
        *self.trace.lock().unwrap() = current_trace_id();
        Ok(())
    }
}

#[tokio::test]
async fn the_server_continues_the_trace_of_the_caller() {
    let observer = Arc::new(Observer::default());
    let queue = GarbageQueueGrpcClient::new(&testing::connect(
        Services::new(testing::secret()).garbage_queue(observer.clone()),
    ));
    let call = || {
        in_trace(&RemoteTrace::default(), Span::none, async {
            queue.acknowledge(&[]).await.unwrap();
            assert_eq!(*observer.trace.lock().unwrap(), current_trace_id());
            current_trace_id()
        })
    };
    assert_ne!(call().await, call().await);
}
