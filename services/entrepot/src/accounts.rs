//! `entrepot user`, `robot` and `grant`: work on the accounts database, also while the registry runs.

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use auth_token::{ANONYMOUS, AccountKind, Admin, AdminError};
use clap::{Args, Subcommand};

use crate::config::Config;
use crate::database::{has_no_accounts, open_accounts};

/// Where the accounts are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory of the data [default: ./entrepot-data]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Settings in TOML; see docs/configuration.md
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Accounts of people.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user. The password, 8 bytes or more, is the first line of standard input.
    Add {
        /// Name to log in with.
        name: String,
        /// Read the password from standard input; the only way, so that it stays out of the shell's history.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Change a password.
    Password {
        /// Whose password.
        name: String,
        /// Read the new password from standard input.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Remove a user with all grants.
    Remove {
        /// Who to remove.
        name: String,
    },
    /// List the users.
    List,
}

/// Accounts of machines.
#[derive(Debug, Subcommand)]
pub(crate) enum RobotCommand {
    /// Add a robot and print its secret, this once.
    Add {
        /// Name to log in with.
        name: String,
    },
    /// Replace a robot's secret and print the new one, this once.
    Renew {
        /// Whose secret.
        name: String,
    },
    /// Remove a robot with all grants.
    Remove {
        /// Which robot.
        name: String,
    },
    /// List the robots.
    List,
}

/// Rights.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// Allow actions on repositories. A grant for the same pattern is replaced.
    Add {
        /// A user, a robot, or `anonymous` for everybody.
        name: String,
        /// A repository (`team/app`), all below a prefix (`team/*`) or all (`*`).
        pattern: String,
        /// Some of pull,push,delete, or `*`.
        actions: String,
    },
    /// Take a grant away.
    Remove {
        /// Whose grant.
        name: String,
        /// Its pattern.
        pattern: String,
    },
    /// List all grants.
    List,
}

/// Any of them.
#[derive(Debug)]
pub(crate) enum AccountCommand {
    /// `entrepot user`
    User(UserCommand),
    /// `entrepot robot`
    Robot(RobotCommand),
    /// `entrepot grant`
    Grant(GrantCommand),
}

impl AccountCommand {
    fn wants_password(&self) -> bool {
        matches!(self, Self::User(UserCommand::Add { .. } | UserCommand::Password { .. }))
    }

    /// Whether it makes sense where nobody is known yet.
    fn begins(&self) -> bool {
        match self {
            Self::User(UserCommand::Add { .. }) | Self::Robot(RobotCommand::Add { .. }) => true,
            Self::Grant(GrantCommand::Add { name, .. }) => name == ANONYMOUS,
            _ => false,
        }
    }

    /// Refuses what would be refused after a database was made for it.
    fn check(&self, password: &str) -> Result<(), AdminError> {
        match self {
            Self::User(UserCommand::Add { name, .. }) => Admin::check_account(name, Some(password)),
            Self::Robot(RobotCommand::Add { name }) => Admin::check_account(name, None),
            Self::Grant(GrantCommand::Add { pattern, actions, .. }) => Admin::check_grant(pattern, actions),
            _ => Ok(()),
        }
    }

    fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::User(UserCommand::List) | Self::Robot(RobotCommand::List) | Self::Grant(GrantCommand::List)
        )
    }
}

impl From<UserCommand> for AccountCommand {
    fn from(command: UserCommand) -> Self {
        Self::User(command)
    }
}

impl From<RobotCommand> for AccountCommand {
    fn from(command: RobotCommand) -> Self {
        Self::Robot(command)
    }
}

impl From<GrantCommand> for AccountCommand {
    fn from(command: GrantCommand) -> Self {
        Self::Grant(command)
    }
}

/// Carries a command out and returns what to print.
pub(crate) async fn run(config: &Config, command: AccountCommand) -> anyhow::Result<String> {
    let password = if command.wants_password() { password()? } else { String::new() };
    if has_no_accounts(config)? {
        let directory = config.data_dir.display();
        if !command.begins() {
            bail!(
                "there are no accounts in {directory}: name the registry's own directory with --data-dir, or its configuration with --config"
            );
        }
        command.check(&password)?;
        note(&format!("begins the accounts in {directory}: a registry knows them that runs on this directory"));
    }
    let database = open_accounts(config)?;
    let admin = Admin::open(database.clone()).await?;
    let changes = !command.only_looks();
    let output = match command {
        AccountCommand::User(command) => user(&admin, command, &password).await,
        AccountCommand::Robot(command) => robot(&admin, command).await,
        AccountCommand::Grant(command) => grant(&admin, command).await,
    };
    database.close().await.context("the change is stored, but the database was not closed cleanly")?;
    if changes && output.is_ok() {
        crate::notices::tell_of_rights(config).await?;
    }
    output
}

#[expect(clippy::print_stderr, reason = "a word to the person who typed the command, whose output a script may read")]
fn note(text: &str) {
    eprintln!("entrepot: {text}");
}

async fn user(admin: &Admin, command: UserCommand, password: &str) -> anyhow::Result<String> {
    Ok(match command {
        UserCommand::Add { name, .. } => {
            admin.add_user(&name, password).await?;
            format!("added the user {name}; say what it may do with: entrepot grant add {name} 'TEAM/*' pull,push")
        }
        UserCommand::Password { name, .. } => {
            admin.set_password(&name, password).await?;
            format!("changed the password of {name}")
        }
        UserCommand::Remove { name } => remove(admin, &name, AccountKind::User).await?,
        UserCommand::List => list(admin, AccountKind::User).await?,
    })
}

async fn robot(admin: &Admin, command: RobotCommand) -> anyhow::Result<String> {
    Ok(match command {
        RobotCommand::Add { name } => admin.add_robot(&name).await?,
        RobotCommand::Renew { name } => admin.renew_robot(&name).await?,
        RobotCommand::Remove { name } => remove(admin, &name, AccountKind::Robot).await?,
        RobotCommand::List => list(admin, AccountKind::Robot).await?,
    })
}

async fn grant(admin: &Admin, command: GrantCommand) -> anyhow::Result<String> {
    match command {
        GrantCommand::Add { name, pattern, actions } => {
            admin.grant(&name, &pattern, &actions).await?;
            Ok(format!("{name} may {actions} {pattern}"))
        }
        GrantCommand::Remove { name, pattern } => {
            admin.revoke(&name, &pattern).await?;
            Ok(format!("{name} has no grant for {pattern} any more"))
        }
        GrantCommand::List => {
            let mut lines = String::new();
            for grant in admin.grants().await? {
                writeln!(lines, "{}\t{}\t{}", grant.subject, grant.pattern.as_str(), grant.actions)?;
            }
            Ok(lines.trim_end().to_owned())
        }
    }
}

async fn remove(admin: &Admin, name: &str, kind: AccountKind) -> anyhow::Result<String> {
    let known = admin.accounts().await?.iter().any(|account| account.kind == kind && account.name.as_str() == name);
    if !known {
        bail!("there is no such account: {name}");
    }
    admin.remove(name).await?;
    Ok(format!("removed {name}"))
}

async fn list(admin: &Admin, kind: AccountKind) -> anyhow::Result<String> {
    let accounts = admin.accounts().await?;
    let names = accounts.iter().filter(|account| account.kind == kind).map(|account| account.name.as_str());
    Ok(names.collect::<Vec<_>>().join("\n"))
}

fn password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text).context("cannot read the password from standard input")?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        bail!(
            "the password is empty: write it to standard input, as in `entrepot user add NAME --password-stdin < FILE`"
        );
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use entrepot_runtime::config::Source;

    use super::*;
    use crate::config::Role;

    /// Whoever forgot `--data-dir` must not get an empty database beside the registry's.
    #[tokio::test]
    async fn a_directory_without_accounts_is_said_and_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("elsewhere");
        let mut source = Source::load(None, []).unwrap();
        source.set("storage.data_dir", directory.display().to_string());
        let config = Config::read(&source, Role::Accounts).unwrap().0;
        let grant = |name: &str, pattern: &str| GrantCommand::Add {
            name: name.into(),
            pattern: pattern.into(),
            actions: "pull".into(),
        };
        let remove = UserCommand::Remove { name: "alice".into() };
        let commands = [UserCommand::List.into(), GrantCommand::List.into(), remove.into(), grant("alice", "*").into()];
        // Nor by what is refused for another reason.
        let robot = RobotCommand::Add { name: "not a name".into() };
        for refused in [robot.into(), grant(ANONYMOUS, "a**b").into()] {
            run(&config, refused).await.unwrap_err();
            assert!(!directory.exists());
        }
        for command in commands {
            let error = run(&config, command).await.unwrap_err().to_string();
            assert!(error.contains(directory.to_str().unwrap()) && error.contains("--data-dir"), "{error}");
            assert!(!directory.exists());
        }
        run(&config, grant(ANONYMOUS, "public/*").into()).await.unwrap();
        assert_eq!(run(&config, GrantCommand::List.into()).await.unwrap(), "anonymous\tpublic/*\tpull");
    }
}
