//! Child processes that are always ended by their own id, and what the kernel knows about them.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::poll;

/// Longest piece of a log line that is shown.
const LINE: usize = 300;

static OWN_GROUPS: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C at the terminal reaches this process only, which then ends its daemons in order.
pub fn keep_signals_from_daemons() {
    OWN_GROUPS.store(true, Ordering::Relaxed);
}

/// A daemon with its log. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` with both outputs appended to `folder/<name>.log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        if OWN_GROUPS.load(Ordering::Relaxed) {
            command.process_group(0);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the process has ended, with the end of its log.
    ///
    /// # Errors
    /// When it has.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.log_tail(30)),
        }
    }

    /// SIGKILL, then reaps it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits for the end; SIGKILL after `limit`.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.terminate_by("TERM", limit)
    }

    /// Like [`Daemon::terminate`], for programs that take another signal for a request to end.
    ///
    /// # Errors
    /// When it had to be killed.
    pub fn terminate_by(&mut self, signal: &str, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let sent = Command::new("kill").args(["-s", signal]).arg(self.pid().to_string()).status()?;
        if !sent.success() {
            bail!("kill {} ended with {sent}", self.pid());
        }
        let ended = poll::until("its end", limit, || self.child.try_wait()?.context("still running"));
        match ended {
            Ok((status, _)) => Ok(status),
            Err(error) => {
                self.kill()?;
                Err(error.context(format!("{} ignored SIG{signal}", self.name)))
            }
        }
    }

    /// The last `lines` lines of the log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let clip = |line: &str| line.chars().take(LINE).collect::<String>();
        let all: Vec<String> = text.lines().map(clip).collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Resident memory of its own in bytes. Pages of files (the program's, a database's) are left out: the
    /// kernel takes them back when it likes, and several processes share them.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        resident_bytes(&status).with_context(|| format!("{path} has no RssAnon"))
    }

    /// Processor time that its threads have used, those that have ended left out.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn processor_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/task", self.pid());
        let mut nanos = 0;
        for thread in std::fs::read_dir(&path).with_context(|| format!("listing {path}"))? {
            // It may have ended since it was listed.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let used = text.split_ascii_whitespace().next().and_then(|field| field.parse::<u64>().ok());
            nanos += used.with_context(|| format!("not a schedstat: {text:?}"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Number of open file descriptors.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn open_files(&self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.pid());
        Ok(std::fs::read_dir(&path).with_context(|| format!("listing {path}"))?.count())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended is what we want; there is nobody to report another failure to.
        let _ = self.kill();
    }
}

/// Bytes that the files below `path` occupy.
///
/// # Errors
/// When it cannot be read.
pub fn disk_usage(path: &Path) -> Result<u64> {
    let text = stdout(Command::new("du").arg("-sk").arg(path))?;
    let kilobytes: u64 = text.split_whitespace().next().context("du said nothing")?.parse()?;
    Ok(kilobytes * 1024)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    };
    Some((field("RssAnon:")? + field("RssShmem:")?) * 1024)
}

/// Runs `command` to its end and returns both outputs as one text.
///
/// # Errors
/// A non-zero exit, with the command and its output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{command:?} ended with {}:\n{text}", output.status);
    }
    Ok(text)
}

/// Like [`run`], but only the standard output.
///
/// # Errors
/// As [`run`].
pub fn stdout(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests;
