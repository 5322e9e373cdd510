//! regctl.

use entrepot_e2e::image::{self, Image};

use super::session::{Session, layout_root};

pub(super) fn exercise(session: &Session) {
    let host = session.registry.authority();
    let regctl = |args: &[&str]| session.run("regctl", args);
    match session.ca() {
        Some(ca) => {
            let pem = std::fs::read_to_string(ca).unwrap();
            regctl(&["registry", "set", host, "--skip-check", "--cacert", &pem]);
        }
        None => drop(regctl(&["registry", "set", host, "--skip-check", "--tls", "disabled"])),
    }
    if let Some(user) = session.credentials() {
        regctl(&["registry", "login", host, "-u", &user.user, "-p", &user.password]);
    }
    let (amd, arm) = (Image::random(&[70_000, 3], "amd64"), Image::random(&[9_000], "arm64"));
    let multi = image::index(&[&amd, &arm]);
    let one = session.reference("regctl/app:1");
    let layout = format!("ocidir://{}:latest", session.layout("one", &amd.manifest, &[&amd]));
    let all = format!("ocidir://{}:latest", session.layout("multi", &multi, &[&amd, &arm]));

    for _push_and_push_again in 0..2 {
        regctl(&["image", "copy", &layout, &one]);
        assert_eq!(session.stored("regctl/app:1"), amd.manifest.digest);
    }
    let pulled = session.path("pulled");
    regctl(&["image", "copy", &one, &format!("ocidir://{}:latest", pulled.display())]);
    assert_eq!(layout_root(&pulled), amd.manifest.digest);

    let other = session.reference("regctl/other/app:1");
    regctl(&["image", "copy", &one, &other]);
    assert_eq!(session.stored("regctl/other/app:1"), amd.manifest.digest);

    let name = session.reference("regctl/app:multi");
    regctl(&["image", "copy", &all, &name]);
    assert_eq!(session.stored("regctl/app:multi"), multi.digest);
    let digest = session.output("regctl", &["image", "digest", "--platform", "linux/arm64", &name]);
    assert_eq!(digest, arm.manifest.digest);

    session.write("sbom.json", br#"{"packages":[]}"#);
    let put = ["artifact", "put", "--artifact-type", "application/vnd.example.sbom", "--file", "sbom.json"];
    regctl(&[&put[..], &["--subject", &one]].concat());
    let listed = session.output("regctl", &["artifact", "list", "--format", "{{jsonPretty .}}", &one]);
    let referrers = session.api.referrers("regctl/app", &amd.manifest.digest).unwrap();
    assert_eq!(referrers.len(), 1);
    assert!(listed.contains(&referrers[0]), "{listed}");

    let tags = session.output("regctl", &["tag", "ls", &session.reference("regctl/app")]);
    assert!(tags.lines().any(|line| line == "multi"), "{tags}");
    regctl(&["tag", "delete", &name]);
    assert!(session.api.manifest("regctl/app", "multi").unwrap().is_none());
    assert!(session.api.manifest("regctl/app", &multi.digest).unwrap().is_some());
    regctl(&["manifest", "delete", &format!("{other}@{}", amd.manifest.digest)]);
    session.refused("regctl", &["manifest", "head", &other]);
    assert_eq!(session.stored("regctl/app:1"), amd.manifest.digest);
}
