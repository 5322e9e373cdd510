//! skopeo.

use entrepot_e2e::image::{self, Image};

use super::session::{Session, layout_root};

pub(super) fn exercise(session: &Session) {
    let access = Access::of(session);
    let skopeo = |args: &[&str]| session.run("skopeo", args);
    if let Some(user) = session.credentials() {
        let host = session.registry.authority();
        let login = ["login", "-u", &user.user, "-p", &user.password, host];
        skopeo(&[&login[..], &access.plain()].concat());
    }
    let (amd, arm) = (Image::random(&[70_000, 3], "amd64"), Image::random(&[9_000], "arm64"));
    let multi = image::index(&[&amd, &arm]);
    let one = format!("oci:{}:latest", session.layout("one", &amd.manifest, &[&amd]));
    let all = format!("oci:{}:latest", session.layout("multi", &multi, &[&amd, &arm]));
    let remote = |name: &str| format!("docker://{}", session.reference(name));

    for _push_and_push_again in 0..2 {
        skopeo(&[&["copy", &one, &remote("skopeo/app:1")][..], &access.destination()].concat());
        assert_eq!(session.stored("skopeo/app:1"), amd.manifest.digest);
    }
    let pulled = session.path("pulled");
    let to = format!("oci:{}:latest", pulled.display());
    skopeo(&[&["copy", &remote("skopeo/app:1"), &to][..], &access.source()].concat());
    assert_eq!(layout_root(&pulled), amd.manifest.digest);

    let copy = ["copy", &remote("skopeo/app:1"), &remote("skopeo/other:1")];
    skopeo(&[&copy[..], &access.source(), &access.destination()].concat());
    assert_eq!(session.stored("skopeo/other:1"), amd.manifest.digest);

    let copy = ["copy", "--all", &all, &remote("skopeo/app:multi")];
    skopeo(&[&copy[..], &access.destination()].concat());
    assert_eq!(session.stored("skopeo/app:multi"), multi.digest);

    let inspect = ["inspect", "--format", "{{.Digest}}", &remote("skopeo/app:multi")];
    let said = session.output("skopeo", &[&inspect[..], &access.plain()].concat());
    assert!([&multi.digest, &amd.manifest.digest].contains(&&said), "{said}");
    let tags = session.output("skopeo", &[&["list-tags", &remote("skopeo/app")][..], &access.plain()].concat());
    assert!(tags.contains("\"multi\""), "{tags}");

    skopeo(&[&["delete", &remote("skopeo/other:1")][..], &access.plain()].concat());
    let said = session.refused("skopeo", &[&["inspect", &remote("skopeo/other:1")][..], &access.plain()].concat());
    assert!(said.contains("manifest unknown"), "{said}");
    assert_eq!(session.stored("skopeo/app:1"), amd.manifest.digest);
}

/// The options that say how to connect, which differ with the side of a copy.
pub(super) struct Access {
    certificates: Option<String>,
}

impl Access {
    /// For plain HTTP, or for the session's authority.
    pub(super) fn of(session: &Session) -> Self {
        let certificates = session.ca().map(|ca| {
            let folder = session.folder("certificates");
            std::fs::copy(ca, folder.join("ca.crt")).unwrap();
            folder.to_str().unwrap().to_owned()
        });
        Self { certificates }
    }

    fn options(&self, certificates: &'static str, verify: &'static str) -> Vec<&str> {
        match &self.certificates {
            Some(folder) => vec![certificates, folder],
            None => vec![verify],
        }
    }

    /// For commands with one registry.
    pub(super) fn plain(&self) -> Vec<&str> {
        self.options("--cert-dir", "--tls-verify=false")
    }

    fn source(&self) -> Vec<&str> {
        self.options("--src-cert-dir", "--src-tls-verify=false")
    }

    fn destination(&self) -> Vec<&str> {
        self.options("--dest-cert-dir", "--dest-tls-verify=false")
    }
}
