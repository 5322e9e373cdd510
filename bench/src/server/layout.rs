//! How each server is configured: as its documentation advises for speed, with everything off
//! that ours does not do either (access logs, tracing, authentication).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::{ServerKind, ours};
use crate::corpus::{Corpus, REPOSITORY, TAG};
use crate::tools::Tools;

/// The command that serves `data` at `listen`, with its configuration written.
pub(crate) fn prepare(kind: ServerKind, tools: &Tools, data: &Path, listen: SocketAddr) -> anyhow::Result<Command> {
    std::fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
    let absent = || format!("{} takes no part in this run", kind.name());
    match kind {
        ServerKind::Ours => ours(tools.ours.as_ref().with_context(absent)?, data, listen),
        ServerKind::Distribution => {
            let config = data.join("config.yml");
            write(&config, distribution_config(data, listen))?;
            let mut command = tools.distribution.as_ref().with_context(absent)?.command();
            // Without this it tries to export a trace of every request.
            command.env("OTEL_TRACES_EXPORTER", "none").arg("serve").arg(config);
            Ok(command)
        }
        ServerKind::Nginx => {
            let config = data.join("nginx.conf");
            write(&config, nginx_config(data, listen))?;
            std::fs::create_dir_all(data.join("temp"))?;
            let mut command = tools.nginx.as_ref().with_context(absent)?.command();
            command.args(["-e", "stderr", "-p"]).arg(data).arg("-c").arg(config);
            Ok(command)
        }
    }
}

/// Lays the image out as files, each at the path by which a registry serves it.
pub(crate) fn serve_files(data: &Path, corpus: &Corpus) -> anyhow::Result<()> {
    let version = data.join("www/v2");
    let (manifests, blobs) = (version.join(REPOSITORY).join("manifests"), version.join(REPOSITORY).join("blobs"));
    for folder in [&manifests, &blobs] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    write(&version.join("index.html"), "{}")?;
    write(&manifests.join(TAG), &corpus.manifest.bytes)?;
    for blob in [&corpus.config, &corpus.small, &corpus.large] {
        write(&blobs.join(&blob.digest), &blob.bytes)?;
    }
    Ok(())
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn distribution_config(data: &Path, listen: SocketAddr) -> String {
    format!(
        "version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {}
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
http:
  addr: {listen}
  secret: entrepot-bench
",
        data.join("data").display()
    )
}

fn nginx_config(data: &Path, listen: SocketAddr) -> String {
    let data = data.display();
    // Workers of a server that root started could not read a private folder as another user.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "daemon off;
{user}
worker_processes auto;
pid {data}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  default_type application/octet-stream;
  client_body_temp_path {data}/temp/body;
  proxy_temp_path {data}/temp/proxy;
  fastcgi_temp_path {data}/temp/fastcgi;
  uwsgi_temp_path {data}/temp/uwsgi;
  scgi_temp_path {data}/temp/scgi;
  server {{
    listen {listen};
    root {data}/www;
  }}
}}
"
    )
}
