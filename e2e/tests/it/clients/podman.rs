//! podman, which also runs what it pulled.

use entrepot_e2e::image::{Image, host_architecture};

use super::session::Session;
use super::skopeo::Access;

pub(super) fn exercise(session: &Session) {
    storage(session);
    let access = Access::of(session);
    let access = access.plain();
    let podman = |args: &[&str]| session.run("podman", args);
    if let Some(user) = session.credentials() {
        let login = ["login", "-u", &user.user, "-p", &user.password, session.registry.authority()];
        podman(&[&login[..], &access].concat());
    }
    let marker = format!("podman on {}", session.registry.authority());
    let image = Image::runnable(&marker).unwrap();
    let layout = session.layout("image", &image.manifest, &[&image]);
    let one = session.reference("podman/app:1");
    let loaded = session.output("podman", &["pull", "--quiet", &format!("oci:{layout}:latest")]);
    podman(&["tag", &loaded, &one]);

    let digest_file = session.path("digest");
    let push = |name: &str| {
        let push = ["push", "--digestfile", digest_file.to_str().unwrap(), name];
        podman(&[&push[..], &access].concat());
        std::fs::read_to_string(&digest_file).unwrap().trim().to_owned()
    };
    let first = push(&one);
    assert_eq!(session.stored("podman/app:1"), first);
    assert_eq!(push(&one), first, "a second push of the same image");
    let other = session.reference("podman/other/app:1");
    podman(&["tag", &one, &other]);
    assert_eq!(push(&other), first);
    assert_eq!(session.stored("podman/other/app:1"), first);

    podman(&["rmi", "--force", &loaded]);
    podman(&[&["pull", &one][..], &access].concat());
    let pulled = session.output("podman", &["inspect", "--format", "{{.Digest}}", &one]);
    assert_eq!(pulled, first);
    assert_eq!(run(session, &one), marker);

    let arm = Image::random(&[5_000], "arm64");
    session.api.push_image("podman/app", "arm", &arm).unwrap();
    podman(&["manifest", "create", "multi"]);
    for name in ["podman/app:1", "podman/app:arm"] {
        let remote = format!("docker://{}", session.reference(name));
        podman(&[&["manifest", "add", "multi", &remote][..], &access].concat());
    }
    let multi = session.reference("podman/app:multi");
    let target = format!("docker://{multi}");
    podman(&[&["manifest", "push", "--all", "multi", &target][..], &access].concat());
    session.stored("podman/app:multi");
    podman(&["rmi", "--force", "--all"]);
    podman(&[&["pull", "--platform", &format!("linux/{}", host_architecture()), &multi][..], &access].concat());
    assert_eq!(run(session, &multi), marker);

    session.delete("podman/other/app:1");
    let said = session.refused("podman", &[&["pull", &other][..], &access].concat());
    assert!(said.contains("manifest unknown"), "{said}");
}

/// Private storage in plain copies, which needs nothing of the file system below.
pub(super) fn storage(session: &Session) {
    let home = session.home().display();
    let config = format!("[storage]\ndriver = \"vfs\"\nrunroot = \"{home}/run\"\ngraphroot = \"{home}/graph\"\n");
    session.write("config/containers/storage.conf", config);
    session.write("config/containers/policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    session.write("config/containers/registries.conf", "unqualified-search-registries = []\n");
}

/// What a container of `image` prints. The options avoid what a confined machine refuses: raised limits,
/// cgroups of both versions at once, networks.
fn run(session: &Session, image: &str) -> String {
    let runtime = session.command("runc").get_program().to_str().unwrap().to_owned();
    session.output(
        "podman",
        &[
            "--runtime",
            &runtime,
            "--cgroup-manager",
            "cgroupfs",
            "run",
            "--rm",
            "--pull=never",
            "--network=none",
            "--log-driver=none",
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
            image,
        ],
    )
}
