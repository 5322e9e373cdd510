//! The whole registry, and the command line, on PostgreSQL.

use std::path::Path;
use std::process::{Command, Output};

use entrepot::testing::{TestRegistry, Topology};
use entrepot_sql::testing::Scratch;
use entrepot_testkit::proxy::{Mode, Proxy};

use crate::process::Process;
use crate::support::push_image;

fn scratch() -> Scratch {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Scratch::make()).unwrap()
}

fn command(url: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
    command.args(arguments).current_dir(folder).env("ENTREPOT__DATABASE__URL", url);
    command.env("ENTREPOT__INTERNAL__SECRET", "0123456789012345678901234567890123456789");
    command.env("ENTREPOT__INTERNAL__LISTEN", "127.0.0.1:0").env("ENTREPOT__ADMIN__LISTEN", "127.0.0.1:0");
    command
}

fn entrepot(database: &Scratch, folder: &Path, arguments: &[&str]) -> Output {
    command(&database.url(), folder, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_service_asks_for_migrate_and_migrate_says_what_it_did() {
    let (database, folder) = (scratch(), tempfile::tempdir().unwrap());
    let early = entrepot(&database, folder.path(), &["manifest-index"]);
    assert!(!early.status.success() && said(&early).contains("entrepot migrate"), "{}", said(&early));
    let early = entrepot(&database, folder.path(), &["user", "list"]);
    assert!(!early.status.success() && said(&early).contains("entrepot migrate"), "{}", said(&early));
    let first = entrepot(&database, folder.path(), &["migrate"]);
    assert!(first.status.success(), "{}", said(&first));
    for line in ["registry: applied 1, registry", "registry: version 2, up to date now", "auth: applied 1, accounts"] {
        assert!(said(&first).contains(line), "{}", said(&first));
    }
    let again = said(&entrepot(&database, folder.path(), &["migrate"]));
    assert!(!again.contains("applied") && again.contains("registry: version 2, was up to date"), "{again}");
    let added = entrepot(&database, folder.path(), &["robot", "add", "ci"]);
    assert!(added.status.success(), "{}", said(&added));
    assert_eq!(said(&entrepot(&database, folder.path(), &["robot", "list"])).trim(), "ci");
    let granted = entrepot(&database, folder.path(), &["grant", "add", "ci", "team/*", "pull"]);
    assert!(granted.status.success(), "{}", said(&granted));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is kept on this machine's disk");
}

/// What it says stands in `/readyz` and in the answers to health checks too.
#[test]
fn a_service_says_when_it_has_no_database_and_when_it_has_one_again() {
    let (database, folder) = (scratch(), tempfile::tempdir().unwrap());
    assert!(entrepot(&database, folder.path(), &["migrate"]).status.success());
    let url = database.url();
    let (before, rest) = url.split_at(url.find('@').unwrap() + 1);
    let (server, after) = rest.split_at(rest.find('/').unwrap());
    for service in ["manifest-index", "auth-token"] {
        let proxy = Proxy::start(server.parse().unwrap());
        let url = format!("{before}{}{after}", proxy.address());
        let process = Process::start(command(&url, folder.path(), &[service]).env("ENTREPOT__AUTH__MODE", "open"));
        process.says("ready", 1);
        for (time, gone) in [(1, Mode::Refuse), (2, Mode::Stall)] {
            proxy.set(gone);
            process.says("the database cannot be used", time);
            proxy.set(Mode::Pass);
            process.says("the database can be used again", time);
        }
    }
}

#[test]
fn what_was_pushed_outlives_the_process_and_its_disk_holds_no_metadata() {
    for topology in [Topology::Local, Topology::Grpc] {
        let mut registry = TestRegistry::open(topology);
        let image = push_image(&registry, "team/app", "v1", "on postgres");
        registry.restart();
        let answer = registry.get("/v2/team/app/manifests/v1").expect(200);
        assert_eq!(answer.body, image.payload);
        for file in ["registry.db", "auth.db"] {
            assert!(!registry.data_dir().join(file).exists(), "{file}");
        }
    }
}
