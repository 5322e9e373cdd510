//! oras: artifacts and what refers to them.

use serde_json::Value;

use super::session::Session;

pub(super) fn exercise(session: &Session) {
    let mut options = match session.ca() {
        Some(ca) => vec!["--ca-file", ca.to_str().unwrap()],
        None => vec!["--plain-http"],
    };
    if let Some(user) = session.credentials() {
        let login = ["login", "-u", &user.user, "-p", &user.password, session.registry.authority()];
        session.run("oras", &[&login[..], &options].concat());
    }
    options.push("--no-tty");
    let oras = |args: &[&str]| -> Value {
        let text = session.output("oras", &[args, &options, &["--format", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    };
    let plain: Vec<&str> = options.iter().copied().filter(|option| *option != "--no-tty").collect();
    let content = entrepot_e2e::random_bytes(30_000);
    session.write("content.bin", &content);
    session.write("sbom.json", br#"{"packages":[]}"#);
    session.write("signature.bin", entrepot_e2e::random_bytes(64));

    let one = session.reference("oras/app:1");
    let push = ["push", &one, "--artifact-type", "application/vnd.example.app", "content.bin:application/octet-stream"];
    // The second push has another creation time unless told one.
    let stamp = ["--annotation", "org.opencontainers.image.created=2026-01-01T00:00:00Z"];
    let first = oras(&[&push[..], &stamp].concat())["digest"].as_str().unwrap().to_owned();
    assert_eq!(session.stored("oras/app:1"), first);
    assert_eq!(oras(&[&push[..], &stamp].concat())["digest"], first.as_str());

    let pulled = session.folder("pulled");
    oras(&["pull", &one, "--output", pulled.to_str().unwrap()]);
    assert_eq!(std::fs::read(pulled.join("content.bin")).unwrap(), content);

    let attach = |kind: &str, file: &str| {
        let attached = oras(&["attach", &one, "--artifact-type", kind, file]);
        attached["digest"].as_str().unwrap().to_owned()
    };
    let sbom = attach("application/vnd.example.sbom", "sbom.json:application/json");
    let signature = attach("application/vnd.example.signature", "signature.bin");
    let mut referrers = session.api.referrers("oras/app", &first).unwrap();
    referrers.sort();
    let mut expected = vec![sbom.clone(), signature];
    expected.sort();
    assert_eq!(referrers, expected);
    let found = session.output(
        "oras",
        &[&["discover", &one, "--artifact-type", "application/vnd.example.sbom", "--format", "json"][..], &plain]
            .concat(),
    );
    assert!(found.contains(&sbom), "{found}");

    let other = session.reference("oras/other/app:1");
    let copy = copy_options(&plain);
    let copy: Vec<&str> = copy.iter().map(String::as_str).collect();
    session.run("oras", &[&["cp", "--recursive", &one, &other][..], &copy].concat());
    assert_eq!(session.stored("oras/other/app:1"), first);
    assert_eq!(session.api.referrers("oras/other/app", &first).unwrap().len(), 2);

    let multi = session.reference("oras/app:multi");
    session.run("oras", &[&["manifest", "index", "create", &multi, "1"][..], &plain].concat());
    session.stored("oras/app:multi");
    let tags = session.output("oras", &[&["repo", "tags", &session.reference("oras/app")][..], &plain].concat());
    assert!(tags.lines().any(|line| line == "multi"), "{tags}");

    session.run("oras", &[&["manifest", "delete", "--force", &other][..], &plain].concat());
    let said = session.refused("oras", &[&["manifest", "fetch", &other][..], &plain].concat());
    assert!(said.contains("not found"), "{said}");
    assert_eq!(session.stored("oras/app:1"), first);
}

/// The same options for both sides of a copy.
fn copy_options(options: &[&str]) -> Vec<String> {
    ["--from-", "--to-"]
        .iter()
        .flat_map(|side| {
            options.iter().map(move |option| match option.strip_prefix("--") {
                Some(name) => format!("{side}{name}"),
                None => (*option).to_owned(),
            })
        })
        .collect()
}
