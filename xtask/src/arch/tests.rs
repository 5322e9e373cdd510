use super::*;

/// From, to, and the kind that `cargo metadata` gives (`None` for an ordinary dependency).
type Edge = (&'static str, &'static str, Option<&'static str>);

/// A workspace of `core`, `sql`, two services and a suite, with the given dependencies added.
fn graph(extra: &[Edge]) -> Graph {
    let members = [
        ("entrepot-core", "libs"),
        ("entrepot-sql", "libs"),
        ("manifest-index", "services"),
        ("blob-store", "services"),
        ("entrepot", "services"),
        ("entrepot-e2e", "e2e"),
    ];
    let others = ["serde", "tokio", "rusqlite", "wrapper"];
    let edges = |name: &str| -> Vec<(String, Option<String>)> {
        extra
            .iter()
            .filter(|(from, ..)| *from == name)
            .map(|(_, to, kind)| ((*to).to_owned(), kind.map(str::to_owned)))
            .collect()
    };
    let names = || members.iter().map(|(name, _)| *name).chain(others);
    let packages: Vec<_> = names()
        .map(|name| {
            let folder = members.iter().find(|(n, _)| *n == name).map_or("", |(_, f)| f);
            let dependencies: Vec<_> =
                edges(name).iter().map(|(to, kind)| serde_json::json!({"name": to, "kind": kind})).collect();
            serde_json::json!({
                "id": name, "name": name, "dependencies": dependencies,
                "manifest_path": format!("/w/{folder}/{name}/Cargo.toml"),
            })
        })
        .collect();
    let nodes: Vec<_> = names()
        .map(|name| {
            let deps: Vec<_> = edges(name)
                .iter()
                .map(|(to, kind)| serde_json::json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                .collect();
            serde_json::json!({"id": name, "deps": deps})
        })
        .collect();
    let metadata = serde_json::json!({
        "workspace_root": "/w",
        "workspace_members": members.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "packages": packages,
        "resolve": {"nodes": nodes},
    });
    Graph::parse(&metadata.to_string()).unwrap()
}

#[test]
fn the_intended_graph_has_no_breach() {
    let graph = graph(&[
        ("entrepot-core", "serde", None),
        ("entrepot-core", "tokio", Some("dev")),
        ("entrepot-sql", "rusqlite", None),
        ("entrepot-sql", "entrepot-sql", Some("dev")),
        ("manifest-index", "entrepot-sql", None),
        ("entrepot", "blob-store", None),
        ("entrepot", "entrepot-sql", None),
        ("entrepot-e2e", "entrepot-core", None),
    ]);
    assert_eq!(dependencies(&graph), Vec::<String>::new());
}

#[test]
fn each_forbidden_edge_is_one_breach() {
    let cases: &[(&[Edge], &str)] = &[
        (&[("entrepot-core", "wrapper", None), ("wrapper", "tokio", None)], "entrepot-core reaches tokio"),
        (&[("blob-store", "redis", None)], "blob-store depends on redis"),
        (&[("blob-store", "rusqlite", None)], "blob-store depends on rusqlite"),
        (&[("blob-store", "entrepot-sql", None)], "blob-store depends on entrepot-sql"),
        (&[("blob-store", "manifest-index", None)], "blob-store (Service)"),
        (&[("blob-store", "manifest-index", Some("dev"))], "blob-store (Service)"),
        (&[("entrepot-core", "blob-store", None)], "entrepot-core (Library)"),
        (&[("entrepot-e2e", "entrepot", None)], "entrepot-e2e (Outside)"),
    ];
    for (edges, expected) in cases {
        let breaches = dependencies(&graph(edges));
        assert_eq!(breaches.len(), 1, "{edges:?}: {breaches:?}");
        assert!(breaches[0].starts_with(expected), "{edges:?}: {breaches:?}");
    }
}

#[test]
fn lints_must_be_inherited_in_their_own_section() {
    assert!(sources::inherits_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
    assert!(!sources::inherits_lints("[dependencies]\nworkspace = true\n[lints]\n"));
}

#[test]
fn inline_tests_do_not_count_and_a_test_file_declaration_does_not_end_the_count() {
    assert_eq!(sources::lines_without_tests("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
    assert_eq!(sources::lines_without_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
}
