//! buildah: an image is built here, layer by layer, rather than loaded.

use super::podman;
use super::session::Session;
use super::skopeo::Access;

pub(super) fn exercise(session: &Session) {
    podman::storage(session);
    let access = Access::of(session);
    let access = access.plain();
    let buildah = |args: &[&str]| session.run("buildah", args);
    // It takes options only before what they are for.
    let remote = |verb: &[&str], rest: &[&str]| session.output("buildah", &[verb, &access, rest].concat());
    if let Some(user) = session.credentials() {
        remote(&["login", "-u", &user.user, "-p", &user.password], &[session.registry.authority()]);
    }
    let content = session.write("content", entrepot_e2e::random_bytes(50_000));
    let one = session.reference("buildah/app:1");
    let container = session.output("buildah", &["from", "scratch"]);
    session.run("buildah", &["add", &container, content.to_str().unwrap(), "/data"]);
    buildah(&["commit", "--quiet", &container, &one]);

    let digest_file = session.path("digest");
    let push = |name: &str| {
        remote(&["push", "--digestfile", digest_file.to_str().unwrap()], &[name]);
        std::fs::read_to_string(&digest_file).unwrap().trim().to_owned()
    };
    let first = push(&one);
    assert_eq!(session.stored("buildah/app:1"), first);
    assert_eq!(push(&one), first, "a second push of the same image");
    let other = session.reference("buildah/other/app:1");
    buildah(&["tag", &one, &other]);
    assert_eq!(push(&other), first);
    assert_eq!(session.stored("buildah/other/app:1"), first);

    buildah(&["rmi", "--all", "--force"]);
    remote(&["pull", "--quiet"], &[&one]);
    let pulled = session.output("buildah", &["inspect", "--type", "image", "--format", "{{.FromImageDigest}}", &one]);
    assert_eq!(pulled, first);
    let built_on = remote(&["from", "--pull-always"], &[&one]);
    let mounted = session.output("buildah", &["mount", &built_on]);
    let copied = std::fs::read(format!("{mounted}/data")).unwrap();
    assert_eq!(copied, std::fs::read(&content).unwrap());
    buildah(&["umount", &built_on]);

    buildah(&["manifest", "create", "multi"]);
    remote(&["manifest", "add"], &["multi", &format!("docker://{one}")]);
    let multi = format!("docker://{}", session.reference("buildah/app:multi"));
    remote(&["manifest", "push", "--all"], &["multi", &multi]);
    session.stored("buildah/app:multi");

    session.delete("buildah/other/app:1");
    let said = session.refused("buildah", &[&["pull"][..], &access, &[&other]].concat());
    assert!(said.contains("manifest unknown"), "{said}");
    buildah(&["rm", "--all"]);
}
