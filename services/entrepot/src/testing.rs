//! A whole registry inside a test: the real composition on a free port, in either topology, with a
//! client to talk to it. Everything here blocks and panics where an expectation does not hold.
#![expect(clippy::unwrap_used, reason = "only tests call this module, and a panic is how they fail")]

pub mod fleet;
mod gateways;
pub mod http;
mod poll;

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api_gateway::{Ports, SegmentSize};
use auth_token::Admin;
use axum::Router;
use entrepot_proto::server::Services;
use entrepot_proto::testing::{connect, secret as wire_secret};
use entrepot_proto::{
    BlobLinksGrpcClient, BlobStoreGrpcClient, ManifestIndexGrpcClient, TokenServiceGrpcClient, UploadIndexGrpcClient,
};
use entrepot_runtime::config::Source;
use entrepot_runtime::listen::Tls;
use entrepot_runtime::serve::ServeOptions;
use entrepot_runtime::shutdown::{Drain, Drained};
use entrepot_runtime::tasks::TaskError;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::config::{Config, Role};
use crate::database::{create_directory, open_accounts};
use crate::embedded::{self, open_index, public_router};
use crate::fleet::{Signer, open_tokens};
use crate::process::{Process, bind};
use crate::secret;
use crate::storage::open_blobs;

pub use self::gateways::TestGateways;
pub use self::poll::poll;

/// How the services reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// As `entrepot serve` does: every port is the service itself.
    Local,
    /// As in a fleet: every port is a gRPC client, blobs are read through the data port.
    Grpc,
    /// A gateway of [`TestGateways`], and nothing else.
    Gateway,
}

/// A registry that is about to be started.
pub struct Builder {
    topology: Topology,
    source: Source,
}

impl Builder {
    /// Sets a configuration key, as a flag would.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.source.set(key, value);
        self
    }

    /// Starts it over a new directory; with the feature `postgres-tests`, its metadata in a PostgreSQL database of its own.
    pub fn start(mut self) -> TestRegistry {
        let directory = tempfile::tempdir().unwrap();
        #[cfg(feature = "postgres-tests")]
        let database = http::runtime().block_on(entrepot_sql::testing::Scratch::make()).unwrap();
        #[cfg(feature = "postgres-tests")]
        {
            self.source.set("database.url", database.url());
            self.source.set("database.migrate", "true");
            self.source.set("database.max_connections", "4");
        }
        self.source.set("storage.data_dir", directory.path().display().to_string());
        let (config, _) = Config::read(&self.source, Role::Embedded).unwrap();
        let running = Some(Running::start(self.topology, &config).unwrap());
        TestRegistry {
            topology: self.topology,
            config,
            directory: Arc::new(directory),
            running,
            #[cfg(feature = "postgres-tests")]
            _database: Some(database),
        }
    }
}

/// A running registry with a directory of its own.
pub struct TestRegistry {
    topology: Topology,
    config: Config,
    directory: Arc<TempDir>,
    running: Option<Running>,
    #[cfg(feature = "postgres-tests")]
    _database: Option<entrepot_sql::testing::Scratch>,
}

impl TestRegistry {
    /// A registry in mode `open` with the defaults, but for the addresses.
    pub fn builder(topology: Topology) -> Builder {
        let builder = Builder { topology, source: Source::default() };
        builder
            .set("http.listen", "127.0.0.1:0")
            .set("internal.data_listen", "127.0.0.1:0")
            .set("shutdown.timeout", "10s")
    }

    /// A registry in mode `open`.
    pub fn open(topology: Topology) -> Self {
        Self::builder(topology).start()
    }

    /// A registry in mode `managed`, without accounts and grants.
    pub fn managed(topology: Topology) -> Self {
        Self::builder(topology).set("auth.mode", "managed").start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// How its services reach each other.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// The directory of everything it stores.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Files with blob bytes, sealed or not, relative to the blob storage and sorted; each with its size.
    pub fn stored_files(&self) -> Vec<(PathBuf, u64)> {
        let root = self.data_dir().join("blobs");
        let mut files = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.file_name().unwrap() != ".lock" {
                    let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                    files.push((path.strip_prefix(&root).unwrap().to_owned(), size));
                }
            }
        }
        files.sort();
        files
    }

    /// A connection for bytes of the test's own making; reads give up after 20 s.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Adds a user who may do `actions` on each pattern of `grants`.
    pub fn add_user(&self, name: &str, password: &str, grants: &[(&str, &str)]) {
        self.admin(async |admin| {
            admin.add_user(name, password).await.unwrap();
            for (pattern, actions) in grants {
                admin.grant(name, pattern, actions).await.unwrap();
            }
        });
    }

    /// Does something to accounts and grants, as the commands of the command line do.
    pub fn admin(&self, act: impl AsyncFnOnce(&Admin)) {
        http::runtime().block_on(async {
            let admin = Admin::open(open_accounts(&self.config).unwrap()).await.unwrap();
            act(&admin).await;
        });
    }

    /// Begins the shutdown, as SIGTERM does.
    pub fn drain(&self) {
        self.running().drain.start();
    }

    /// Waits for the end of a shutdown that has begun.
    pub fn wait(&mut self) -> Drained {
        self.running.take().unwrap().wait().unwrap()
    }

    /// Shuts down in order and starts again on the same directory, at another port.
    pub fn restart(&mut self) {
        self.drain();
        self.wait();
        self.start_again();
    }

    /// Ends it as SIGKILL does: whatever it is doing is dropped.
    pub fn kill(&mut self) {
        self.running.take().unwrap().runtime.shutdown_timeout(Duration::from_secs(10));
    }

    /// Drops whatever the registry is doing and starts again on the same directory, at another port.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    fn start_again(&mut self) {
        // Blocking work of the old one holds the storage until it is through.
        let started = poll("the registry to start again", || Running::start(self.topology, &self.config).ok());
        self.running = Some(started);
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the registry was stopped")
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.runtime.shutdown_background();
        }
    }
}

/// A registry's own runtime: dropping it ends everything the registry does.
struct Running {
    runtime: Runtime,
    address: SocketAddr,
    drain: Drain,
    finished: JoinHandle<Result<Drained, TaskError>>,
}

impl Running {
    fn start(topology: Topology, config: &Config) -> anyhow::Result<Self> {
        Self::launch(config, None, async |process| match topology {
            Topology::Local => embedded::build(config, process).await,
            Topology::Grpc => over_grpc(config, process).await,
            Topology::Gateway => crate::fleet::gateway_router(config, process),
        })
    }

    /// Serves what `build` makes at the addresses of `http.listen`.
    fn launch(
        config: &Config,
        tls: Option<&Tls>,
        build: impl AsyncFnOnce(&mut Process) -> anyhow::Result<Router>,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let started = runtime.block_on(async {
            let listeners = bind("http.listen", &config.http.listen)?;
            let address = listeners.first().context("no listener")?.local_addr()?;
            let mut process = Process::new(config);
            let router = build(&mut process).await?;
            process.serve("http", listeners, config.http.options, tls, router);
            let drain = process.drain.clone();
            anyhow::Ok((address, drain, tokio::spawn(process.tasks.run())))
        });
        let (address, drain, finished) = match started {
            Ok(started) => started,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Self { runtime, address, drain, finished })
    }

    fn wait(self) -> anyhow::Result<Drained> {
        let drained = self.runtime.block_on(self.finished)??;
        self.runtime.shutdown_timeout(Duration::from_secs(10));
        Ok(drained)
    }
}

/// The services of a fleet, joined by gRPC in memory and a data port on loopback.
async fn over_grpc(config: &Config, process: &mut Process) -> anyhow::Result<Router> {
    create_directory(&config.data_dir)?;
    let secret = secret::load_or_create(&config.data_dir)?;
    let blobs = open_blobs(config).await?;
    let index = Arc::new(open_index(config, process).await?);
    let tokens = open_tokens(config, process).await?;

    let data = bind("internal.data_listen", &config.internal.data_listen)?;
    let url = format!("http://{}", data.first().context("no data port")?.local_addr()?);
    let signer = blob_store::DataUrls::new(secret.expose().as_bytes(), &url, config.internal.data_url_lifetime)?;
    let data_router = blob_store::data_router(blobs.clone(), signer.clone());
    process.serve("data port", data, ServeOptions::default(), None, data_router);

    let services = || Services::new(wire_secret());
    let blobs = connect(services().blob_store(blobs, Arc::new(Signer(signer))));
    let tokens = connect(services().token_service(tokens));
    let index = connect(services().manifest_index(index.clone()).upload_index(index.clone()).blob_links(index));
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
    Ok(public_router(config, &secret, ports, tokens, None, SegmentSize::FIRST_PARTS, process))
}
