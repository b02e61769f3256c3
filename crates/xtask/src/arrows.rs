//! Which crate may depend on which. The floors of the house, lowest first; an arrow only goes down.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::Context;
use serde_json::Value;

use crate::verdict;

/// A crate and the crates of the workspace that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("crd-types", &[]),
    ("proto-api", &["crd-types"]),
    ("planner", &["crd-types"]),
    ("storage", &[]),
    ("service-kit", &["proto-api"]),
    ("kube-kit", &["crd-types", "service-kit"]),
    ("repository", &["storage"]),
    ("storage-initializer", LOWER_FLOORS),
    ("scheduler", LOWER_FLOORS),
    ("session-controller", LOWER_FLOORS),
    ("data-mover", LOWER_FLOORS),
    ("kubectl-orlop", LOWER_FLOORS),
];
/// What a process may use: everything but another process.
const LOWER_FLOORS: &[&str] = &["crd-types", "proto-api", "planner", "storage", "service-kit", "kube-kit", "repository"];
/// Crates that only developers use; they may use everything, and nothing but tests may use them.
const DEVELOPMENT: &[&str] = &["testkit", "simulation", "xtask", "e2e"];
/// What must not appear anywhere below a crate, and why.
const NEVER_BELOW: &[(&str, &[&str], &str)] = &[
    ("planner", &["tokio", "kube-client", "reqwest", "hyper", "tonic"], "decisions do no I/O"),
    ("crd-types", &["tokio", "kube-client"], "it only describes"),
    ("storage", &["kube-core", "kube-client", "k8s-openapi"], "it knows nothing of Kubernetes"),
    ("repository", &["kube-core", "kube-client", "k8s-openapi"], "it knows nothing of Kubernetes"),
    ("service-kit", &["kube-core", "kube-client"], "it has no Kubernetes client"),
    ("data-mover", &["kube-client", "kube-runtime"], "a mover has no permission in the cluster"),
];

/// A dependency of a package, of the kind that ends up in its binary.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Fails when an arrow goes the wrong way.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--offline", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata did not write JSON")?;
    let members = member_arrows(&metadata);
    let mut problems = wrong_arrows(&members);
    for (member, _, _) in NEVER_BELOW {
        // Features unite over a workspace, so what a crate alone would pull in is asked for it alone.
        if members.contains_key(*member) {
            problems.extend(forbidden_below(root, member)?);
        }
    }
    verdict("arrows that go the wrong way", &problems)
}

/// Arrows between the members, without those of tests.
fn member_arrows(metadata: &Value) -> Graph {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let members: BTreeSet<&str> =
        packages.iter().filter(|package| package["source"].is_null()).filter_map(|package| package["name"].as_str()).collect();
    let mut graph = Graph::new();
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let Some(name) = package["name"].as_str() else { continue };
        let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let used = dependencies
            .iter()
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|dependency| members.contains(dependency))
            .map(str::to_owned)
            .collect();
        graph.insert(name.to_owned(), used);
    }
    graph
}

fn wrong_arrows(members: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for (member, used) in members {
        if DEVELOPMENT.contains(&member.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == member) else {
            problems.push(format!("{member} has no place in the house; give it one in crates/xtask/src/arrows.rs"));
            continue;
        };
        problems.extend(
            used.iter()
                .filter(|dependency| !allowed.contains(&dependency.as_str()))
                .map(|dependency| format!("{member} must not use {dependency}")),
        );
    }
    problems
}

/// Crates that must not be below a member, but are.
fn forbidden_below(root: &Path, member: &str) -> anyhow::Result<Vec<String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", member])
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    anyhow::ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let below: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    Ok(NEVER_BELOW
        .iter()
        .filter(|(name, _, _)| *name == member)
        .flat_map(|(_, forbidden, why)| forbidden.iter().map(move |name| (*name, *why)))
        .filter(|(name, _)| below.contains(name))
        .map(|(name, why)| format!("{member} must not pull in {name}: {why}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::wrong_arrows;

    fn graph(arrows: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        arrows.iter().map(|(name, used)| ((*name).to_owned(), used.iter().map(|name| (*name).to_owned()).collect())).collect()
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        assert!(wrong_arrows(&graph(&[("planner", &["crd-types"]), ("e2e", &["scheduler"])])).is_empty());
        assert_eq!(wrong_arrows(&graph(&[("storage", &["crd-types"])])), ["storage must not use crd-types"]);
        assert_eq!(wrong_arrows(&graph(&[("scheduler", &["session-controller"])])).len(), 1);
        assert_eq!(wrong_arrows(&graph(&[("planner", &["testkit"])])).len(), 1);
        assert_eq!(wrong_arrows(&graph(&[("newcomer", &[])])).len(), 1);
    }

    /// Architecture 2: arrows only go down, and what must stay out of a crate stays out.
    #[test]
    fn the_workspace_stands() {
        super::check(&crate::workspace_root()).unwrap();
    }
}
