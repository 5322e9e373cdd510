//! CNCF Distribution, to prove the harness against a registry that is known to work.

use anyhow::Result;

use super::{Access, Program, Site};
use crate::environment;

/// bcrypt of the password in [`super::credentials`].
const PASSWORD_HASH: &str = "$2y$05$abcdefghijklmnopqrstuu4mT8YR7Mx9fauphxNnHcwmkVmXDN3nm";

/// Writes the configuration.
pub(super) fn prepare(site: &Site) -> Result<()> {
    let mut config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp:\n  secret: end-to-end\n  addr: '{}'\n",
        site.data.display(),
        site.authority
    );
    if let Some(tls) = &site.tls {
        config.push_str(&format!(
            "  tls: {{certificate: {}, key: {}}}\n",
            tls.certificate.display(),
            tls.key.display()
        ));
    }
    if site.setup.access == Access::Managed {
        let users = site.folder.join("htpasswd");
        let user = super::credentials().user;
        std::fs::write(&users, format!("{user}:{PASSWORD_HASH}\n"))?;
        config.push_str(&format!("auth:\n  htpasswd: {{realm: stand-in, path: {}}}\n", users.display()));
    }
    std::fs::write(site.folder.join("registry.yml"), config)?;
    Ok(())
}

/// Its one process, whatever the topology.
pub(super) fn programs(site: &Site) -> Result<Vec<Program>> {
    let mut command = environment::command("registry")?;
    command.arg("serve").arg(site.folder.join("registry.yml")).env("OTEL_TRACES_EXPORTER", "none");
    Ok(vec![Program { name: "registry".to_owned(), command, ready: None }])
}
