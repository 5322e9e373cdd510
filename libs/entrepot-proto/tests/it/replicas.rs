//! Replicas of a peer on real sockets, each on a runtime of its own so that it can be killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use entrepot_core::ports::garbage::{Garbage, GarbageQueue};
use entrepot_core::ports::index::IndexError;
use entrepot_proto::client::{ClientConfig, Connection, Endpoint, GarbageQueueGrpcClient};
use entrepot_proto::server::Services;
use entrepot_proto::testing;
use entrepot_runtime::admin::{Condition, Readiness};
use entrepot_runtime::listen::{self, Tls};
use entrepot_runtime::serve::{ServeOptions, Server};
use entrepot_runtime::shutdown::{Drain, DrainConfig};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Far more than anything here takes.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What a replica does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Answer,
    /// It takes a moment.
    Slowly,
    /// The database does not answer.
    Unavailable,
    /// Nothing ever comes back.
    Hang,
}

/// The queue behind a replica: `acknowledge` may be repeated, `lease` may not.
pub struct Backend {
    pub calls: AtomicUsize,
    /// Calls whose caller went away, or was taken to have.
    pub dropped: watch::Sender<usize>,
    pub behaviour: watch::Sender<Behaviour>,
}

struct Running<'a>(&'a Backend, bool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.send_modify(|dropped| *dropped += 1);
        }
    }
}

impl Backend {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            dropped: watch::Sender::new(0),
            behaviour: watch::Sender::new(Behaviour::Answer),
        })
    }

    async fn act(&self) -> Result<(), IndexError> {
        self.calls.fetch_add(1, SeqCst);
        let mut running = Running(self, false);
        let behaviour = *self.behaviour.borrow();
        let result = match behaviour {
            Behaviour::Answer => Ok(()),
            Behaviour::Slowly => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(())
            }
            Behaviour::Unavailable => Err(IndexError::Unavailable("no database".into())),
            Behaviour::Hang => std::future::pending().await,
        };
        running.1 = true;
        result
    }
}

#[async_trait]
impl GarbageQueue for Backend {
    async fn lease(&self, _: u32, _: Duration, _: Duration) -> Result<Vec<Garbage>, IndexError> {
        self.act().await.map(|()| Vec::new())
    }

    async fn acknowledge(&self, _: &[u64]) -> Result<(), IndexError> {
        self.act().await
    }
}

pub struct Replica {
    pub address: SocketAddr,
    pub backend: Arc<Backend>,
    pub drain: Drain,
    /// Holds from the start.
    pub condition: Condition,
    runtime: Option<Runtime>,
}

impl Replica {
    pub fn start() -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), DrainConfig::IMMEDIATE, None)
    }

    pub fn at(address: SocketAddr, drain: DrainConfig, tls: Option<&Tls>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let backend = Backend::new();
        let drain = Drain::new(drain);
        let readiness = Readiness::new(drain.clone());
        let condition = readiness.condition("database");
        condition.ready();
        let listeners = listen::bind(&[address]).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let services = Services::new(testing::secret()).garbage_queue(backend.clone()).health(readiness);
        let server = Server::new(ServeOptions::default(), drain.clone()).tls(tls);
        runtime.spawn(server.serve(listeners, services.into_router()));
        Self { address, backend, drain, condition, runtime: Some(runtime) }
    }

    pub fn endpoint(&self) -> Endpoint {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub fn calls(&self) -> usize {
        self.backend.calls.load(SeqCst)
    }

    /// Calls since the last time this was asked.
    pub fn take_calls(&self) -> usize {
        self.backend.calls.swap(0, SeqCst)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.backend.behaviour.send_replace(behaviour);
    }

    /// Shuts down in order: the process ends when nothing is in flight any more.
    pub fn drain(&self) {
        self.drain.start();
        let drain = self.drain.clone();
        self.runtime.as_ref().unwrap().spawn(async move { drain.drive().await });
    }

    /// Ends at once, with whatever it is at.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client with short times of these endpoints.
pub fn config(endpoints: impl IntoIterator<Item = Endpoint>) -> ClientConfig {
    let mut config = ClientConfig::new(endpoints, testing::secret());
    config.health_interval = Duration::from_millis(100);
    config.resolve_interval = Duration::from_millis(50);
    config
}

pub fn client(config: &ClientConfig) -> GarbageQueueGrpcClient {
    GarbageQueueGrpcClient::new(&Connection::open(config).unwrap())
}

/// An address where nothing listens.
pub fn closed() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A call that may be repeated.
pub async fn repeatable(client: &GarbageQueueGrpcClient) -> Result<(), IndexError> {
    client.acknowledge(&[1]).await
}

/// A call that may not.
pub async fn once(client: &GarbageQueueGrpcClient) -> Result<(), IndexError> {
    client.lease(1, Duration::from_secs(1), Duration::from_secs(1)).await.map(|_| ())
}

/// Calls until `done`.
pub async fn call_until(client: &GarbageQueueGrpcClient, what: &str, mut done: impl FnMut() -> bool) {
    let calls = async {
        while !done() {
            repeatable(client).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, calls).await.unwrap_or_else(|_| panic!("never: {what}"));
}
