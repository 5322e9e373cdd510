//! The servers under measurement: started one at a time on a loopback port, ended when dropped.

mod layout;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::tools::Tools;

pub(crate) use layout::{prepare, serve_files};

const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Short beside any start that is measured, long enough to leave the core to the server.
const PROBE_INTERVAL: Duration = Duration::from_micros(200);
const STOP_INTERVAL: Duration = Duration::from_millis(2);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// Entrepot.
    Ours,
    /// CNCF Distribution.
    Distribution,
    /// nginx with the same content as static files under the same paths.
    Nginx,
}

impl ServerKind {
    /// Name in tables and folders.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Distribution => "distribution",
            Self::Nginx => "nginx",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where its API is served.
    pub(crate) address: SocketAddr,
    /// From exec to the first 200 on `/v2/`.
    pub(crate) start: Duration,
}

impl Server {
    /// Starts `kind` on what `data` holds and waits for its first 200.
    ///
    /// # Errors
    /// When the server ends or does not answer, with the end of its log.
    pub(crate) fn start(kind: ServerKind, tools: &Tools, data: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = prepare(kind, tools, data, address)?;
        let log_path = data.join("server.log");
        let log = File::create(&log_path).with_context(|| format!("cannot create {}", log_path.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self { child, address, start: Duration::ZERO };
        server
            .wait_ready(began)
            .with_context(|| format!("{} did not start; it logged: {}", kind.name(), end_of(&log_path)))?;
        server.start = began.elapsed();
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_ready(&mut self, began: Instant) -> anyhow::Result<()> {
        while began.elapsed() < READY_LIMIT {
            if answers(self.address) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            std::thread::sleep(PROBE_INTERVAL);
        }
        bail!("no 200 on /v2/ within {READY_LIMIT:?}")
    }

    fn ended(&mut self, limit: Duration) -> bool {
        let began = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if began.elapsed() < limit => std::thread::sleep(STOP_INTERVAL),
                outcome => return matches!(outcome, Ok(Some(_))),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx leaves its workers behind when its main process is killed outright.
        let asked = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        if !(asked && self.ended(STOP_LIMIT)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// An address that was free a moment ago; servers that print their port do it each in its own way.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}

fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READY_LIMIT))?;
        // In one piece: a server may answer and close when it has read the first line.
        stream.write_all(format!("GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// The command line of ours with its placeholders replaced.
fn ours(template: &[String], data: &Path, listen: SocketAddr) -> anyhow::Result<Command> {
    let (admin, data) = (free_address()?.to_string(), data.join("data"));
    let words: Vec<String> = template
        .iter()
        .map(|word| {
            word.replace("{listen}", &listen.to_string())
                .replace("{admin}", &admin)
                .replace("{data}", &data.to_string_lossy())
        })
        .collect();
    ensure!(!words.is_empty(), "the command line of our server is empty");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Ok(command)
}

#[cfg(test)]
mod tests;
