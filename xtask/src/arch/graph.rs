//! The dependency graph, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

/// Where a member of the workspace lies, which decides what it may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Library,
    Service,
    Outside,
}

/// One crate of the workspace.
pub(super) struct Member {
    pub(super) name: String,
    /// Relative to the workspace root.
    pub(super) folder: String,
    pub(super) place: Place,
    /// Names of direct dependencies; those of tests count for members of the workspace only.
    pub(super) dependencies: BTreeSet<String>,
    id: String,
}

/// All members, and the resolved graph below them.
pub(super) struct Graph {
    pub(super) members: Vec<Member>,
    /// Package id → ids of what it is built with, tests left out.
    edges: BTreeMap<String, Vec<String>>,
    names: BTreeMap<String, String>,
}

impl Graph {
    /// Reads the JSON of `cargo metadata --format-version 1`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let metadata: Value = serde_json::from_str(text)?;
        let root = metadata["workspace_root"].as_str().context("no workspace_root")?;
        let member_ids: BTreeSet<&str> = strings(&metadata["workspace_members"]).collect();
        let packages = metadata["packages"].as_array().context("no packages")?;
        let member_names: BTreeSet<&str> = packages
            .iter()
            .filter(|package| member_ids.contains(text_of(package, "id")))
            .map(|package| text_of(package, "name"))
            .collect();
        let mut graph = Self { members: Vec::new(), edges: BTreeMap::new(), names: BTreeMap::new() };
        for package in packages {
            let (id, name) = (text_of(package, "id"), text_of(package, "name"));
            graph.names.insert(id.to_owned(), name.to_owned());
            if member_ids.contains(id) {
                graph.members.push(member(package, root, &member_names));
            }
        }
        for node in metadata["resolve"]["nodes"].as_array().context("no resolve")? {
            graph.edges.insert(text_of(node, "id").to_owned(), built_with(node));
        }
        Ok(graph)
    }

    /// The member called `name`.
    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Names of everything that `member` is built with, through any number of steps.
    pub(super) fn reachable(&self, member: &Member) -> BTreeSet<&str> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open = vec![member.id.as_str()];
        while let Some(id) = open.pop() {
            for next in self.edges.get(id).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.iter().filter_map(|id| self.names.get(*id).map(String::as_str)).collect()
    }
}

fn member(package: &Value, root: &str, members: &BTreeSet<&str>) -> Member {
    let manifest = text_of(package, "manifest_path");
    let folder = manifest.trim_start_matches(root).trim_start_matches('/').trim_end_matches("/Cargo.toml").to_owned();
    let place = match folder.split('/').next() {
        Some("libs") => Place::Library,
        Some("services") => Place::Service,
        _ => Place::Outside,
    };
    let dependencies = package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| dependency["kind"] != "dev" || members.contains(text_of(dependency, "name")))
        .map(|dependency| text_of(dependency, "name").to_owned())
        .collect();
    Member {
        name: text_of(package, "name").to_owned(),
        folder,
        place,
        dependencies,
        id: text_of(package, "id").to_owned(),
    }
}

fn built_with(node: &Value) -> Vec<String> {
    node["deps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dependency| {
            dependency["dep_kinds"].as_array().is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        })
        .map(|dependency| text_of(dependency, "pkg").to_owned())
        .collect()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
