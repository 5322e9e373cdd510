//! Several gateways over the same services, joined by real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use auth_token::Admin;
use entrepot_proto::InternalSecret;
use entrepot_proto::server::Services;
use entrepot_runtime::config::Source;
use entrepot_runtime::serve::ServeOptions;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Running, TestRegistry, Topology, http};
use crate::config::{Config, Role};
use crate::database::{create_directory, open_accounts};
use crate::embedded::open_index;
use crate::fleet::{Signer, open_tokens};
use crate::process::{Process, bind};
use crate::storage::open_blobs;

const SECRET: &str = "secret-of-the-tests-of-32-letters";

/// manifest-index, blob-store and auth-token, and any number of gateways before them.
pub struct TestGateways {
    source: Source,
    directory: Arc<TempDir>,
    tokens: Option<Service>,
    _storage: Service,
}

/// One process of a fleet, with a runtime of its own: dropping it ends everything it does.
struct Service {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl TestGateways {
    /// A fleet in mode `open` or `managed`, with more settings where given.
    pub fn start(mode: &str, settings: &[(&str, &str)]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut source = Source::default();
        for (key, value) in [
            ("auth.mode", mode),
            ("http.listen", "127.0.0.1:0"),
            ("internal.listen", "127.0.0.1:0"),
            ("internal.data_listen", "127.0.0.1:0"),
            ("internal.secret", SECRET),
            ("shutdown.timeout", "10s"),
        ]
        .iter()
        .chain(settings)
        {
            source.set(key, (*value).to_owned());
        }
        source.set("storage.data_dir", directory.path().display().to_string());
        let (config, _) = Config::read(&source, Role::Embedded).unwrap();
        let storage = Service::start(&config, async |process| storage(&config, process).await);
        for key in ["internal.manifest_index", "internal.blob_store"] {
            source.set(key, format!("http://{}", storage.address));
        }
        let mut fleet = Self { source, directory, tokens: None, _storage: storage };
        fleet.start_tokens();
        fleet
    }

    /// Starts auth-token at a new address; gateways that are started later find it there.
    pub fn start_tokens(&mut self) {
        let (config, _) = Config::read(&self.source, Role::Embedded).unwrap();
        let tokens = Service::start(&config, async |process| {
            Ok(Services::new(InternalSecret::new(SECRET)?).token_service(open_tokens(&config, process).await?))
        });
        self.source.set("internal.auth_token", format!("http://{}", tokens.address));
        self.tokens = Some(tokens);
    }

    /// Ends auth-token as SIGKILL does.
    pub fn kill_tokens(&mut self) {
        self.tokens = None;
    }

    /// Starts one more gateway.
    pub fn gateway(&self) -> TestRegistry {
        let (config, _) = Config::read(&self.source, Role::Embedded).unwrap();
        let running = Some(Running::start(Topology::Gateway, &config).unwrap());
        TestRegistry {
            topology: Topology::Gateway,
            config,
            directory: Arc::clone(&self.directory),
            running,
            #[cfg(feature = "postgres-tests")]
            _database: None,
        }
    }

    /// Does something to accounts and grants, as the commands of the command line do.
    pub fn admin(&self, act: impl AsyncFnOnce(&Admin)) {
        let (config, _) = Config::read(&self.source, Role::Embedded).unwrap();
        http::runtime().block_on(async {
            let admin = Admin::open(open_accounts(&config).unwrap()).await.unwrap();
            act(&admin).await;
        });
    }
}

/// manifest-index and blob-store.
async fn storage(config: &Config, process: &mut Process) -> anyhow::Result<Services> {
    create_directory(&config.data_dir)?;
    let blobs = open_blobs(config).await?;
    let index = Arc::new(open_index(config, process).await?);
    let data = bind("internal.data_listen", &config.internal.data_listen)?;
    let url = format!("http://{}", data.first().context("no data port")?.local_addr()?);
    let signer = blob_store::DataUrls::new(SECRET.as_bytes(), &url, config.internal.data_url_lifetime)?;
    let data_router = blob_store::data_router(blobs.clone(), signer.clone());
    process.serve("data port", data, ServeOptions::default(), None, data_router);
    Ok(Services::new(InternalSecret::new(SECRET)?)
        .blob_store(blobs, Arc::new(Signer(signer)))
        .manifest_index(index.clone())
        .upload_index(index.clone())
        .blob_links(index))
}

impl Service {
    fn start(config: &Config, services: impl AsyncFnOnce(&mut Process) -> anyhow::Result<Services>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let address = runtime.block_on(async {
            let listeners = bind("internal.listen", &config.internal.listen).unwrap();
            let address = listeners[0].local_addr().unwrap();
            let mut process = Process::new(config);
            let services = services(&mut process).await.unwrap();
            process.serve("grpc", listeners, ServeOptions::between_services(), None, services.into_router());
            tokio::spawn(process.tasks.run());
            address
        });
        Self { runtime: Some(runtime), address }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
