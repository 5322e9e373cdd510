//! Our own processes and their configuration.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use super::{Access, Engines, Program, Setup, Site, Topology, Wanted};
use crate::balancer::Backend;
use crate::ports;

const CONFIG: &str = "entrepot.toml";
/// Shared by the services; they ask for 32 visible characters.
const SECRET: &str = "no-secret-at-all-but-long-enough-for-a-test-run";
/// A gateway is not ready for so long before it stops listening, so that the balancer sees it.
const GRACE: &str = "1s";

/// A kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Embedded,
    AuthToken,
    ManifestIndex,
    BlobStore,
    GcWorker,
    Gateway,
}

impl Service {
    fn command(self) -> &'static str {
        match self {
            Self::Embedded => "serve",
            Self::AuthToken => "auth-token",
            Self::ManifestIndex => "manifest-index",
            Self::BlobStore => "blob-store",
            Self::GcWorker => "gc-worker",
            Self::Gateway => "api-gateway",
        }
    }

    /// True for those that keep something in a folder of theirs unless an engine keeps it.
    fn owns_data(self) -> bool {
        matches!(self, Self::AuthToken | Self::ManifestIndex | Self::BlobStore)
    }

    /// True where only one process can do it.
    fn is_alone(self, engines: Wanted) -> bool {
        match self {
            Self::AuthToken | Self::ManifestIndex => !engines.postgres,
            Self::BlobStore => !engines.s3,
            _ => false,
        }
    }
}

/// One process and its addresses, the same at every restart.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: String,
    service: Service,
    listen: SocketAddr,
    admin: SocketAddr,
    /// Of blob-store.
    data: SocketAddr,
}

impl Replica {
    /// The processes of a topology, services before their callers.
    pub(super) fn all(setup: &Setup, public: SocketAddr) -> Result<Vec<Self>> {
        let one = |service, listen| -> Result<Self> {
            let name = Service::command(service).to_owned();
            Ok(Self { name, service, listen, admin: ports::free_address()?, data: ports::free_address()? })
        };
        if setup.topology == Topology::Embedded {
            return Ok(vec![one(Service::Embedded, public)?]);
        }
        let services =
            [Service::AuthToken, Service::ManifestIndex, Service::BlobStore, Service::GcWorker, Service::Gateway];
        let mut replicas = Vec::new();
        for service in services {
            if setup.topology == Topology::Fleet {
                let listen = if service == Service::Gateway { public } else { ports::free_address()? };
                replicas.push(one(service, listen)?);
                continue;
            }
            let count = match service {
                Service::Gateway => setup.scale.gateways,
                service if service.is_alone(setup.scale.engines) => 1,
                _ => setup.scale.replicas,
            };
            for number in 1..=count {
                let mut replica = one(service, SocketAddr::new(setup.address, ports::free_port()?))?;
                replica.name = format!("{}-{number}", replica.name);
                replicas.push(replica);
            }
        }
        Ok(replicas)
    }

    /// What a balancer spreads connections over.
    pub(super) fn gateways(replicas: &[Self]) -> Vec<Backend> {
        let gateways = replicas.iter().filter(|replica| replica.service == Service::Gateway);
        gateways.map(|gateway| Backend { address: gateway.listen, admin: Some(gateway.admin) }).collect()
    }
}

/// Writes the configuration that all processes share, brings the database up to date, and adds the user of a
/// managed registry.
pub(super) fn prepare(program: &Path, site: &Site, engines: &Engines) -> Result<()> {
    let mode = match site.setup.access {
        Access::Open => "open",
        Access::Managed => "managed",
    };
    let tls = site.tls.as_ref().map_or_else(String::new, |tls| {
        format!("tls_certificate = \"{}\"\ntls_key = \"{}\"\n", tls.certificate.display(), tls.key.display())
    });
    let fleet = match site.setup.topology {
        // An embedded registry makes its secret itself.
        Topology::Embedded => String::new(),
        Topology::Fleet | Topology::Scale => format!(
            "[internal]\nsecret = \"{SECRET}\"\nauth_token = {}\nblob_store = {}\nmanifest_index = {}\n\n",
            site.endpoints(Service::AuthToken),
            site.endpoints(Service::BlobStore),
            site.endpoints(Service::ManifestIndex)
        ),
    };
    let config = format!(
        "[http]\n{tls}\n[auth]\nmode = \"{mode}\"\n\n[log]\nlevel = \"warn\"\nformat = \"text\"\n\n\
         [shutdown]\ngrace = \"0s\"\n\n{fleet}{}",
        engines.config()
    );
    std::fs::write(site.folder.join(CONFIG), config)?;
    if engines.postgres.is_some() {
        run(program, site, &["migrate"], "")?;
    }
    if site.setup.access == Access::Managed { add_user(program, site) } else { Ok(()) }
}

fn add_user(program: &Path, site: &Site) -> Result<()> {
    let credentials = super::credentials();
    let data = match site.setup.topology {
        Topology::Embedded => site.data.clone(),
        Topology::Fleet => site.data.join("auth-token"),
        Topology::Scale => site.data.join("auth-token-1"),
    };
    let data = data.to_str().expect("temporary folders have plain names");
    let in_folder =
        |arguments: &[&str], input: &str| run(program, site, &[arguments, &["--data-dir", data]].concat(), input);
    let user =
        |action: &str| in_folder(&["user", action, &credentials.user, "--password-stdin"], &credentials.password);
    // Kept data knows it already.
    user("password").or_else(|_| user("add"))?;
    in_folder(&["grant", "add", &credentials.user, "*", "*"], "")
}

/// Runs a command to its end.
fn run(program: &Path, site: &Site, arguments: &[&str], input: &str) -> Result<()> {
    Commands::new(program, site).run(arguments, input)
}

/// The commands of an operator, from anywhere: the accounts of a fleet are in its database.
#[derive(Clone, Debug)]
pub struct Commands {
    program: PathBuf,
    config: PathBuf,
}

impl Commands {
    pub(super) fn new(program: &Path, site: &Site) -> Self {
        Self { program: program.to_owned(), config: site.folder.join(CONFIG) }
    }

    /// Runs `entrepot` with `arguments` to its end.
    ///
    /// # Errors
    /// When it fails; the error shows what it said.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<()> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().expect("it is piped").write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "entrepot {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// The processes, services before their callers.
pub(super) fn programs(program: &Path, site: &Site) -> Result<Vec<Program>> {
    Ok(site.replicas.iter().map(|replica| site.program(program, replica)).collect())
}

impl Site {
    fn program(&self, program: &Path, replica: &Replica) -> Program {
        let mut command = Command::new(program);
        let admin = replica.admin.to_string();
        command.arg(replica.service.command()).arg("--config").arg(self.folder.join(CONFIG));
        command.env("ENTREPOT__ADMIN__LISTEN", &admin);
        match replica.service {
            Service::Embedded | Service::Gateway => command.env("ENTREPOT__HTTP__LISTEN", replica.listen.to_string()),
            _ => command.env("ENTREPOT__INTERNAL__LISTEN", replica.listen.to_string()),
        };
        if replica.service == Service::Embedded {
            command.arg("--data-dir").arg(&self.data);
        }
        if replica.service.owns_data() {
            let data: PathBuf = self.data.join(&replica.name);
            command.env("ENTREPOT__STORAGE__DATA_DIR", data);
        }
        if replica.service == Service::BlobStore {
            command.env("ENTREPOT__INTERNAL__DATA_LISTEN", replica.data.to_string());
        }
        if replica.service == Service::Gateway && self.setup.topology == Topology::Scale {
            command.env("ENTREPOT__SHUTDOWN__GRACE", GRACE);
        }
        command.envs(self.setup.settings.iter().map(|(name, value)| (name, value)));
        Program { name: replica.name.clone(), command, ready: Some(admin) }
    }

    /// Where a service is, as TOML: text for one replica, a list for several.
    fn endpoints(&self, service: Service) -> String {
        let replicas = self.replicas.iter().filter(|replica| replica.service == service);
        let endpoints: Vec<String> = replicas.map(|replica| format!("\"http://{}\"", replica.listen)).collect();
        match endpoints.as_slice() {
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        }
    }
}
