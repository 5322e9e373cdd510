//! From the names of endpoints to the addresses of replicas, again and again.

use std::io;
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use entrepot_runtime::telemetry::Chain;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::members::Members;

/// Between two looks whether it is time to resolve.
const TICK: Duration = Duration::from_millis(500);

/// Finds the addresses behind a name.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, each with `port`.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed()
    }
}

/// Keeps `members` at the addresses of `endpoint`: every `interval`, and at once while none can be reached, because
/// then the replicas may all have moved. A name that cannot be resolved keeps the addresses it had.
pub(super) async fn follow(
    members: Weak<Members>,
    endpoint: Endpoint,
    resolver: std::sync::Arc<dyn Resolve>,
    interval: Duration,
) {
    let mut failed = false;
    let mut last: Option<Instant> = None;
    let mut tick = tokio::time::interval(TICK.min(interval));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(reachable) = members.upgrade().map(|members| members.any_reachable()) else { return };
        if reachable && last.is_some_and(|last| last.elapsed() < interval) {
            continue;
        }
        last = Some(Instant::now());
        match resolver.resolve(endpoint.host(), endpoint.port()).await {
            Ok(addresses) if !addresses.is_empty() => {
                failed = false;
                let Some(members) = members.upgrade() else { return };
                members.update(&endpoint, &addresses);
            }
            Ok(_) if !failed => {
                failed = true;
                tracing::warn!(%endpoint, "the name of a peer has no address");
            }
            Err(error) if !failed => {
                failed = true;
                tracing::warn!(%endpoint, error = %Chain(&error), "the name of a peer cannot be resolved");
            }
            Ok(_) | Err(_) => {}
        }
    }
}
