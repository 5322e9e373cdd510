//! crane.

use entrepot_e2e::image::{self, Image};

use super::session::{Session, layout_root};

pub(super) fn exercise(session: &Session) {
    if let Some(user) = session.credentials() {
        let host = session.registry.authority();
        session.refused("crane", &["catalog", host]);
        session.run("crane", &["auth", "login", host, "-u", &user.user, "-p", &user.password]);
    }
    let (amd, arm) = (Image::random(&[70_000, 3], "amd64"), Image::random(&[9_000], "arm64"));
    let one = session.reference("crane/app:1");
    let layout = session.layout("one", &amd.manifest, &[&amd]);

    for _push_and_push_again in 0..2 {
        session.run("crane", &["push", &layout, &one]);
        assert_eq!(session.stored("crane/app:1"), amd.manifest.digest);
    }
    session.run("crane", &["validate", "--remote", &one]);
    let pulled = session.path("pulled");
    session.run("crane", &["pull", "--format", "oci", &one, pulled.to_str().unwrap()]);
    assert_eq!(layout_root(&pulled), amd.manifest.digest);

    let other = session.reference("crane/other/app:1");
    let said = session.run("crane", &["copy", &one, &other]);
    assert!(said.contains("mounted blob"), "crane did not mount: {said}");
    assert_eq!(session.stored("crane/other/app:1"), amd.manifest.digest);

    let multi = image::index(&[&amd, &arm]);
    let layout = session.layout("multi", &multi, &[&amd, &arm]);
    let name = session.reference("crane/app:multi");
    session.run("crane", &["push", &layout, &name]);
    assert_eq!(session.stored("crane/app:multi"), multi.digest);
    let digest = session.output("crane", &["digest", "--platform", "linux/arm64", &name]);
    assert_eq!(digest, arm.manifest.digest);

    let list = session.output("crane", &["ls", &session.reference("crane/app")]);
    assert_eq!(list.lines().collect::<Vec<_>>(), ["1", "multi"]);
    let catalog = session.output("crane", &["catalog", session.registry.authority()]);
    assert!(catalog.lines().any(|line| line == "crane/other/app"), "{catalog}");

    session.run("crane", &["delete", &format!("{}@{}", session.reference("crane/other/app"), amd.manifest.digest)]);
    let said = session.refused("crane", &["digest", &other]);
    assert!(said.contains("MANIFEST_UNKNOWN") || said.contains("404"), "{said}");
    assert_eq!(session.stored("crane/app:1"), amd.manifest.digest);
}
