//! Our own processes and their configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use super::{Access, Program, Site, Topology};

const CONFIG: &str = "entrepot.toml";
/// Shared by the services; they ask for 32 visible characters.
const SECRET: &str = "no-secret-at-all-but-long-enough-for-a-test-run";

/// Writes the configuration that all processes share, and adds the user of a managed registry.
pub(super) fn prepare(program: &Path, site: &Site) -> Result<()> {
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
        Topology::Fleet => format!(
            "[internal]\nsecret = \"{SECRET}\"\nauth_token = \"http://{}\"\nblob_store = \"http://{}\"\nmanifest_index = \"http://{}\"\n",
            site.local(Port::AuthToken),
            site.local(Port::BlobStore),
            site.local(Port::ManifestIndex)
        ),
    };
    let config = format!(
        "[http]\nlisten = [\"{}\"]\n{tls}\n[auth]\nmode = \"{mode}\"\n\n[log]\nlevel = \"warn\"\nformat = \"text\"\n\n\
         [shutdown]\ngrace = \"0s\"\n\n{fleet}",
        site.authority
    );
    std::fs::write(site.folder.join(CONFIG), config)?;
    if site.setup.access == Access::Managed { add_user(program, site) } else { Ok(()) }
}

fn add_user(program: &Path, site: &Site) -> Result<()> {
    let credentials = super::credentials();
    let data = match site.setup.topology {
        Topology::Embedded => site.data.clone(),
        Topology::Fleet => site.data.join("auth"),
    };
    let run = |arguments: &[&str], input: &str| -> Result<()> {
        let mut child = Command::new(program)
            .args(arguments)
            .arg("--config")
            .arg(site.folder.join(CONFIG))
            .arg("--data-dir")
            .arg(&data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().expect("it is piped").write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "entrepot {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run(&["user", "add", &credentials.user, "--password-stdin"], &credentials.password)?;
    run(&["grant", "add", &credentials.user, "*", "*"], "")
}

/// The processes, services before their callers.
pub(super) fn programs(program: &Path, site: &Site) -> Result<Vec<Program>> {
    Ok(match site.setup.topology {
        Topology::Embedded => {
            let mut embedded = service(program, site, "serve", Port::GatewayAdmin);
            embedded.command.arg("--data-dir").arg(&site.data);
            vec![embedded]
        }
        Topology::Fleet => vec![
            owner(service(program, site, "auth-token", Port::AuthAdmin), site, "auth", Port::AuthToken),
            owner(service(program, site, "manifest-index", Port::IndexAdmin), site, "index", Port::ManifestIndex),
            blob_store(program, site),
            service(program, site, "gc-worker", Port::WorkerAdmin),
            service(program, site, "api-gateway", Port::GatewayAdmin),
        ],
    })
}

fn blob_store(program: &Path, site: &Site) -> Program {
    let mut blob_store = owner(service(program, site, "blob-store", Port::BlobAdmin), site, "blobs", Port::BlobStore);
    blob_store.command.env("ENTREPOT__INTERNAL__DATA_LISTEN", site.local(Port::Data));
    blob_store
}

fn service(program: &Path, site: &Site, name: &'static str, admin: Port) -> Program {
    let admin = site.local(admin);
    let mut command = Command::new(program);
    command.arg(name).arg("--config").arg(site.folder.join(CONFIG)).env("ENTREPOT__ADMIN__LISTEN", &admin);
    Program { name, command, ready: Some(admin) }
}

/// A service that is called by others and owns a folder.
fn owner(mut program: Program, site: &Site, folder: &str, port: Port) -> Program {
    let data: PathBuf = site.data.join(folder);
    program.command.env("ENTREPOT__STORAGE__DATA_DIR", data).env("ENTREPOT__INTERNAL__LISTEN", site.local(port));
    program
}

/// The place of a port in the site's list.
#[derive(Clone, Copy)]
enum Port {
    AuthToken,
    BlobStore,
    ManifestIndex,
    Data,
    AuthAdmin,
    BlobAdmin,
    IndexAdmin,
    WorkerAdmin,
    GatewayAdmin,
}

impl Site {
    fn local(&self, port: Port) -> String {
        format!("127.0.0.1:{}", self.ports[port as usize])
    }
}
