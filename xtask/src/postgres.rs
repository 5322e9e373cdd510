//! Throw-away PostgreSQL servers: one that takes writes, and standbys that follow it.
//!
//! PostgreSQL refuses to run as root, so as root everything here runs as the user `postgres` that the Debian package
//! makes. The server is a direct child: its pid is the postmaster's, and killing that kills the server.
//!
//! A server listens on a free port of 127.0.0.1 with a password, and `fsync` is on: what a test calls durable is.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// How long a server may take to accept connections, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name by which a synchronous standby is waited for.
const STANDBY: &str = "standby";

const USER: &str = "postgres";

/// The programs of one installation, and whom to run them as.
#[derive(Clone)]
pub(crate) struct Programs {
    folder: PathBuf,
    /// User and group, where we are root.
    run_as: Option<(u32, u32)>,
}

impl Programs {
    /// Finds the newest installation, 15 or later.
    ///
    /// # Errors
    /// When there is none, with what to install.
    pub(crate) fn find() -> Result<Self> {
        let folder =
            newest().context("there is no PostgreSQL 15 or later here; install the Debian package postgresql")?;
        let id = |what: &str| -> Result<u32> {
            let id = process::output(Command::new("id").args([what, USER]))?;
            id.trim().parse().with_context(|| format!("reading the output of id {what} {USER}"))
        };
        let run_as = if process::is_root() { Some((id("-u")?, id("-g")?)) } else { None };
        Ok(Self { folder, run_as })
    }

    /// A program as whom it may run.
    fn command(&self, program: &str) -> Command {
        let path = self.folder.join(program);
        // setpriv becomes the program, so that a child's pid is the program's own.
        let mut command = match self.run_as {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
                command.args(["--clear-groups", "--"]).arg(path);
                command
            }
            None => Command::new(path),
        };
        // It need not be able to read where we were started.
        command.current_dir("/").env("PGCONNECT_TIMEOUT", "5").env_remove("PGOPTIONS");
        command
    }

    /// A folder that the programs own and nobody else can read.
    fn make_folder(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
        if let Some((user, group)) = self.run_as {
            chown(path, Some(user), Some(group)).with_context(|| format!("giving {} to {USER}", path.display()))?;
        }
        Ok(())
    }
}

/// A running server. Dropped, it is killed; its folder stays until the caller removes it.
pub(crate) struct Server {
    programs: Programs,
    /// Of data, socket and log.
    folder: PathBuf,
    port: u16,
    password: String,
    child: Child,
}

impl Server {
    /// Makes a new cluster below `folder`, which others must be able to pass through, and starts it.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub(crate) fn create(programs: &Programs, folder: &Path) -> Result<Self> {
        programs.make_folder(folder)?;
        let password = password()?;
        let password_file = folder.join("password");
        fs::write(&password_file, &password).context("writing the password of the server")?;
        if let Some((user, group)) = programs.run_as {
            chown(&password_file, Some(user), Some(group))?;
        }
        let mut initdb = programs.command("initdb");
        initdb.arg("--pgdata").arg(folder.join("data")).arg("--pwfile").arg(&password_file);
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"]);
        process::output(&mut initdb)?;
        Self::start(programs, folder, password)
    }

    /// Makes a standby that follows this server below `folder`. A synchronous one is waited for by every commit from the
    /// answer on, as [`Server::wait_for_standby`] can undo.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub(crate) fn add_standby(&self, folder: &Path, synchronous: bool) -> Result<Self> {
        self.programs.make_folder(folder)?;
        let source = format!(
            "host=127.0.0.1 port={} user={USER} password={} application_name={STANDBY}",
            self.port, self.password
        );
        let mut copy = self.programs.command("pg_basebackup");
        copy.arg("--pgdata").arg(folder.join("data")).arg("--dbname").arg(source);
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"]);
        process::output(&mut copy)?;
        let standby = Self::start(&self.programs, folder, self.password.clone())?;
        if synchronous {
            self.wait_for_standby(true)?;
        }
        Ok(standby)
    }

    /// Whether commits wait until a standby has them on disk. A promoted standby does not, since nothing follows it yet.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub(crate) fn wait_for_standby(&self, wait: bool) -> Result<()> {
        let names = if wait { STANDBY } else { "" };
        self.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"))?;
        self.sql("SELECT pg_reload_conf()")?;
        if wait {
            let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'";
            poll("the standby to follow", || Ok(self.sql(state)?.trim() == "1"))?;
        }
        Ok(())
    }

    /// The URL of a database of this server, for its superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Where this server, and then `other`, would be looked for: what a service of a fleet is given.
    pub(crate) fn url_with(&self, other: &Self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{},127.0.0.1:{}/{database}", self.password, self.port, other.port)
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The pid of its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs statements in database `postgres`; answers the rows, without decoration.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub(crate) fn sql(&self, sql: &str) -> Result<String> {
        let mut psql = self.programs.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql]);
        psql.arg("--dbname").arg(format!("host=127.0.0.1 port={} user={USER} dbname=postgres", self.port));
        process::output(psql.env("PGPASSWORD", &self.password))
    }

    /// Makes a standby the server that takes writes, and waits until it does.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub(crate) fn promote(&self) -> Result<()> {
        let mut promote = self.programs.command("pg_ctl");
        promote.arg("promote").arg("--pgdata").arg(self.folder.join("data"));
        process::output(promote.args(["--wait", "--silent"]))?;
        poll("the promoted server to take writes", || Ok(self.sql("SELECT pg_is_in_recovery()")?.trim() == "f"))
    }

    /// Kills it as a power cut would: all its processes, without a word.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("killing PostgreSQL")?;
        self.child.wait().context("waiting for PostgreSQL's end")?;
        Ok(())
    }

    /// Stops it in order; sessions are cut.
    ///
    /// # Errors
    /// When it does not stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        process::output(Command::new("kill").arg("-INT").arg(self.pid().to_string()))?;
        poll("PostgreSQL to stop", || Ok(self.child.try_wait()?.is_some()))
    }

    /// Starts the cluster below `folder`. A port that another program took between the choice and the start is chosen anew.
    fn start(programs: &Programs, folder: &Path, password: String) -> Result<Self> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let port = free_port()?;
            let log = folder.join("log");
            let file = File::options().create(true).append(true).open(&log);
            let file = file.with_context(|| format!("opening {}", log.display()))?;
            let mut postgres = programs.command("postgres");
            postgres.arg("-D").arg(folder.join("data"));
            for setting in settings(folder, port) {
                postgres.arg("-c").arg(setting);
            }
            postgres.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
            let child = postgres.spawn().context("starting postgres")?;
            let mut server =
                Self { programs: programs.clone(), folder: folder.to_owned(), port, password: password.clone(), child };
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(_) if attempts < 3 => {}
                Err(error) => {
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    return Err(error.context(process::last_lines(&said, 12)));
                }
            }
        }
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let mut ready = self.programs.command("pg_isready");
        ready.arg("--quiet").arg("--host=127.0.0.1").arg(format!("--port={}", self.port));
        poll("PostgreSQL to accept connections", || {
            if let Some(status) = self.child.try_wait()? {
                bail!("postgres ended with {status}");
            }
            Ok(ready.status().context("starting pg_isready")?.success())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended where it was stopped or killed before.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.kill();
        }
    }
}

fn settings(folder: &Path, port: u16) -> Vec<String> {
    vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", folder.display()),
        "fsync=on".to_owned(),
        "synchronous_commit=on".to_owned(),
        "wal_level=replica".to_owned(),
        "hot_standby=on".to_owned(),
        "max_wal_senders=10".to_owned(),
        "max_connections=200".to_owned(),
        "shared_buffers=64MB".to_owned(),
        // A standby notices that its server is gone, and a server that its standby is.
        "wal_receiver_timeout=5s".to_owned(),
        "wal_sender_timeout=5s".to_owned(),
    ]
}

/// Where the newest installation has its programs: Debian keeps one folder per major version, elsewhere they are in `PATH`.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let newest = numbered.filter(|(version, _)| *version >= 15).max().map(|(_, path)| path.join("bin"));
    newest.or_else(|| process::find("postgres").and_then(|path| path.parent().map(Path::to_owned)))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Nobody else on this machine may use the server.
fn password() -> Result<String> {
    use std::fmt::Write;
    use std::io::Read;

    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).context("reading /dev/urandom")?;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

/// Asks again until it is so.
fn poll(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} in vain for {what}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
