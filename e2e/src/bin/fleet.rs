//! `cargo xtask fleet up`: a whole fleet on one machine, in the foreground, until it is told to stop.
#![expect(clippy::print_stdout, reason = "a command line tool reports on its standard output")]

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use entrepot_e2e::image::Image;
use entrepot_e2e::process;
use entrepot_e2e::registry::{Access, Registry, Setup, Topology};
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
cargo xtask fleet up [options]

  --gateways N    replicas of api-gateway (2)
  --replicas N    replicas of every other service (2)
  --managed       only user tester, password end-to-end, may do anything; otherwise everybody may
  --standby       a synchronous standby for PostgreSQL
  --engines LIST  some of postgres,s3,redis, or none (all); without one, its services keep SQLite or a folder
  --keep DIR      data in DIR, which PostgreSQL's user must be able to reach, and kept; otherwise removed at the end
  --release       the optimised build of the registry

Starts everything on free ports of loopback, prints `ready http://127.0.0.1:PORT` once an image was pushed and
pulled, starts a service again that ends by itself, and stops everything on SIGTERM, on Ctrl-C and when its
terminal goes away.";

/// Pause between two looks at the processes.
const LOOK: Duration = Duration::from_millis(200);
/// A service that ends so often has a reason that a restart does not cure.
const RESTARTS: u32 = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match parse(&args).and_then(|setup| run(&setup)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Setup> {
    let mut setup = Setup::plain(Topology::Scale);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--gateways" => setup.scale.gateways = count(value()?)?,
            "--replicas" => setup.scale.replicas = count(value()?)?,
            "--managed" => setup.access = Access::Managed,
            "--standby" => setup.scale.standby = true,
            "--engines" => setup.scale.engines = value()?.parse()?,
            "--keep" => {
                setup.data = Some(PathBuf::from(value()?));
                setup.scale.durable = true;
            }
            other => bail!("unknown option {other:?}\n\n{HELP}"),
        }
    }
    Ok(setup)
}

fn count(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(count @ 1..=50) => Ok(count),
        _ => bail!("{text:?} is not a number from 1 to 50"),
    }
}

fn run(setup: &Setup) -> Result<()> {
    // First of all, so that a start can be given up too.
    let told = signals()?;
    process::keep_signals_from_daemons();
    let mut registry = Registry::start(setup)?;
    let outcome = serve(&mut registry, &told);
    say(format_args!("stopping"));
    // The reason for the stop says more than what went wrong with it.
    outcome.and(registry.shut_down())
}

/// A terminal that went away takes nothing any more, and everything has to be stopped all the same.
fn say(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn serve(registry: &mut Registry, told: &mpsc::Receiver<&'static str>) -> Result<()> {
    let api = registry.api();
    let image = Image::random(&[100_000], "amd64");
    api.push_image("fleet/check", "ready", &image).context("a first push")?;
    let pulled = api.verify("fleet/check", "ready").context("a first pull")?;
    if pulled != image.manifest.digest {
        bail!("a first pull gave {pulled}, pushed was {}", image.manifest.digest);
    }
    for daemon in registry.processes() {
        say(format_args!("{} is process {}", daemon.name(), daemon.pid()));
    }
    let scheme = if registry.ca().is_some() { "https" } else { "http" };
    say(format_args!("ready {scheme}://{}", registry.authority()));
    let mut restarts = 0;
    loop {
        match told.recv_timeout(LOOK) {
            Ok(signal) => {
                say(format_args!("{signal}"));
                return Ok(());
            }
            Err(RecvTimeoutError::Disconnected) => bail!("no signal can reach us any more"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        registry.engines_mut().check_alive().context("an engine ended by itself")?;
        let ended = registry.ended();
        for death in &ended {
            say(format_args!("{death}"));
            restarts += 1;
        }
        if restarts > RESTARTS {
            bail!("services ended by themselves {restarts} times");
        }
        if !ended.is_empty() {
            let took = registry.restart()?;
            say(format_args!("started again, ready after {} ms", took.as_millis()));
        }
    }
}

/// Whether it was started to outlive its terminal, as with `nohup`.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The first signal is the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// The name of every signal that asks us to stop, as it comes.
fn signals() -> Result<mpsc::Receiver<&'static str>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt, mut hangup) = {
        let _inside = runtime.enter();
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, hangup)
    };
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    Some(_) = async { hangup.as_mut()?.recv().await } => "SIGHUP",
                };
                if tell.send(name).is_err() {
                    return;
                }
            }
        });
    });
    Ok(told)
}
