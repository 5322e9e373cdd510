//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use entrepot_runtime::config::{ConfigErrors, Source};

use crate::accounts::{self, AccountCommand, GrantCommand, Place, RobotCommand, UserCommand};
use crate::config::{Config, Role};
use crate::{database, embedded, fleet, process};

/// A container registry: one binary with embedded storage, or the same code as separate services.
#[derive(Debug, Parser)]
#[command(name = "entrepot", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole registry in one process, with storage in one directory.
    Serve(Serve),
    /// Run the HTTP edge of a fleet.
    ApiGateway(Service),
    /// Run the token service of a fleet.
    AuthToken(Service),
    /// Run the blob store of a fleet.
    BlobStore(Service),
    /// Run the metadata service of a fleet.
    ManifestIndex(Service),
    /// Run a worker that deletes what nothing names any more.
    GcWorker(Service),
    /// Add, list and remove the people who may log in (mode managed).
    User(Accounts<UserCommand>),
    /// Add, list and remove accounts for machines; their secrets are shown once.
    Robot(Accounts<RobotCommand>),
    /// Say who may pull, push and delete where.
    Grant(Accounts<GrantCommand>),
    /// Bring the schemas in PostgreSQL up to date, before the services of a new version start.
    Migrate(Service),
    /// Print every setting with its default, as Markdown.
    ConfigReference,
}

#[derive(Debug, Args)]
struct Serve {
    /// Address of the registry [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Address of health checks and metrics [default: 127.0.0.1:5050]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Vec<SocketAddr>,
    /// Directory of the data [default: ./entrepot-data]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Settings in TOML; see docs/configuration.md
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Accounts<C: Subcommand> {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: C,
}

#[derive(Debug, Args)]
struct Service {
    /// Settings in TOML; see docs/configuration.md
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command of this process's arguments.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(arguments) => {
            let config = read(arguments.source()?, Role::Embedded)?;
            process::block_on(Role::Embedded, &config, embedded::run(config.clone()))
        }
        Command::ApiGateway(arguments) => service(Role::ApiGateway, arguments),
        Command::AuthToken(arguments) => service(Role::AuthToken, arguments),
        Command::BlobStore(arguments) => service(Role::BlobStore, arguments),
        Command::ManifestIndex(arguments) => service(Role::ManifestIndex, arguments),
        Command::GcWorker(arguments) => service(Role::GcWorker, arguments),
        Command::User(arguments) => manage(&arguments.place, arguments.command.into()),
        Command::Robot(arguments) => manage(&arguments.place, arguments.command.into()),
        Command::Grant(arguments) => manage(&arguments.place, arguments.command.into()),
        Command::Migrate(arguments) => {
            let source = Source::load(arguments.config.as_deref(), std::env::vars_os())?;
            let config = read(source, Role::Accounts)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            print(&runtime.block_on(database::migrate(&config))?);
            Ok(())
        }
        Command::ConfigReference => {
            print(&reference()?);
            Ok(())
        }
    }
}

fn manage(place: &Place, command: AccountCommand) -> anyhow::Result<()> {
    let mut source = Source::load(place.config.as_deref(), std::env::vars_os())?;
    if let Some(directory) = &place.data_dir {
        source.set("storage.data_dir", directory.display().to_string());
    }
    let config = read(source, Role::Accounts)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(accounts::run(&config, command))?;
    // A list of nobody has no line.
    if !output.is_empty() {
        print(&output);
    }
    Ok(())
}

fn service(role: Role, arguments: Service) -> anyhow::Result<()> {
    let config = read(Source::load(arguments.config.as_deref(), std::env::vars_os())?, role)?;
    process::block_on(role, &config, fleet::run(role, config.clone()))
}

fn read(source: Source, role: Role) -> anyhow::Result<Config> {
    Ok(Config::read(&source, role)?.0)
}

/// What stands above the tables of the reference.
const REFERENCE_HEAD: &str = "\
# Configuration

Settings come from a TOML file (`--config FILE`), from environment variables (`http.listen` is
`ENTREPOT__HTTP__LISTEN`; a list is written with commas) and from flags; the later win. One schema serves every
service, and each reads what concerns it. All mistakes are reported at once, each with its key.

This page is what `entrepot config-reference` prints.

";

/// The configuration reference in Markdown.
///
/// # Errors
/// None in practice: the defaults are valid.
pub fn reference() -> anyhow::Result<String> {
    let (_, reference) = Config::read(&Source::load(None, [])?, Role::Embedded)?;
    Ok(format!("{REFERENCE_HEAD}{}", reference.to_markdown().trim_end()))
}

impl Serve {
    fn source(&self) -> Result<Source, ConfigErrors> {
        let mut source = Source::load(self.config.as_deref(), std::env::vars_os())?;
        let join = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        if !self.listen.is_empty() {
            source.set("http.listen", join(&self.listen));
        }
        if !self.admin_listen.is_empty() {
            source.set("admin.listen", join(&self.admin_listen));
        }
        if let Some(directory) = &self.data_dir {
            source.set("storage.data_dir", directory.display().to_string());
        }
        Ok(source)
    }
}

#[expect(clippy::print_stdout, reason = "the output of a command")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the error of a command, read by the person who typed it")]
fn report(error: &anyhow::Error) {
    eprintln!("entrepot: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_serve_override_everything() {
        let cli = Cli::parse_from([
            "entrepot",
            "serve",
            "--listen",
            "[::1]:0",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            "/x",
        ]);
        let Command::Serve(arguments) = cli.command else { panic!("not serve") };
        let config = read(arguments.source().unwrap(), Role::Embedded).unwrap();
        assert_eq!(config.http.listen.len(), 2);
        assert_eq!(config.data_dir, PathBuf::from("/x"));
    }
}
