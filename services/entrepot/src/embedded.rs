//! `entrepot serve`: every service in this process, every port the service itself.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use api_gateway::{AccessMode, Gateway, GatewayConfig, Ports, SegmentSize};
use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use entrepot_core::ports::TokenService;
use entrepot_runtime::config::Secret;
use entrepot_runtime::serve::Peer;
use entrepot_runtime::tls::ClientTls;
use entrepot_token::SessionSigner;
use manifest_index::Index;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::database::{create_directory, open_registry};
use crate::process::{Process, bind};
use crate::secret;
use crate::storage::open_blobs;

/// Runs until the process is told to stop.
///
/// # Errors
/// What could not be opened, bound or kept running.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let listeners = bind("http.listen", &config.http.listen)?;
    let admin = bind("admin.listen", &config.admin_listen)?;
    let mut process = Process::new(&config);
    let tls = process.tls(&config)?;
    let started = process.readiness.condition("storage");
    let router = build(&config, &mut process).await?;
    announce(&config, &listeners, tls.is_some());
    process.serve("http", listeners, config.http.options, tls.as_ref(), router);
    process.serve_admin(admin);
    started.ready();
    process.run().await
}

/// Opens storage, starts background work and builds what the public port serves.
///
/// # Errors
/// Storage that cannot be opened.
pub async fn build(config: &Config, process: &mut Process) -> anyhow::Result<Router> {
    create_directory(&config.data_dir)?;
    let secret = match &config.internal.secret {
        Some(secret) => secret.clone(),
        None => secret::load_or_create(&config.data_dir)?,
    };
    let blobs = open_blobs(config).await?;
    let index = Arc::new(open_index(config, process).await?);
    let tokens = crate::fleet::open_tokens(config, process).await?;

    let shared = crate::notices::open(config, process)?;
    crate::fleet::collect(config, process, index.clone(), blobs.clone(), &shared.notices);
    let ports = Ports {
        manifests: index.clone(),
        uploads: index.clone(),
        links: index,
        blobs,
        tokens: tokens.clone(),
        notices: shared.notices,
        budget: shared.budget,
    };
    Ok(public_router(config, &secret, ports, tokens, None, SegmentSize::LARGEST_PART, process))
}

/// The OCI API and the token endpoint on one router.
pub(crate) fn public_router(
    config: &Config,
    secret: &Secret,
    ports: Ports,
    tokens: Arc<dyn TokenService>,
    data_tls: Option<ClientTls>,
    segment: SegmentSize,
    process: &mut Process,
) -> Router {
    let gateway = GatewayConfig {
        mode: config.auth.mode,
        service: config.auth.service.clone(),
        public_url: config.http.public_url.clone(),
        tls: config.http.tls.is_some(),
        sessions: SessionSigner::new(secret.expose().as_bytes()),
        pull: config.pull.clone(),
        limits: config.limits.admission,
        rates: config.limits.rates,
        segment,
        data_tls,
    };
    let gateway = Gateway::new(&gateway, ports, process.drain.clone());
    let reporting = gateway.clone();
    process.background("load metrics", async move {
        reporting.report_load().await;
        Ok(())
    });
    let listening = gateway.clone().listen();
    process.background("notices", async move {
        listening.await;
        Ok(())
    });
    let tokens = gateway.admit(auth_token::token_routes(tokens).layer(map_request(tell_address)));
    let proxies = config.http.trusted_proxies.clone();
    gateway.router().merge(tokens).layer(map_request(move |mut request: Request| {
        proxies.unmask(&mut request);
        std::future::ready(request)
    }))
}

/// Limits on failed logins count by address, which auth-token takes from the request's extensions.
async fn tell_address(mut request: Request) -> Request {
    if let Some(peer) = request.extensions().get::<Peer>().copied() {
        request.extensions_mut().insert(peer.address);
    }
    request
}

pub(crate) async fn open_index(config: &Config, process: &mut Process) -> anyhow::Result<Index> {
    let (database, options) = open_registry(config)?;
    process.close_at_end(&database);
    Index::open(database, options).await.context("cannot use the metadata database")
}

/// Tells the person in front of the terminal how to use what just started.
#[expect(clippy::print_stdout, reason = "the greeting of an interactive command; logs go to standard error")]
fn announce(config: &Config, listeners: &[TcpListener], tls: bool) {
    let Some(address) = listeners.first().and_then(|listener| listener.local_addr().ok()) else { return };
    let host = display_host(address);
    let scheme = if tls { "https" } else { "http" };
    println!("entrepot is ready on {scheme}://{host}, data in {}", config.data_dir.display());
    if config.auth.mode == AccessMode::Open {
        println!("\nPush an image:\n  docker tag IMAGE {host}/library/IMAGE\n  docker push {host}/library/IMAGE\n");
    } else {
        println!("\nLog in, then push:\n  docker login {host}\n  docker push {host}/TEAM/IMAGE\n");
    }
}

fn display_host(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}
