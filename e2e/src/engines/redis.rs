//! Redis, which holds only what may be lost.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::Daemon;
use crate::{environment, poll, ports};

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(5);

/// A running Redis without persistence. Dropping it kills it.
pub struct Redis {
    folder: PathBuf,
    address: SocketAddr,
    daemon: Option<Daemon>,
}

impl Redis {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// When it does not answer; the error shows its log.
    pub fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut redis = Self { folder: folder.to_owned(), address: ports::free_address()?, daemon: None };
        redis.revive()?;
        Ok(redis)
    }

    /// `redis://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Starts it again, empty, if it does not run.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn revive(&mut self) -> Result<()> {
        if self.daemon.as_mut().is_some_and(|daemon| daemon.check_alive().is_ok()) {
            return Ok(());
        }
        let mut command = environment::command("redis-server")?;
        command
            .args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.folder);
        let mut daemon = Daemon::start("redis", &self.folder, &mut command)?;
        let attempt = || match daemon.check_alive() {
            Ok(()) => self.command("PING").map(|_| Ok(())),
            Err(error) => Ok(Err(error)),
        };
        poll::until("an answer of Redis", START, attempt)?.0?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |mut daemon| daemon.kill())
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn flush(&self) -> Result<()> {
        self.command("FLUSHALL").map(drop)
    }

    /// Commands that it has served, by the name of the command.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn calls(&self) -> Result<Vec<(String, u64)>> {
        let text = self.command("INFO commandstats")?;
        Ok(text.lines().filter_map(call).collect())
    }

    /// Fails if it has ended, with the end of its log.
    ///
    /// # Errors
    /// When it has.
    pub fn check_alive(&mut self) -> Result<()> {
        self.daemon.as_mut().map_or(Ok(()), Daemon::check_alive)
    }

    /// An orderly end.
    ///
    /// # Errors
    /// When it has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |mut daemon| daemon.terminate(STOP).map(drop))
    }

    /// Sends one command in Redis' inline form; the text of the answer.
    fn command(&self, command: &str) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER).context("connecting to Redis")?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut input = BufReader::new(stream);
        let mut line = String::new();
        input.read_line(&mut line)?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("+", text)) => Ok(text.to_owned()),
            Some(("$", length)) => {
                let mut text = vec![0; length.parse().context("reading an answer of Redis")?];
                input.read_exact(&mut text)?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => bail!("Redis answered {line:?} to {command}"),
        }
    }
}

/// `cmdstat_get:calls=12,usec=…` as name and number.
fn call(line: &str) -> Option<(String, u64)> {
    let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
    Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_statistics_are_names_and_numbers() {
        assert_eq!(call("cmdstat_get:calls=12,usec=3,usec_per_call=0.25\r"), Some(("get".to_owned(), 12)));
        assert_eq!(call("# Commandstats"), None);
    }
}
