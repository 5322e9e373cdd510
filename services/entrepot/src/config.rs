//! The one configuration schema of all services: see `docs/configuration.md`, which is made from it.

mod database;
mod internal;
mod limits;
mod pull;
mod redis;
mod s3;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use api_gateway::{AccessMode, RedirectPolicy};
use entrepot_proto::InternalSecret;
use entrepot_runtime::config::{ConfigErrors, Reader, Reference, Source};
use entrepot_runtime::listen::CertificateFiles;
use entrepot_runtime::network::{Networks, TrustedProxies};
use entrepot_runtime::serve::ServeOptions;
use entrepot_runtime::shutdown::DrainConfig;
use entrepot_runtime::telemetry::{self, LogFormat, TelemetryConfig};

pub use self::internal::Internal;
pub use self::limits::Limits;
pub use self::redis::Redis;
pub use self::s3::BlobStorage;
pub use database::Database;

/// Every setting, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The public port of api-gateway.
    pub http: Http,
    /// Addresses of the admin port: health and metrics.
    pub admin_listen: Vec<SocketAddr>,
    /// Where embedded storage lies.
    pub data_dir: PathBuf,
    /// Where metadata and accounts are kept.
    pub database: Database,
    /// Which clients are sent to the storage.
    pub pull: RedirectPolicy,
    /// What may be in flight at once, and asked for in a time.
    pub limits: Limits,
    /// Where blobs lie.
    pub blobs: BlobStorage,
    /// Who may do what.
    pub auth: Auth,
    /// How the services of a fleet reach each other.
    pub internal: Internal,
    /// Collection of what nothing names any more.
    pub gc: Gc,
    /// What only saves waiting.
    pub redis: Redis,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// How the process ends.
    pub drain: DrainConfig,
}

/// The public port of api-gateway.
#[derive(Clone, Debug)]
pub struct Http {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// URL under which clients reach the registry.
    pub public_url: Option<String>,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<CertificateFiles>,
    /// Proxies that say who their client is.
    pub trusted_proxies: TrustedProxies,
    /// Limits of the server.
    pub options: ServeOptions,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Auth {
    /// `open` or `managed`.
    pub mode: AccessMode,
    /// Name of the registry in tokens.
    pub service: String,
    /// How long a token lives.
    pub token_lifetime: Duration,
    /// Accept mode `open` on an address that others can reach.
    pub allow_open_network: bool,
}

/// Collection of what nothing names any more.
#[derive(Clone, Copy, Debug)]
pub struct Gc {
    /// Pause between two rounds.
    pub interval: Duration,
    /// An upload of which no request ended for so long is abandoned.
    pub upload_idle: Duration,
}

/// What runs in this process; some defaults and requirements depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All services in one process.
    Embedded,
    /// api-gateway.
    ApiGateway,
    /// auth-token.
    AuthToken,
    /// blob-store.
    BlobStore,
    /// manifest-index.
    ManifestIndex,
    /// gc-worker.
    GcWorker,
    /// A command that works on the databases; listens nowhere and needs no secret.
    Accounts,
}

impl Role {
    /// The name in logs and traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "entrepot",
            Self::ApiGateway => "api-gateway",
            Self::AuthToken => "auth-token",
            Self::BlobStore => "blob-store",
            Self::ManifestIndex => "manifest-index",
            Self::GcWorker => "gc-worker",
            Self::Accounts => "entrepot",
        }
    }
}

/// auth-token gives no token a longer life.
const LONGEST_TOKEN: Duration = Duration::from_secs(300);

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Config {
    /// Reads every setting; all mistakes are reported together.
    ///
    /// # Errors
    /// What is wrong, each with its key.
    pub fn read(source: &Source, role: Role) -> Result<(Self, Reference), ConfigErrors> {
        let mut reader = Reader::new(source);
        let config = Self {
            http: Http::read(&mut reader),
            admin_listen: reader.list(
                "admin.listen",
                vec![local(5050)],
                "Addresses of /livez, /readyz and /metrics; empty for none.",
            ),
            data_dir: reader.field(
                "storage.data_dir",
                PathBuf::from("./entrepot-data"),
                "Directory of embedded storage; one process owns it.",
            ),
            database: Database::read(&mut reader),
            pull: pull::read(&mut reader),
            limits: Limits::read(&mut reader),
            blobs: BlobStorage::read(&mut reader),
            auth: Auth::read(&mut reader),
            internal: Internal::read(&mut reader),
            gc: Gc::read(&mut reader),
            redis: Redis::read(&mut reader),
            telemetry: log_and_traces(&mut reader, role),
            drain: drain(&mut reader, role),
        };
        config.check(role, &mut reader);
        let reference = reader.finish()?;
        Ok((config, reference))
    }

    fn check(&self, role: Role, reader: &mut Reader<'_>) {
        self.check_credentials(role, reader);
        let gateway = matches!(role, Role::Embedded | Role::ApiGateway);
        if gateway && self.auth.mode == AccessMode::Open && !self.auth.allow_open_network {
            for address in self.http.listen.iter().filter(|address| !address.ip().is_loopback()) {
                reader.reject(
                    "http.listen",
                    format!("{address} can be reached from other machines and auth.mode is open, so anybody could push and delete; \
                             set auth.mode = \"managed\", or auth.allow_open_network = true if that is meant"),
                );
            }
        }
        if matches!(role, Role::Embedded | Role::Accounts) {
            return;
        }
        self.check_internal(role, reader);
    }

    fn check_credentials(&self, role: Role, reader: &mut Reader<'_>) {
        if self.auth.token_lifetime < Duration::from_secs(1) || self.auth.token_lifetime > LONGEST_TOKEN {
            reader.reject("auth.token_lifetime", "must be 1s to 5m: nothing but its end takes a token back");
        }
        // Both are quoted in challenges.
        for (key, value) in
            [("auth.service", Some(&self.auth.service)), ("http.public_url", self.http.public_url.as_ref())]
        {
            let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
            if value.is_some_and(|text| text.is_empty() || !fits(text)) {
                reader.reject(key, "must be visible ASCII characters without quotes and backslashes, at least one");
            }
        }
        // Also where it signs uploads only: who guesses it can write to any of them.
        let secret = self.internal.secret.as_ref().filter(|_| role != Role::Accounts);
        if let Some(Err(error)) = secret.map(|secret| InternalSecret::new(secret.expose())) {
            reader.reject("internal.secret", format!("cannot be used: {error}"));
        }
    }

    fn check_internal(&self, role: Role, reader: &mut Reader<'_>) {
        if matches!(role, Role::ApiGateway | Role::AuthToken) && !reader.is_set("auth.mode") {
            reader.reject(
                "auth.mode",
                "must be said in a fleet, the same for api-gateway and auth-token: open or managed",
            );
        }
        self.internal.check(role, matches!(self.blobs, BlobStorage::Files), reader);
    }
}

impl Http {
    fn read(reader: &mut Reader<'_>) -> Self {
        let certificate: Option<PathBuf> =
            reader.optional("http.tls_certificate", "PEM file with the certificate chain; read again when it changes.");
        let key: Option<PathBuf> = reader.optional("http.tls_key", "PEM file with the private key.");
        if certificate.is_some() != key.is_some() {
            let missing = if key.is_none() { "http.tls_key" } else { "http.tls_certificate" };
            reader.reject(missing, "is missing: TLS needs both http.tls_certificate and http.tls_key");
        }
        let public_url: Option<String> = reader.optional(
            "http.public_url",
            "URL under which clients reach the registry; without it the Host of each request is taken.",
        );
        if public_url.as_deref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            reader.reject("http.public_url", "must begin with http:// or https://");
        }
        let host = public_url.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
        if host.is_some_and(|host| host.trim_end_matches('/').contains(['/', '?', '#'])) {
            reader.reject("http.public_url", "must have no path: clients look for a registry at the root of its host");
        }
        Self {
            listen: reader.list("http.listen", vec![local(5000)], "Addresses of the registry."),
            public_url,
            tls: certificate.zip(key).map(|(certificate, key)| CertificateFiles { certificate, key }),
            trusted_proxies: TrustedProxies::new(Networks::new(reader.list(
                "http.trusted_proxies",
                Vec::new(),
                "Networks of proxies and load balancers whose X-Forwarded-For tells the client's address; only those that set it themselves.",
            ))),
            options: ServeOptions::read(reader, "http"),
        }
    }
}

impl Auth {
    fn read(reader: &mut Reader<'_>) -> Self {
        let modes = [("open", AccessMode::Open), ("managed", AccessMode::Managed)];
        Self {
            mode: reader.choice(
                "auth.mode",
                AccessMode::Open,
                &modes,
                "Who may do what: everybody everything, or by users and grants.",
            ),
            service: reader.field(
                "auth.service",
                "entrepot".to_owned(),
                "Name of the registry in tokens; the same for all its services.",
            ),
            token_lifetime: reader.field(
                "auth.token_lifetime",
                Duration::from_secs(300),
                "How long a token lives, at most 5m.",
            ),
            allow_open_network: reader.field(
                "auth.allow_open_network",
                false,
                "Accept mode open on addresses that other machines reach.",
            ),
        }
    }
}

impl Gc {
    fn read(reader: &mut Reader<'_>) -> Self {
        let gc = Self {
            interval: reader.field(
                "gc.interval",
                Duration::from_secs(60),
                "Pause between two rounds of gc-worker, at least 10ms.",
            ),
            upload_idle: reader.field(
                "gc.upload_idle",
                Duration::from_secs(24 * 3600),
                "An upload of which no request ended for so long is abandoned, at least 1s; longer than the longest single request takes.",
            ),
        };
        if gc.interval < Duration::from_millis(10) {
            reader.reject("gc.interval", "must be at least 10ms");
        }
        if gc.upload_idle < Duration::from_secs(1) {
            reader.reject("gc.upload_idle", "must be at least 1s: uploads under way would be removed");
        }
        gc
    }
}

fn log_and_traces(reader: &mut Reader<'_>, role: Role) -> TelemetryConfig {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let default = if role == Role::Embedded { LogFormat::Text } else { LogFormat::Json };
    let sample: u32 = reader.field(
        "traces.sample_percent",
        100,
        "Share of new traces that is exported; a caller's decision is followed.",
    );
    if sample > 100 {
        reader.reject("traces.sample_percent", "must be 0 to 100");
    }
    let otlp_endpoint = reader.optional(
        "traces.otlp_endpoint",
        "OTLP gRPC endpoint such as http://127.0.0.1:4317; without it no traces are exported.",
    );
    let is_url = |text: &String| text.starts_with("http://") || text.starts_with("https://");
    if otlp_endpoint.as_ref().is_some_and(|endpoint| !is_url(endpoint)) {
        reader.reject("traces.otlp_endpoint", "must begin with http:// or https://");
    }
    let filter = reader.field("log.level", "info".to_owned(), "Level, or directives such as info,h2=debug.");
    if let Err(reason) = telemetry::check_filter(&filter) {
        reader.reject("log.level", reason);
    }
    TelemetryConfig {
        service_name: role.as_str().to_owned(),
        filter,
        format: reader.choice(
            "log.format",
            default,
            &formats,
            "Text for people, json for machines; a fleet's services default to json.",
        ),
        otlp_endpoint,
        sample_ratio: f64::from(sample.min(100)) / 100.0,
    }
}

/// On a laptop Ctrl-C should not wait for endpoints to propagate.
fn drain(reader: &mut Reader<'_>, role: Role) -> DrainConfig {
    let default = DrainConfig::default();
    let grace = if role == Role::Embedded { Duration::ZERO } else { default.grace };
    DrainConfig {
        grace: reader.field(
            "shutdown.grace",
            grace,
            "Time between losing readiness and closing the listeners; 10s for the services of a fleet.",
        ),
        timeout: reader.field("shutdown.timeout", default.timeout, "Time for requests in flight to finish after that."),
    }
}
