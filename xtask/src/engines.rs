//! `cargo xtask engines`: the tests of everything that stores metadata, on a real PostgreSQL.
//!
//! The same tests run on SQLite in `cargo xtask test`; here the feature `postgres-tests` puts them onto a server that is
//! started for them and thrown away.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::postgres::{Programs, Server};
use crate::{process, tools};

/// The crates with tests that run on either engine.
const CRATES: &[&str] = &["entrepot-sql", "manifest-index", "auth-token", "entrepot"];

/// Starts a server, runs the tests with the given arguments of `cargo test`, stops the server; then the test that needs a
/// server to lose.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if Programs::find().is_err() {
        tools::install_package("postgresql");
    }
    let programs = Programs::find()?;
    let folder = Folder::new()?;
    let mut server = Server::create(&programs, &folder.0.join("alone"))?;
    println!("engines: PostgreSQL on port {}, process {}", server.port(), server.pid());
    let url = server.url("postgres");
    let outcome = CRATES.iter().map(|name| test(name, &url, args)).fold(Ok(()), Result::and);
    server.stop()?;
    outcome.and(failover(&programs, &folder.0))
}

fn test(name: &str, url: &str, args: &[String]) -> Result<()> {
    let mut command = process::cargo();
    command.args(["test", "--package", name, "--features", "postgres-tests", "--lib", "--tests"]).args(args);
    process::run(command.env("ENTREPOT_TEST_POSTGRES", url))
}

/// Writes go on while the server is killed and its synchronous standby takes over: the test says when, by connecting.
fn failover(programs: &Programs, folder: &Path) -> Result<()> {
    let mut primary = Server::create(programs, &folder.join("primary"))?;
    let mut standby = primary.add_standby(&folder.join("standby"), true)?;
    println!("engines: failover from port {} to port {}", primary.port(), standby.port());
    let url = primary.url_with(&standby, "postgres");
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("listening for the test")?;
    let address = listener.local_addr()?;
    let operator = thread::spawn(move || -> Result<()> {
        let (mut test, _) = listener.accept()?;
        primary.kill()?;
        standby.promote()?;
        // A test that has ended does not care.
        let _ = test.write_all(b"promoted");
        let _ = test.read(&mut [0]);
        standby.stop()
    });
    let mut command = process::cargo();
    command.args(["test", "--package", "entrepot-sql", "--features", "postgres-tests", "--test", "it", "--"]);
    command.args(["failover::", "--ignored"]);
    command.env("ENTREPOT_TEST_POSTGRES", url).env("ENTREPOT_TEST_FAILOVER", address.to_string());
    let outcome = process::run(&mut command);
    // One that failed before it asked leaves the operator waiting.
    drop(TcpStream::connect(address));
    match operator.join() {
        Ok(operated) => outcome.and(operated),
        Err(_) => outcome.and_then(|()| bail!("the failover went wrong")),
    }
}

/// A folder that every user can pass through and that goes away with us.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("entrepot-engines-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("engines: {} stays behind: {error}", self.0.display());
        }
    }
}
