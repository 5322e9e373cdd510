//! The registry under test as real processes: started on free ports of loopback, polled until it is ready,
//! killed and restarted by process id, its logs shown when it fails.

mod distribution;
mod entrepot;
mod scale;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::api::Api;
use crate::balancer::Balancer;
use crate::environment::{self, Target};
use crate::http::{Client, Credentials, Request};
use crate::process::Daemon;
use crate::tls::Authority;
use crate::{poll, ports};

pub use entrepot::Commands;
use entrepot::Replica;
pub use scale::{Engines, Scale, Wanted};

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(30);
/// A stop that takes longer has failed; running requests have ended by then.
const STOP: Duration = Duration::from_secs(20);

/// One process for all, one for each service, or several for each behind a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// `entrepot serve`.
    Embedded,
    /// `entrepot api-gateway`, `auth-token`, `blob-store`, `manifest-index` and `gc-worker`.
    Fleet,
    /// Two and more of each, over PostgreSQL, S3 and Redis, behind a balancer that is not sticky: [`Scale`].
    Scale,
}

/// Who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody anything.
    Open,
    /// Only [`credentials`] may, after authentication.
    Managed,
}

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In the clear.
    Http,
    /// With a certificate of an authority made for the run.
    Tls,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Number of processes.
    pub topology: Topology,
    /// Authentication.
    pub access: Access,
    /// Encryption.
    pub transport: Transport,
    /// The loopback address to listen on.
    pub address: IpAddr,
    /// Where bytes and metadata go, if not into a temporary folder.
    pub data: Option<PathBuf>,
    /// How many of each and on what, in [`Topology::Scale`].
    pub scale: Scale,
    /// More settings for every process: environment variables and their values.
    pub settings: Vec<(String, String)>,
}

impl Setup {
    /// Open and in the clear.
    #[must_use]
    pub fn plain(topology: Topology) -> Self {
        Self {
            topology,
            access: Access::Open,
            transport: Transport::Http,
            address: Ipv4Addr::LOCALHOST.into(),
            data: None,
            scale: Scale::default(),
            settings: Vec::new(),
        }
    }

    /// Adds a setting, `traces.otlp_endpoint` for example.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        let variable = key.to_uppercase().replace('.', "__");
        self.settings.push((format!("ENTREPOT__{variable}"), value.to_owned()));
        self
    }

    /// Authenticated and encrypted.
    #[must_use]
    pub fn secured(topology: Topology) -> Self {
        Self { access: Access::Managed, transport: Transport::Tls, ..Self::plain(topology) }
    }
}

/// The user of managed registries.
#[must_use]
pub fn credentials() -> Credentials {
    Credentials { user: "tester".to_owned(), password: "end-to-end".to_owned() }
}

/// Everything that a process of the registry is told; the same at every restart.
struct Site {
    setup: Setup,
    folder: PathBuf,
    data: PathBuf,
    authority: String,
    tls: Option<Authority>,
    /// Our processes, services before their callers.
    replicas: Vec<Replica>,
}

/// A program to start, under a name that stays.
struct Program {
    name: String,
    command: Command,
    /// Answers 200 when the process is ready; none when the public address tells.
    ready: Option<String>,
}

/// A running registry. Dropping it kills its processes and removes its data.
pub struct Registry {
    target: Target,
    site: Site,
    daemons: Vec<Daemon>,
    balancer: Option<Balancer>,
    engines: Engines,
    _folder: TempDir,
}

impl Registry {
    /// Starts the registry under test and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the error shows the logs.
    pub fn start(setup: &Setup) -> Result<Self> {
        // Passable for PostgreSQL, which runs as a user of its own.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let folder = tempfile::Builder::new().prefix("entrepot-e2e-").permissions(mode).tempdir()?;
        let tls = match setup.transport {
            Transport::Http => None,
            Transport::Tls => Some(Authority::create(folder.path())?),
        };
        let public = SocketAddr::new(setup.address, ports::free_port()?);
        let data = match &setup.data {
            Some(data) => data.clone(),
            None => folder.path().join("data"),
        };
        std::fs::create_dir_all(&data)?;
        let target = environment::target()?;
        let (replicas, engines) = match (&target, setup.topology) {
            (Target::Distribution, _) => (Vec::new(), Engines::default()),
            (_, Topology::Scale) => (Replica::all(setup, public)?, Engines::start(&setup.scale, &data)?),
            _ => (Replica::all(setup, public)?, Engines::default()),
        };
        let balancer = match (&target, setup.topology) {
            (Target::Entrepot(_), Topology::Scale) => Some(Balancer::start(public, &Replica::gateways(&replicas))?),
            _ => None,
        };
        let (setup, folder_path, authority) = (setup.clone(), folder.path().to_owned(), public.to_string());
        let site = Site { setup, folder: folder_path, data, authority, tls, replicas };
        match &target {
            Target::Entrepot(program) => entrepot::prepare(program, &site, &engines)?,
            Target::Distribution => distribution::prepare(&site)?,
        }
        let mut registry = Self { target, site, daemons: Vec::new(), balancer, engines, _folder: folder };
        registry.restart()?;
        Ok(registry)
    }

    /// Starts every process that does not run and waits until all are ready; the time this took.
    ///
    /// # Errors
    /// When one ends or does not become ready.
    pub fn restart(&mut self) -> Result<Duration> {
        let programs = self.programs()?;
        let mut ready = Vec::new();
        for mut program in programs {
            ready.extend(program.ready);
            if !self.daemons.iter().any(|daemon| daemon.name() == program.name) {
                let daemon = Daemon::start(&program.name, &self.site.folder, &mut program.command)?;
                self.daemons.push(daemon);
            }
        }
        let client = Client::new(&self.site.authority, self.client_tls(), None);
        let daemons = &mut self.daemons;
        let attempt = || {
            // A process that has ended will not become ready: no use to go on asking.
            if let Some(error) = daemons.iter_mut().find_map(|daemon| daemon.check_alive().err()) {
                return Ok(Err(error));
            }
            for authority in &ready {
                Client::new(authority, None, None).send(Request::new("GET", "/readyz"))?.expect(&[200])?;
            }
            client.send(Request::new("GET", "/v2/"))?.expect(&[200, 401]).map(Ok)
        };
        match poll::until("readiness", START, attempt) {
            Ok((Ok(_), took)) => Ok(took),
            Ok((Err(error), _)) => Err(error),
            Err(error) => bail!("{error:#}\n{}", self.logs()),
        }
    }

    /// SIGKILL to the processes whose place in [`Registry::processes`] is given.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self, victims: &[usize]) -> Result<()> {
        for at in victims {
            self.daemons[*at].kill()?;
        }
        let mut at = 0;
        self.daemons.retain(|_| {
            at += 1;
            !victims.contains(&(at - 1))
        });
        Ok(())
    }

    /// SIGTERM to all, callers of services before the services; waits for their end.
    ///
    /// # Errors
    /// When one has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        let order = |daemon: &Daemon| self.site.replicas.iter().rposition(|replica| replica.name == daemon.name());
        // In the order of the start, whatever was started again since.
        self.daemons.sort_by_key(order);
        for mut daemon in std::mem::take(&mut self.daemons).into_iter().rev() {
            daemon.terminate(STOP)?;
        }
        Ok(())
    }

    /// SIGTERM to one process; waits at most `limit` for its end.
    ///
    /// # Errors
    /// When there is no such process or it has to be killed.
    pub fn stop_one(&mut self, name: &str, limit: Duration) -> Result<()> {
        let at = self.daemons.iter().position(|daemon| daemon.name() == name);
        let mut daemon = self.daemons.remove(at.with_context(|| format!("{name} does not run"))?);
        let status = daemon.terminate(limit)?;
        if !status.success() {
            bail!("{name} ended with {status}:\n{}", daemon.log_tail(30));
        }
        Ok(())
    }

    /// Ends everything in order, engines last.
    ///
    /// # Errors
    /// When something has to be killed.
    pub fn shut_down(&mut self) -> Result<()> {
        self.balancer = None;
        self.stop()?;
        self.engines.stop()
    }

    /// Takes processes that have ended out of the list, so that [`Registry::restart`] starts them again; their
    /// names with the ends of their logs.
    pub fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        self.daemons.retain_mut(|daemon| match daemon.check_alive() {
            Ok(()) => true,
            Err(error) => {
                ended.push(error.to_string());
                false
            }
        });
        ended
    }

    /// PostgreSQL, Redis and MinIO, where the topology has them.
    #[must_use]
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Like [`Registry::engines`], to do them harm.
    pub fn engines_mut(&mut self) -> &mut Engines {
        &mut self.engines
    }

    /// The `host:port` of every gateway, past the balancer.
    #[must_use]
    pub fn gateways(&self) -> Vec<String> {
        Replica::gateways(&self.site.replicas).iter().map(|gateway| gateway.address.to_string()).collect()
    }

    /// Calls to one gateway, past the balancer.
    #[must_use]
    pub fn api_of(&self, gateway: &str) -> Api {
        Api::new(Client::new(gateway, self.client_tls(), self.credentials()))
    }

    /// The commands of an operator; none for the stand-in.
    #[must_use]
    pub fn commands(&self) -> Option<Commands> {
        match &self.target {
            Target::Entrepot(program) => Some(Commands::new(program, &self.site)),
            Target::Distribution => None,
        }
    }

    /// One process or several.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.site.setup.topology
    }

    /// The running processes.
    #[must_use]
    pub fn processes(&self) -> &[Daemon] {
        &self.daemons
    }

    /// Resident memory of all processes together, in bytes.
    ///
    /// # Errors
    /// When one is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.daemons.iter().map(Daemon::resident_bytes).sum()
    }

    /// Who has how much of that memory, for people.
    #[must_use]
    pub fn memory(&self) -> String {
        let each = |daemon: &Daemon| {
            let resident =
                daemon.resident_bytes().map_or_else(|error| error.to_string(), |bytes| (bytes >> 20).to_string());
            format!("{} {resident} MiB", daemon.name())
        };
        self.daemons.iter().map(each).collect::<Vec<_>>().join(", ")
    }

    /// Open file descriptors of all processes together.
    ///
    /// # Errors
    /// When one is gone.
    pub fn open_files(&self) -> Result<usize> {
        self.daemons.iter().map(Daemon::open_files).sum()
    }

    /// Bytes that the data folder's files occupy.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn stored_bytes(&self) -> Result<u64> {
        crate::process::disk_usage(&self.site.data)
    }

    /// `host:port` of the public address.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.site.authority
    }

    /// The certificate of the authority that signed the server's, for clients; none without TLS.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.site.tls.as_ref().map(|tls| tls.ca.as_path())
    }

    /// The user to log in as; none when the registry is open.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        (self.site.setup.access == Access::Managed).then(credentials)
    }

    /// Calls to this registry.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(Client::new(&self.site.authority, self.client_tls(), self.credentials()))
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        self.daemons.iter().map(|daemon| format!("--- {}\n{}\n", daemon.name(), daemon.log_tail(15))).collect()
    }

    fn client_tls(&self) -> Option<std::sync::Arc<rustls::ClientConfig>> {
        self.site.tls.as_ref().map(|tls| tls.client.clone())
    }

    fn programs(&self) -> Result<Vec<Program>> {
        match &self.target {
            Target::Entrepot(program) => entrepot::programs(program, &self.site),
            Target::Distribution => distribution::programs(&self.site),
        }
    }
}
