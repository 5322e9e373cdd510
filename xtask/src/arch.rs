//! `cargo xtask check-arch`: the rules that ARCHITECTURE.md states and no compiler checks.

mod graph;
mod sources;

use anyhow::{Result, bail};

use crate::{cache, process};
use graph::{Graph, Member, Place};

/// Libraries that `entrepot-core` may not reach, directly or through others: it has no I/O and no runtime.
const OUT_OF_CORE: &[&str] = &["tokio", "tonic", "axum", "hyper", "prost", "rusqlite", "sqlx"];

/// Crates that only the named members may depend on.
const RESERVED: &[(&str, &[&str])] = &[
    ("aws-config", &["entrepot-object"]),
    ("aws-sdk-s3", &["entrepot-object"]),
    ("redis", &["entrepot-redis"]),
    ("rusqlite", &["entrepot-sql"]),
    ("sqlx", &["entrepot-sql"]),
    ("entrepot-sql", &["manifest-index", "auth-token", "entrepot"]),
];

/// The one service that composes the others.
const COMPOSER: &str = "entrepot";

/// Checks every rule and reports all breaches at once.
pub(crate) fn run() -> Result<()> {
    let text = process::output(process::cargo().args(["metadata", "--format-version", "1"]))?;
    let graph = Graph::parse(&text)?;
    let mut breaches = dependencies(&graph);
    for member in &graph.members {
        breaches.extend(sources::check(&cache::workspace().join(&member.folder), &member.name)?);
    }
    for breach in &breaches {
        println!("check-arch: {breach}");
    }
    println!("check-arch: {} crates, {} breaches", graph.members.len(), breaches.len());
    if !breaches.is_empty() {
        bail!("the architecture rules are broken");
    }
    Ok(())
}

fn dependencies(graph: &Graph) -> Vec<String> {
    let mut breaches = Vec::new();
    if let Some(core) = graph.member("entrepot-core") {
        for name in graph.reachable(core).intersection(&OUT_OF_CORE.iter().copied().collect()) {
            breaches.push(format!("entrepot-core reaches {name}: it has no I/O and no runtime"));
        }
    }
    for member in &graph.members {
        // A crate may name itself, to have its own test features on in its tests.
        for dependency in member.dependencies.iter().filter(|name| **name != member.name) {
            breaches.extend(reserved(member, dependency).or_else(|| direction(graph, member, dependency)));
        }
    }
    breaches
}

fn reserved(member: &Member, dependency: &str) -> Option<String> {
    let (_, allowed) = RESERVED.iter().find(|(name, _)| *name == dependency)?;
    (!allowed.contains(&member.name.as_str()))
        .then(|| format!("{} depends on {dependency}: only {} may", member.name, allowed.join(", ")))
}

fn direction(graph: &Graph, member: &Member, dependency: &str) -> Option<String> {
    let to = graph.member(dependency)?;
    let allowed = match (member.place, to.place) {
        (Place::Library, place) => place == Place::Library,
        (Place::Service, Place::Service) => member.name == COMPOSER,
        (Place::Service, place) => place == Place::Library,
        // What tests or measures the system from outside sees only its public interface.
        (Place::Outside, place) => place == Place::Library,
    };
    (!allowed).then(|| {
        format!(
            "{} ({:?}) depends on {} ({:?}): dependencies point from services to libraries only",
            member.name, member.place, to.name, to.place
        )
    })
}

#[cfg(test)]
mod tests;
