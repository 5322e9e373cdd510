//! The command line.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};

use crate::report::Report;
use crate::rounds::{self, Plan};
use crate::scenario::{SCENARIOS, Scenario};
use crate::server::ServerKind;
use crate::tools::{Tools, cache_dir};

/// Room that a run needs in its work folder: three copies of the data, one push, a million tags.
const WORK_BYTES: u64 = 4 << 30;

/// Measures Entrepot against CNCF Distribution and nginx.
#[derive(Debug, Parser)]
#[command(name = "entrepot-bench")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the scenarios over all servers and print the comparison.
    Run(RunArgs),
    /// List the scenarios and their floors.
    List,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Servers to measure.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "ours,distribution,nginx")]
    servers: Vec<ServerKind>,
    /// Scenarios to measure, by the names that `list` prints; all when left out.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Paired rounds; the order of the servers rotates from one to the next.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load of one measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Tags in the repository of the `tags-page` scenario.
    #[arg(long, default_value_t = 1_000_000)]
    tags: u32,
    /// Command line that starts our server, instead of building it; `{listen}`, `{admin}` and
    /// `{data}` are replaced by two addresses and a folder.
    #[arg(long)]
    ours: Option<String>,
    /// Where the servers keep what is read; memory-backed when it has room, so that the disk is
    /// not what is measured.
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// Where they keep what is pushed: a folder on a disk, for that is where layers go.
    #[arg(long)]
    push_dir: Option<PathBuf>,
    /// File for all samples as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with an error unless every floor of the chosen scenarios holds.
    #[arg(long)]
    check: bool,
}

/// Does what the command line asks for. The exit code is a failure when `--check` was given and a
/// floor does not hold.
///
/// # Errors
/// When a tool cannot be installed, or nothing could be measured.
pub fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::List => list(),
        Command::Run(args) => run(args),
    }
}

fn list() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for scenario in &SCENARIOS {
        writeln!(out, "{:14} {}", scenario.name, scenario.title)?;
        for floor in scenario.floors {
            writeln!(out, "{:14}   floor: {floor}", "")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let cache = cache_dir()?;
    let scenarios = chosen(&args.only)?;
    let tools = Tools::install(&cache, &args.servers, args.ours.as_deref())?;
    let reads = WorkDir::create(args.work_dir.as_deref(), &cache)?;
    let pushes = WorkDir::create(Some(args.push_dir.as_deref().unwrap_or(&cache.join("bench"))), &cache)?;
    let folders = Folders { reads: reads.path.clone(), pushes: pushes.path.clone() };
    let plan = Plan {
        servers: args.servers,
        scenarios,
        rounds: args.rounds.max(1),
        load: Duration::from_secs(args.seconds.max(1)),
        tags: args.tags,
    };
    let outcome = rounds::run(&plan, &tools, &folders)?;
    let report = Report::new(&plan, &tools, &outcome, &folders);

    let json = args.json.unwrap_or_else(|| cache.join("bench/last.json"));
    let text = serde_json::to_string_pretty(&report).context("cannot write the result as JSON")?;
    std::fs::write(&json, text).with_context(|| format!("cannot write {}", json.display()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{report}\nAll samples: {}", json.display())?;
    let failed = args.check && !report.floors_hold();
    Ok(ExitCode::from(u8::from(failed)))
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            SCENARIOS
                .iter()
                .find(|scenario| scenario.name == name)
                .with_context(|| format!("no scenario is called {name:?}; `list` prints them"))
        })
        .collect()
}

/// Where the servers keep their data.
#[derive(Debug)]
pub(crate) struct Folders {
    /// What is read, in memory where it has room.
    pub(crate) reads: PathBuf,
    /// What is pushed, on a disk.
    pub(crate) pushes: PathBuf,
}

/// A folder of this run alone, removed at its end.
struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    fn create(wanted: Option<&Path>, cache: &Path) -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = match wanted {
            Some(parent) => parent,
            None if free_bytes(memory) >= WORK_BYTES => memory,
            None => cache,
        };
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        if free_bytes(parent) < WORK_BYTES {
            bail!("{} has less than 4 GiB free; name another folder with --work-dir or --push-dir", parent.display());
        }
        let path = parent.join(format!("entrepot-bench-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            let _ = writeln!(std::io::stderr(), "cannot remove {}: {error}", self.path.display());
        }
    }
}

fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}
