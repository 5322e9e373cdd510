//! One service of a fleet: its own ports are served over gRPC, those it needs are gRPC clients.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use api_gateway::{AccessMode, Ports, SegmentSize};
use auth_token::{Auth, AuthConfig, Mode};
use axum::Router;
use entrepot_core::ports::{BlobStore, GarbageQueue, Notices, TokenService};
use entrepot_proto::InternalSecret;
use entrepot_proto::client::{
    BlobLinksGrpcClient, BlobStoreGrpcClient, ClientConfig, Connection, Endpoint, GarbageQueueGrpcClient,
    ManifestIndexGrpcClient, TokenServiceGrpcClient, UploadIndexGrpcClient,
};
use entrepot_proto::server::{Services, SignUrl};
use entrepot_runtime::config::Secret;
use entrepot_runtime::serve::ServeOptions;
use gc_worker::{Worker, WorkerConfig};

use crate::config::{BlobStorage, Config, Role};
use crate::database::{create_directory, open_accounts};
use crate::embedded::{open_index, public_router};
use crate::process::{InternalTls, Process, bind};
use crate::storage::open_blobs;

/// Runs one service until the process is told to stop.
///
/// # Errors
/// What could not be opened, bound or kept running.
pub async fn run(role: Role, config: Config) -> anyhow::Result<()> {
    let mut process = Process::new(&config);
    let admin = bind("admin.listen", &config.admin_listen)?;
    let started = process.readiness.condition("started");
    match role {
        Role::Embedded | Role::Accounts => return Err(anyhow!("{} is not one service", role.as_str())),
        Role::ApiGateway => api_gateway(&config, &mut process)?,
        Role::AuthToken => {
            let tls = process.internal_tls(&config)?;
            let tokens = open_tokens(&config, &mut process).await?;
            process.depend_on_databases();
            let services = Services::new(secret(&config)?.0).token_service(tokens);
            serve_grpc(&config, &mut process, tls.as_ref(), services)?;
        }
        Role::BlobStore => blob_store(&config, &mut process).await?,
        Role::ManifestIndex => {
            let tls = process.internal_tls(&config)?;
            let index = Arc::new(open_index(&config, &mut process).await?);
            process.depend_on_databases();
            let services = Services::new(secret(&config)?.0)
                .manifest_index(index.clone())
                .upload_index(index.clone())
                .blob_links(index.clone())
                .garbage_queue(index);
            serve_grpc(&config, &mut process, tls.as_ref(), services)?;
        }
        Role::GcWorker => gc_worker(&config, &mut process)?,
    }
    process.serve_admin(admin);
    started.ready();
    tracing::info!(service = role.as_str(), "ready");
    process.run().await
}

fn api_gateway(config: &Config, process: &mut Process) -> anyhow::Result<()> {
    let listeners = bind("http.listen", &config.http.listen)?;
    let tls = process.tls(config)?;
    let router = gateway_router(config, process)?;
    process.serve("http", listeners, config.http.options, tls.as_ref(), router);
    Ok(())
}

/// What the public port of a gateway serves.
pub(crate) fn gateway_router(config: &Config, process: &mut Process) -> anyhow::Result<Router> {
    let (internal, secret) = secret(config)?;
    let peers = Peers { tls: process.internal_tls(config)?, secret: internal };
    let index = peers.connect("internal.manifest_index", &config.internal.manifest_index)?;
    let blobs = peers.connect("internal.blob_store", &config.internal.blob_store)?;
    let tokens = peers.connect("internal.auth_token", &config.internal.auth_token)?;
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
    let data_tls = peers.tls.map(|tls| tls.data_client);
    Ok(public_router(config, &secret, ports, tokens, data_tls, SegmentSize::FIRST_PARTS, process))
}

async fn blob_store(config: &Config, process: &mut Process) -> anyhow::Result<()> {
    let (internal, secret) = secret(config)?;
    let tls = process.internal_tls(config)?;
    if matches!(config.blobs, BlobStorage::S3(_)) {
        // Its objects are read where they lie, so there is no data port; and nothing is kept here.
        let services = Services::new(internal).blob_store(open_blobs(config).await?, Arc::new(Elsewhere));
        return serve_grpc(config, process, tls.as_ref(), services);
    }
    create_directory(&config.data_dir)?;
    let listeners = bind("internal.data_listen", &config.internal.data_listen)?;
    let address = listeners.first().map(tokio::net::TcpListener::local_addr).transpose()?;
    let url = match (&config.internal.data_url, address) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => format!("{}://{address}", config.internal.scheme()),
        (None, None) => return Err(anyhow!("internal.data_listen is empty, so nobody could read a blob")),
    };
    let blobs = open_blobs(config).await?;
    let signer = blob_store::DataUrls::new(secret.expose().as_bytes(), &url, config.internal.data_url_lifetime)
        .context("cannot sign data URLs with internal.secret")?;
    let router = blob_store::data_router(blobs.clone(), signer.clone());
    let data_tls = tls.as_ref().map(|tls| &tls.data_server);
    process.serve("data port", listeners, ServeOptions::default(), data_tls, router);
    let services = Services::new(internal).blob_store(blobs, Arc::new(Signer(signer)));
    serve_grpc(config, process, tls.as_ref(), services)
}

/// Lets the gRPC server sign URLs without blob-store knowing gRPC.
pub(crate) struct Signer(pub(crate) blob_store::DataUrls);

impl SignUrl for Signer {
    fn sign_url(&self, key: entrepot_core::StorageKey, _size: u64) -> String {
        self.0.sign(key)
    }
}

/// For a store that signs URLs itself: it is never asked.
struct Elsewhere;

impl SignUrl for Elsewhere {
    fn sign_url(&self, key: entrepot_core::StorageKey, _size: u64) -> String {
        key.to_string()
    }
}

fn gc_worker(config: &Config, process: &mut Process) -> anyhow::Result<()> {
    let peers = Peers { tls: process.internal_tls(config)?, secret: secret(config)?.0 };
    let index = peers.connect("internal.manifest_index", &config.internal.manifest_index)?;
    let blobs = peers.connect("internal.blob_store", &config.internal.blob_store)?;
    let queue = Arc::new(GarbageQueueGrpcClient::new(&index));
    let notices = crate::notices::open(config, process)?.notices;
    collect(config, process, queue, Arc::new(BlobStoreGrpcClient::new(&blobs)), &notices);
    Ok(())
}

fn serve_grpc(
    config: &Config,
    process: &mut Process,
    tls: Option<&InternalTls>,
    services: Services,
) -> anyhow::Result<()> {
    let listeners = bind("internal.listen", &config.internal.listen)?;
    let router: Router = services.health(process.readiness.clone()).into_router();
    process.serve("grpc", listeners, ServeOptions::between_services(), tls.map(|tls| &tls.server), router);
    Ok(())
}

/// Runs a garbage worker for as long as the process.
pub(crate) fn collect(
    config: &Config,
    process: &mut Process,
    queue: Arc<dyn GarbageQueue>,
    blobs: Arc<dyn BlobStore>,
    notices: &Arc<dyn Notices>,
) {
    let settings =
        WorkerConfig { interval: config.gc.interval, upload_idle: config.gc.upload_idle, ..WorkerConfig::default() };
    let worker = Worker::new(queue, blobs, settings);
    crate::notices::wake(process, notices, worker.poke());
    process.background("gc-worker", worker.run());
}

/// The token service over the database of accounts.
pub(crate) async fn open_tokens(config: &Config, process: &mut Process) -> anyhow::Result<Arc<dyn TokenService>> {
    let mode = match config.auth.mode {
        AccessMode::Open => Mode::Open,
        AccessMode::Managed => Mode::Managed,
    };
    let settings =
        AuthConfig { token_lifetime: config.auth.token_lifetime, ..AuthConfig::new(mode, &config.auth.service) };
    let database = open_accounts(config)?;
    process.close_at_end(&database);
    let auth = Auth::open(database, settings).await.context("cannot open the token service")?;
    Ok(Arc::new(auth))
}

fn secret(config: &Config) -> anyhow::Result<(InternalSecret, Secret)> {
    let secret = config.internal.secret.clone().context("internal.secret is missing")?;
    Ok((InternalSecret::new(secret.expose()).context("internal.secret cannot be used")?, secret))
}

/// How this service calls others.
struct Peers {
    tls: Option<InternalTls>,
    secret: InternalSecret,
}

impl Peers {
    /// Connects to every replica that `key` names.
    fn connect(&self, key: &str, endpoints: &[Endpoint]) -> anyhow::Result<Connection> {
        let mut config = ClientConfig::new(endpoints.iter().cloned(), self.secret.clone());
        config.tls = self.tls.as_ref().map(|tls| tls.client.clone());
        Connection::open(&config).with_context(|| format!("cannot use {key}"))
    }
}
