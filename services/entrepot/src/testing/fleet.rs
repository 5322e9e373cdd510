//! A fleet inside a test: two gateways behind a balancer that knows no session, over services that each listen twice.
//!
//! Everything that listens has a runtime of its own, so that it can be killed with whatever it is at.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_gateway::{Ports, SegmentSize};
use axum::Router;
use entrepot_core::ports::{BlobStore, TokenService};
use entrepot_proto::client::{
    BlobLinksGrpcClient, BlobStoreGrpcClient, ClientConfig, Connection, Endpoint, ManifestIndexGrpcClient,
    TokenServiceGrpcClient, UploadIndexGrpcClient,
};
use entrepot_proto::server::Services;
use entrepot_proto::testing::secret as wire_secret;
use entrepot_runtime::config::{Secret, Source};
use entrepot_runtime::shutdown::{Drain, Drained};
use manifest_index::Index;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::http::{Call, runtime};
use super::{Running, poll};
use crate::config::{Config, Role};
use crate::database::create_directory;
use crate::embedded::{open_index, public_router};
use crate::fleet::{Signer, open_tokens};
use crate::process::{InternalTls, Process};
use crate::secret;
use crate::storage::open_blobs;

/// Two of everything that may be doubled.
const TWO: usize = 2;

/// The services and their storage, as every listener offers them.
struct Storage {
    index: Arc<Index>,
    blobs: Arc<dyn BlobStore>,
    tokens: Arc<dyn TokenService>,
    signer: blob_store::DataUrls,
    secret: Secret,
    tls: Option<InternalTls>,
    /// What the services themselves run on.
    runtime: Option<Runtime>,
}

/// A running fleet.
pub struct TestFleet {
    config: Config,
    storage: Arc<Storage>,
    data: Option<Running>,
    fronts: [Option<Running>; TWO],
    endpoints: [Endpoint; TWO],
    gateways: [Option<Running>; TWO],
    balancer: Balancer,
    _directory: TempDir,
}

impl TestFleet {
    /// A fleet in mode `open`; a gateway that drains accepts connections for `grace`.
    pub fn start(grace: &str) -> Self {
        Self::over(grace, None)
    }

    /// The same with TLS between the services, whose certificate is for 127.0.0.1.
    pub fn secured(tls: InternalTls) -> Self {
        Self::over("0s", Some(tls))
    }

    fn over(grace: &str, tls: Option<InternalTls>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut source = Source::default();
        for (key, value) in [("http.listen", "127.0.0.1:0"), ("shutdown.grace", grace), ("shutdown.timeout", "60s")] {
            source.set(key, value);
        }
        source.set("storage.data_dir", directory.path().display().to_string());
        let (config, _) = Config::read(&source, Role::Embedded).unwrap();
        let (storage, data) = Storage::open(&config, tls).unwrap();
        let storage = Arc::new(storage);
        let fronts: [Running; TWO] = std::array::from_fn(|_| storage.front(&config).unwrap());
        let endpoints =
            std::array::from_fn(|at| format!("{}://{}", storage.scheme(), fronts[at].address).parse().unwrap());
        let gateways: [Running; TWO] = std::array::from_fn(|_| storage.gateway(&config, &endpoints).unwrap());
        let balancer = Balancer::start();
        gateways.iter().enumerate().for_each(|(at, gateway)| balancer.set(at, gateway));
        Self {
            config,
            storage,
            data: Some(data),
            fronts: fronts.map(Some),
            endpoints,
            gateways: gateways.map(Some),
            balancer,
            _directory: directory,
        }
    }

    /// A request to whichever gateway is next.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::new(method, &format!("{}{target}", self.url()))
    }

    /// Where the balancer listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.balancer.address)
    }

    /// Where the data port listens.
    pub fn data_address(&self) -> SocketAddr {
        self.data.as_ref().unwrap().address
    }

    /// Lets a gateway shut down in order, and starts it again elsewhere.
    pub fn restart_gateway(&mut self, at: usize) -> Drained {
        let gateway = self.gateways[at].take().unwrap();
        gateway.drain.start();
        let drained = gateway.wait().unwrap();
        let again = self.storage.gateway(&self.config, &self.endpoints).unwrap();
        self.balancer.set(at, &again);
        self.gateways[at] = Some(again);
        drained
    }

    /// Cuts one of the two listeners of the services off, with every call under way, and opens it again at the same
    /// address when `pause` is over.
    pub fn kill_front(&mut self, at: usize, pause: impl FnOnce()) {
        let killed = self.fronts[at].take().unwrap();
        let address = killed.address;
        killed.runtime.shutdown_timeout(Duration::from_secs(10));
        pause();
        let mut config = self.config.clone();
        config.http.listen = vec![address];
        let again = poll("the port to be free", || self.storage.front(&config).ok());
        self.fronts[at] = Some(again);
    }

    /// Cuts both listeners of the services off, for good.
    pub fn stop_fronts(&mut self) {
        for front in self.fronts.iter_mut().filter_map(Option::take) {
            front.runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

impl Drop for TestFleet {
    fn drop(&mut self) {
        let running = self.gateways.iter_mut().chain(&mut self.fronts).chain([&mut self.data]);
        for running in running.filter_map(Option::take) {
            running.runtime.shutdown_background();
        }
    }
}

impl Storage {
    /// Opens everything, and the data port.
    fn open(config: &Config, tls: Option<InternalTls>) -> anyhow::Result<(Self, Running)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        create_directory(&config.data_dir)?;
        let secret = secret::load_or_create(&config.data_dir)?;
        let (blobs, index, tokens) = runtime.block_on(async {
            let blobs = open_blobs(config).await?;
            let mut process = Process::new(config);
            let index = Arc::new(open_index(config, &mut process).await?);
            anyhow::Ok((blobs, index, open_tokens(config, &mut process).await?))
        })?;
        // The URLs of the data port hold its address, which is known when it listens.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        drop(listener);
        let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
        let signer = blob_store::DataUrls::new(secret.expose().as_bytes(), &url, config.internal.data_url_lifetime)?;
        let mut data_config = config.clone();
        data_config.http.listen = vec![address];
        let data_tls = tls.as_ref().map(|tls| &tls.data_server);
        let data = Running::launch(&data_config, data_tls, async |_| {
            Ok(blob_store::data_router(blobs.clone(), signer.clone()))
        })?;
        Ok((Self { index, blobs, tokens, signer, secret, tls, runtime: Some(runtime) }, data))
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// A gRPC listener that offers every service.
    fn front(&self, config: &Config) -> anyhow::Result<Running> {
        let tls = self.tls.as_ref().map(|tls| &tls.server);
        Running::launch(config, tls, async |process| {
            let services = Services::new(wire_secret())
                .manifest_index(self.index.clone())
                .upload_index(self.index.clone())
                .blob_links(self.index.clone())
                .garbage_queue(self.index.clone())
                .blob_store(self.blobs.clone(), Arc::new(Signer(self.signer.clone())))
                .token_service(self.tokens.clone());
            Ok(services.health(process.readiness.clone()).into_router())
        })
    }

    fn gateway(&self, config: &Config, endpoints: &[Endpoint]) -> anyhow::Result<Running> {
        Running::launch(config, None, async |process| self.gateway_router(config, endpoints, process))
    }

    fn gateway_router(&self, config: &Config, endpoints: &[Endpoint], process: &mut Process) -> anyhow::Result<Router> {
        // One connection per service, as a gateway of a fleet has.
        let mut peer = ClientConfig::new(endpoints.iter().cloned(), wire_secret());
        peer.tls = self.tls.as_ref().map(|tls| tls.client.clone());
        let connect = || Connection::open(&peer);
        let (index, blobs, tokens) = (connect()?, connect()?, connect()?);
        let tokens = Arc::new(TokenServiceGrpcClient::new(&tokens));
        let shared = crate::notices::open(config, process)?;
        let ports = Ports {
            manifests: Arc::new(ManifestIndexGrpcClient::new(&index)),
            uploads: Arc::new(UploadIndexGrpcClient::new(&index)),
            links: Arc::new(BlobLinksGrpcClient::new(&index)),
            blobs: Arc::new(BlobStoreGrpcClient::new(&blobs)),
            tokens: tokens.clone(),
            notices: shared.notices,
            budget: shared.budget,
        };
        let data_tls = self.tls.as_ref().map(|tls| tls.data_client.clone());
        Ok(public_router(config, &self.secret, ports, tokens, data_tls, SegmentSize::FIRST_PARTS, process))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Hands each connection to the next gateway that is ready.
struct Balancer {
    address: SocketAddr,
    targets: Arc<Targets>,
}

#[derive(Default)]
struct Targets {
    gateways: Mutex<[Option<(SocketAddr, Drain)>; TWO]>,
    next: AtomicUsize,
}

impl Balancer {
    fn start() -> Self {
        let targets = Arc::new(Targets::default());
        let shared = Arc::clone(&targets);
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let targets = Arc::clone(&shared);
                tokio::spawn(async move { targets.forward(client).await });
            }
        });
        Self { address, targets }
    }

    fn set(&self, at: usize, gateway: &Running) {
        self.targets.gateways.lock().unwrap()[at] = Some((gateway.address, gateway.drain.clone()));
    }
}

impl Targets {
    async fn forward(&self, mut client: TcpStream) {
        for _ in 0..TWO {
            let Some(address) = self.choose() else { return };
            // A gateway may close its listener between the choice and the connection: the other takes it.
            if let Ok(mut gateway) = TcpStream::connect(address).await {
                let _ended_either_way = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
                return;
            }
        }
    }

    fn choose(&self) -> Option<SocketAddr> {
        let gateways = self.gateways.lock().unwrap();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let ready = (0..TWO).filter_map(|step| gateways[(start + step) % TWO].as_ref());
        ready.filter(|(_, drain)| !drain.is_draining()).map(|(address, _)| *address).next()
    }
}
