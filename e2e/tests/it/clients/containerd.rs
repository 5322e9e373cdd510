//! containerd and runc, by `ctr`.

use std::path::Path;
use std::time::Duration;

use entrepot_e2e::image::{self, Image};
use entrepot_e2e::process::Daemon;
use entrepot_e2e::{layout, poll, process};

use super::session::Session;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn exercise(session: &Session) {
    let containerd = Containerd::start(session);
    let ctr = |args: &[&str]| containerd.run(args);
    let mut access: Vec<String> = match session.ca() {
        Some(ca) => vec!["--hosts-dir".to_owned(), hosts_folder(session, ca)],
        None => vec!["--plain-http".to_owned()],
    };
    if let Some(user) = session.credentials() {
        access.extend(["--user".to_owned(), format!("{}:{}", user.user, user.password)]);
    }
    let access: Vec<&str> = access.iter().map(String::as_str).collect();
    let push = |name: &str| ctr(&[&["images", "push"][..], &access, &[name]].concat());
    let pull = |name: &str| {
        let pull = ["images", "pull", "--snapshotter", "native"];
        ctr(&[&pull[..], &access, &[name]].concat())
    };

    let marker = format!("containerd on {}", session.registry.authority());
    let image = Image::runnable(&marker).unwrap();
    let one = session.reference("containerd/app:1");
    containerd.import(&one, &image.manifest, &[&image]);
    for _push_and_push_again in 0..2 {
        push(&one);
        assert_eq!(session.stored("containerd/app:1"), image.manifest.digest);
    }

    containerd.forget(&[&one]);
    pull(&one);
    assert!(containerd.digest(&one).contains(&image.manifest.digest));
    // Every containerd of the machine keeps its containers in one folder of runc's.
    let id = session.reference("").replace(['.', ':', '/'], "-") + "e2e";
    let run = ["run", "--rm", "--snapshotter", "native", &one, &id];
    assert_eq!(ctr(&run), marker);

    // What was pulled carries its source, from which containerd mounts.
    let other = session.reference("containerd/other/app:1");
    ctr(&["images", "tag", &one, &other]);
    push(&other);
    assert_eq!(session.stored("containerd/other/app:1"), image.manifest.digest);

    let arm = Image::random(&[5_000], "arm64");
    let multi = image::index(&[&image, &arm]);
    let name = session.reference("containerd/app:multi");
    containerd.import(&name, &multi, &[&image, &arm]);
    push(&name);
    assert_eq!(session.stored("containerd/app:multi"), multi.digest);
    containerd.forget(&[&one, &other, &name]);
    let all = ["images", "pull", "--all-platforms", "--snapshotter", "native"];
    ctr(&[&all[..], &access, &[&name]].concat());
    assert!(containerd.digest(&name).contains(&multi.digest));

    session.delete("containerd/other/app:1");
    let said = containerd.refused(&[&["images", "pull"][..], &access, &[&other]].concat());
    assert!(said.contains("not found"), "{said}");
}

/// Tells containerd to use TLS on loopback, where it would otherwise not.
fn hosts_folder(session: &Session, ca: &Path) -> String {
    let host = session.registry.authority();
    let config = format!(
        "server = \"https://{host}\"\n[host.\"https://{host}\"]\ncapabilities = [\"pull\", \"resolve\", \"push\"]\nca = \"{}\"\n",
        ca.display()
    );
    session.write(&format!("hosts.d/{host}/hosts.toml"), config);
    session.path("hosts.d").to_str().unwrap().to_owned()
}

struct Containerd<'a> {
    session: &'a Session,
    daemon: Daemon,
    socket: String,
}

impl<'a> Containerd<'a> {
    fn start(session: &'a Session) -> Self {
        let home = session.home().display();
        let config = format!(
            "version = 2\nroot = \"{home}/root\"\nstate = \"{home}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{home}/c.sock\"\n[ttrpc]\naddress = \"{home}/t.sock\"\n"
        );
        let config = session.write("containerd.toml", config);
        let mut command = session.command("containerd");
        command.arg("--config").arg(config);
        let daemon = Daemon::start("containerd", session.home(), &mut command).unwrap();
        let mut containerd = Self { session, daemon, socket: format!("{home}/c.sock") };
        let ready = poll::until("containerd", PATIENCE, || {
            containerd.daemon.check_alive()?;
            process::run(session.command("ctr").args(["--address", &containerd.socket, "version"]))
        });
        if let Err(error) = ready {
            panic!("{error:#}\n{}", containerd.daemon.log_tail(30));
        }
        containerd
    }

    fn run(&self, args: &[&str]) -> String {
        self.session.output("ctr", &[&["--address", &self.socket][..], args].concat())
    }

    fn refused(&self, args: &[&str]) -> String {
        self.session.refused("ctr", &[&["--address", &self.socket][..], args].concat())
    }

    fn import(&self, name: &str, root: &image::Blob, images: &[&Image]) {
        let archive = self.session.write("import.tar", layout::archive(name, root, images));
        let archive = archive.to_str().unwrap();
        self.run(&["images", "import", "--all-platforms", "--no-unpack", archive]);
    }

    /// Removes images with their content, so that a pull has to fetch.
    fn forget(&self, names: &[&str]) {
        self.run(&[&["images", "rm", "--sync"][..], names].concat());
        let left = self.run(&["content", "ls", "--quiet"]);
        assert_eq!(left, "", "content stayed after its images went");
    }

    fn digest(&self, name: &str) -> String {
        self.run(&["images", "ls", &format!("name=={name}")])
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        // A failure to end shows in the next test, not here.
        let _ = self.daemon.terminate(PATIENCE);
    }
}
