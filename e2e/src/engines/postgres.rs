//! PostgreSQL: a primary, at will a synchronous standby, and an address that follows the primary.

use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{self, Daemon};
use crate::relay::Relay;
use crate::{environment, poll, ports};

/// Owns everything; also the database's name.
const USER: &str = "entrepot";
/// A server that does not start within this time has failed.
const START: Duration = Duration::from_secs(30);
/// A fast shutdown writes a checkpoint.
const STOP: Duration = Duration::from_secs(30);

/// A running PostgreSQL. Dropping it kills it.
pub struct Postgres {
    folder: PathBuf,
    account: Option<Account>,
    durable: bool,
    primary: Node,
    standby: Option<Node>,
    relay: Relay,
    made: u32,
}

struct Node {
    daemon: Daemon,
    address: SocketAddr,
    data: PathBuf,
}

/// The user that PostgreSQL runs as: it refuses to be root.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Makes a cluster in `folder`, or takes the one that is there, and starts it. `durable` is for machines
    /// that may fail; where only processes do, the kernel keeps what they wrote.
    ///
    /// # Errors
    /// When it does not start; the error shows its log.
    pub fn start(folder: &Path, durable: bool) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let account = Account::find()?;
        if let Some(account) = account {
            chown(folder, Some(account.user), Some(account.group))?;
        }
        let data = folder.join("primary");
        let fresh = !data.exists();
        if fresh {
            let mut init = program("initdb", account)?;
            init.args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]);
            process::run(init.arg("--pgdata").arg(&data))?;
        }
        let primary = Node::start("postgres-1", folder, data, account, durable)?;
        let relay = Relay::start(primary.address)?;
        let postgres = Self { folder: folder.to_owned(), account, durable, primary, standby: None, relay, made: 1 };
        if fresh {
            postgres.primary.query("postgres", &format!("CREATE DATABASE {USER}"))?;
        }
        Ok(postgres)
    }

    /// `postgres://…`, at the address that follows the primary.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/{USER}?sslmode=disable", self.relay.address())
    }

    /// The address that follows the primary, which can cut connections.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// What the primary answers to `sql`, one row a line, columns parted by `|`.
    ///
    /// # Errors
    /// What psql says.
    pub fn query(&self, sql: &str) -> Result<String> {
        self.primary.query(USER, sql)
    }

    /// Counts statements from here on.
    ///
    /// # Errors
    /// What psql says.
    pub fn count_statements(&self) -> Result<()> {
        self.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")?;
        self.query("SELECT pg_stat_statements_reset()").map(drop)
    }

    /// The statements that were executed since [`Postgres::count_statements`] and how often, the most frequent first.
    ///
    /// # Errors
    /// What psql says.
    pub fn statements(&self) -> Result<Vec<(String, u64)>> {
        let rows = self.query(
            "SELECT calls || '|' || regexp_replace(query, '\\s+', ' ', 'g') FROM pg_stat_statements \
             WHERE query NOT LIKE '%pg_stat_statements%' ORDER BY calls DESC",
        )?;
        let row = |line: &str| {
            let (calls, statement) = line.split_once('|')?;
            Some((statement.to_owned(), calls.parse().ok()?))
        };
        Ok(rows.lines().filter_map(row).collect())
    }

    /// Copies the primary and starts the copy as its synchronous standby: from here on a commit is
    /// acknowledged only once both have it.
    ///
    /// # Errors
    /// When the copy does not become synchronous.
    pub fn add_standby(&mut self) -> Result<()> {
        self.made += 1;
        let data = self.folder.join(format!("standby-{}", self.made));
        if data.exists() {
            // Of a former run, whose primary it followed.
            std::fs::remove_dir_all(&data)?;
        }
        let mut copy = program("pg_basebackup", self.account)?;
        copy.args(["--host", "127.0.0.1", "--port", &self.primary.address.port().to_string(), "--username", USER])
            .args(["--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync"]);
        process::run(copy.arg("--pgdata").arg(&data))?;
        let name = format!("postgres-{}", self.made);
        let standby = Node::start(&name, &self.folder, data, self.account, self.durable)?;
        self.primary.query("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.primary.query("postgres", "SELECT pg_reload_conf()")?;
        let synchronous = || {
            let state = self.primary.query("postgres", "SELECT sync_state FROM pg_stat_replication")?;
            if state.trim() != "sync" {
                bail!("the standby is {state:?}");
            }
            Ok(())
        };
        poll::until("a synchronous standby", START, synchronous)?;
        self.standby = Some(standby);
        Ok(())
    }

    /// SIGKILL to the primary; its standby takes over and clients are led there. The time this took.
    ///
    /// # Errors
    /// When there is no standby or it cannot be promoted.
    pub fn fail_over(&mut self) -> Result<Duration> {
        let standby = self.standby.take().context("there is no standby to fail over to")?;
        let start = Instant::now();
        self.primary.kill()?;
        self.relay.disconnect();
        // There is nobody yet to wait for.
        standby.query("postgres", "SELECT pg_promote(true, 30)")?;
        poll::until("a promoted standby", START, || {
            let waiting = standby.query("postgres", "SELECT pg_is_in_recovery()")?;
            if waiting.trim() == "f" { Ok(()) } else { bail!("still in recovery") }
        })?;
        self.relay.point_to(standby.address);
        let took = start.elapsed();
        let old = std::mem::replace(&mut self.primary, standby);
        std::fs::remove_dir_all(&old.data).context("removing the old primary")?;
        Ok(took)
    }

    /// SIGKILL to the primary, which is then started again on the same data.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn crash(&mut self) -> Result<()> {
        self.primary.kill()?;
        self.relay.disconnect();
        let name = self.primary.daemon.name().to_owned();
        let data = self.primary.data.clone();
        self.primary = Node::start(&name, &self.folder, data, self.account, self.durable)?;
        self.relay.point_to(self.primary.address);
        Ok(())
    }

    /// Fails if a server has ended, with the end of its log.
    ///
    /// # Errors
    /// When one has.
    pub fn check_alive(&mut self) -> Result<()> {
        self.primary.daemon.check_alive()?;
        self.standby.as_mut().map_or(Ok(()), |standby| standby.daemon.check_alive())
    }

    /// An orderly end.
    ///
    /// # Errors
    /// When a server has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.primary.daemon.terminate_by("INT", STOP)?;
        self.standby.take().map_or(Ok(()), |mut standby| standby.daemon.terminate_by("INT", STOP).map(drop))
    }

    /// The end of the primary's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.primary.daemon.log_tail(15)
    }
}

impl Node {
    fn start(name: &str, folder: &Path, data: PathBuf, account: Option<Account>, durable: bool) -> Result<Self> {
        let address = ports::free_address()?;
        let switch = if durable { "on" } else { "off" };
        let mut command = program("postgres", account)?;
        command.arg("-D").arg(&data);
        for setting in [
            &format!("port={}", address.port())[..],
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            // For suites that count what is asked.
            "shared_preload_libraries=pg_stat_statements",
            "max_connections=300",
            "max_wal_senders=5",
            "shared_buffers=64MB",
            // Of a copy too: a promoted standby gets one of its own.
            "wal_level=replica",
            "hot_standby=on",
            &format!("fsync={switch}"),
            &format!("full_page_writes={switch}"),
            "log_min_messages=warning",
        ] {
            command.arg("-c").arg(setting);
        }
        // A killed server's shared memory is gone once its last process is; until then a start is refused.
        let (daemon, _) = poll::until("a PostgreSQL that answers", START, || {
            let mut node = Self { daemon: Daemon::start(name, folder, &mut command)?, address, data: data.clone() };
            node.await_answer()?;
            Ok(node.daemon)
        })?;
        Ok(Self { daemon, address, data })
    }

    fn await_answer(&mut self) -> Result<()> {
        let attempt = || match self.daemon.check_alive() {
            Ok(()) => query(self.address, "postgres", "SELECT 1").map(|_| Ok(())),
            Err(error) => Ok(Err(error)),
        };
        poll::until("an answer", START, attempt)?.0
    }

    fn query(&self, database: &str, sql: &str) -> Result<String> {
        query(self.address, database, sql)
    }

    /// SIGKILL to all its processes, so that nothing goes on behind our back.
    fn kill(&mut self) -> Result<()> {
        let pid = self.daemon.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        self.daemon.kill()?;
        for child in children.split_whitespace() {
            // One that has ended by itself is what we want.
            let _ = Command::new("kill").args(["-KILL", child]).stderr(std::process::Stdio::null()).status();
        }
        Ok(())
    }
}

fn query(address: SocketAddr, database: &str, sql: &str) -> Result<String> {
    let mut psql = program("psql", None)?;
    psql.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--username", USER])
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--dbname", database, "--command", sql])
        .env("PGCONNECT_TIMEOUT", "5");
    process::stdout(&mut psql)
}

/// One of the programs that lie beside `postgres`, run as an account that it accepts.
fn program(name: &str, account: Option<Account>) -> Result<Command> {
    let postgres = environment::tool("postgres").map_err(anyhow::Error::msg)?;
    let postgres = postgres.canonicalize().with_context(|| format!("looking for {}", postgres.display()))?;
    let mut command = Command::new(postgres.with_file_name(name));
    // It would complain about a current folder that its account may not read.
    command.current_dir("/").env("LC_ALL", "C");
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
    Ok(command)
}

impl Account {
    /// `postgres` when we are root; otherwise PostgreSQL runs as we do.
    fn find() -> Result<Option<Self>> {
        let id = |args: &[&str]| -> Result<u32> {
            let text = process::stdout(Command::new("id").args(args))?;
            text.trim().parse().with_context(|| format!("id said {text:?}"))
        };
        if id(&["-u"])? != 0 {
            return Ok(None);
        }
        Ok(Some(Self { user: id(&["-u", "postgres"])?, group: id(&["-g", "postgres"])? }))
    }
}
