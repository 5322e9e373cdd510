//! helm: charts, whose version may hold a `+` that no tag may.

use super::session::Session;

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.2.3+build.5\n";

pub(super) fn exercise(session: &Session) {
    let options = match session.ca() {
        Some(ca) => vec!["--ca-file", ca.to_str().unwrap()],
        None => vec!["--plain-http"],
    };
    if let Some(user) = session.credentials() {
        let login = ["registry", "login", session.registry.authority(), "-u", &user.user, "-p", &user.password];
        session.run("helm", &[&login[..], &options].concat());
    }
    session.write("web/Chart.yaml", CHART);
    session.write("web/templates/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n");
    session.run("helm", &["package", "web"]);
    let package = "web-1.2.3+build.5.tgz";

    let push = |repository: &str| {
        let url = format!("oci://{}", session.reference(repository));
        let said = session.run("helm", &[&["push", package, &url][..], &options].concat());
        said.lines()
            .find_map(|line| line.strip_prefix("Digest: "))
            .unwrap_or_else(|| panic!("no digest: {said}"))
            .to_owned()
    };
    let first = push("charts");
    assert_eq!(session.stored("charts/web:1.2.3_build.5"), first);
    // A chart's manifest holds its creation time, so a second push may move the tag.
    let second = push("charts");
    assert_eq!(session.stored("charts/web:1.2.3_build.5"), second);
    let third = push("other/charts");
    assert_eq!(session.stored("other/charts/web:1.2.3_build.5"), third);

    let url = format!("oci://{}", session.reference("charts/web"));
    let pulled = session.folder("pulled");
    let pull = ["pull", &url, "--version", "1.2.3+build.5", "--destination", pulled.to_str().unwrap()];
    session.run("helm", &[&pull[..], &options].concat());
    let same = std::fs::read(pulled.join(package)).unwrap() == std::fs::read(session.path(package)).unwrap();
    assert!(same, "the pulled chart differs");
    let show = ["show", "chart", &url, "--version", "1.2.3+build.5"];
    let shown = session.run("helm", &[&show[..], &options].concat());
    assert!(shown.contains("name: web"), "{shown}");
    // Without a version helm lists tags and chooses.
    session.run("helm", &[&["template", "release", &url][..], &options].concat());

    session.delete("other/charts/web:1.2.3_build.5");
    let url = format!("oci://{}", session.reference("other/charts/web"));
    session.refused("helm", &[&["pull", &url, "--version", "1.2.3+build.5"][..], &options].concat());
}
