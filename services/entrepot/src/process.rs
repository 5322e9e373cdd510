//! What every process has around its services: logs, signals, the admin port, supervised tasks.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use entrepot_runtime::admin::{self, Readiness};
use entrepot_runtime::listen::{self, Tls};
use entrepot_runtime::serve::{ServeOptions, Server};
use entrepot_runtime::shutdown::Drain;
use entrepot_runtime::tasks::Tasks;
use entrepot_runtime::tls::{ClientTls, MutualFiles, TlsError};
use entrepot_runtime::{BoxError, memory, metrics, telemetry};
use entrepot_sql::Database;
use tokio::net::TcpListener;

use crate::config::{Config, Role};

/// A process being put together. Listeners are bound first, so that their addresses are known and
/// a port in use is the first error seen.
pub struct Process {
    /// Its tasks; the first that fails ends the process.
    pub tasks: Tasks,
    /// What `/readyz` reports.
    pub readiness: Readiness,
    /// Its shutdown state.
    pub drain: Drain,
    databases: Vec<Database>,
}

impl Process {
    /// A process without services yet.
    pub fn new(config: &Config) -> Self {
        // Before any service describes its metrics: descriptions without a recorder are lost.
        metrics::install();
        let drain = Drain::new(config.drain);
        Self {
            tasks: Tasks::new(drain.clone()),
            readiness: Readiness::new(drain.clone()),
            drain,
            databases: Vec::new(),
        }
    }

    /// Closes `database` when the process ends, so that the next start has no log to read.
    pub(crate) fn close_at_end(&mut self, database: &Database) {
        self.databases.push(database.clone());
    }

    /// Makes the process ready only while its databases can be used.
    pub(crate) fn depend_on_databases(&mut self) {
        for database in self.databases.clone() {
            let condition = self.readiness.condition("database");
            let ping = async move || database.ping().await;
            self.background("database watch", crate::watch::database(ping, condition));
        }
    }

    /// Serves `router` on `listeners` until the process drains.
    pub fn serve(
        &mut self,
        name: &'static str,
        listeners: Vec<TcpListener>,
        options: ServeOptions,
        tls: Option<&Tls>,
        router: Router,
    ) {
        let server = Server::new(options, self.drain.clone()).tls(tls);
        self.tasks.spawn::<_, BoxError>(name, async move {
            server.serve(listeners, router).await;
            Ok(())
        });
    }

    /// Serves health and metrics.
    pub fn serve_admin(&mut self, listeners: Vec<TcpListener>) {
        let router = admin::router(self.readiness.clone());
        self.serve("admin port", listeners, ServeOptions::default(), None, router);
        self.background("metrics", async {
            metrics::upkeep().await;
            Ok(())
        });
    }

    /// Adds a task that goes on for as long as anybody is served.
    pub fn background(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), BoxError>> + Send + 'static,
    ) {
        self.tasks.spawn(name, task);
    }

    /// Loads a certificate and keeps watching its files.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn tls(&mut self, config: &Config) -> anyhow::Result<Option<Tls>> {
        let Some(files) = &config.http.tls else { return Ok(None) };
        let tls = Tls::new(files.clone()).context("cannot use the TLS certificate of http.tls_certificate")?;
        let watched = tls.clone();
        self.background("certificate reload", async move {
            watched.watch(Duration::from_secs(10)).await;
            Ok(())
        });
        Ok(Some(tls))
    }

    /// Loads what this service shows to other services and whom it believes, and keeps watching the files.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn internal_tls(&mut self, config: &Config) -> anyhow::Result<Option<InternalTls>> {
        let Some(files) = &config.internal.tls else { return Ok(None) };
        let tls = InternalTls::new(files).context(
            "cannot use the TLS certificate of internal.tls_certificate, internal.tls_key and internal.tls_authorities",
        )?;
        let watched = tls.clone();
        self.background("internal certificate reload", async move {
            watched.watch(Duration::from_secs(10)).await;
            Ok(())
        });
        Ok(Some(tls))
    }

    /// Runs until a signal has drained the process, or a task fails.
    ///
    /// # Errors
    /// The task that failed.
    pub async fn run(mut self) -> anyhow::Result<()> {
        self.tasks.watch_signals().context("cannot install signal handlers")?;
        self.background("end of the start", forget_the_start(self.readiness.clone()));
        self.tasks.run().await?;
        for database in self.databases {
            if let Err(error) = database.close().await {
                tracing::warn!(error = %telemetry::Chain(&error), "a database was not closed cleanly; the next start reads its log");
            }
        }
        Ok(())
    }
}

/// Most of the code that runs before a process is ready never runs again.
async fn forget_the_start(readiness: Readiness) -> Result<(), BoxError> {
    readiness.wait_until(true).await;
    match memory::unmap_program() {
        Ok(bytes) => tracing::debug!(bytes, "the program's pages are given back"),
        Err(error) => tracing::debug!(%error, "the program's pages stay mapped"),
    }
    Ok(())
}

/// TLS between services, in each of its uses.
#[derive(Clone, Debug)]
pub struct InternalTls {
    /// For gRPC: both sides show a certificate.
    pub server: Tls,
    /// For gRPC.
    pub client: ClientTls,
    /// For the data port: its URLs are signed, so that clients without a certificate may be sent there.
    pub data_server: Tls,
    /// For the data port and object stores.
    pub data_client: ClientTls,
}

impl InternalTls {
    /// Loads the files.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn new(files: &MutualFiles) -> Result<Self, TlsError> {
        Ok(Self {
            server: Tls::mutual(files.clone())?,
            client: ClientTls::mutual(files.clone())?,
            data_server: Tls::new(files.identity.clone())?,
            data_client: ClientTls::public(Some(files.clone()))?,
        })
    }

    async fn watch(self, interval: Duration) {
        let Self { server, client, data_server, data_client } = self;
        tokio::join!(
            server.watch(interval),
            client.watch(interval),
            data_server.watch(interval),
            data_client.watch(interval)
        );
    }
}

/// Binds the addresses of `key`.
///
/// # Errors
/// An address is in use or not of this machine.
pub fn bind(key: &str, addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    listen::bind(addresses).with_context(|| format!("cannot use {key}"))
}

/// Runs `main` on a runtime with telemetry installed, and sends what telemetry still holds at the end.
///
/// # Errors
/// What `main` or telemetry failed with.
pub fn block_on<F: Future<Output = anyhow::Result<()>>>(role: Role, config: &Config, main: F) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(role.as_str())
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let telemetry = telemetry::install(&config.telemetry).context("cannot set up logs and traces")?;
        if let Err(error) = listen::raise_open_files_limit() {
            tracing::warn!(error = %telemetry::Chain(&error), "the limit of open files stays as it is");
        }
        let result = main.await;
        telemetry.shutdown().await;
        result
    })
}
