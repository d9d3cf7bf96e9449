//! Which of our crates may depend on which, as ARCHITECTURE.md says under "Permitted dependencies".
//!
//! Only edges between crates of the workspace are judged. Features and versions are other rules' business.

use crate::tidy::Finding;
use crate::workspace::{DependencyKind, Package};

const CORE: &str = "tidemill-core";
/// Pure numerics beside the vocabulary; neither knows the other.
const STATS: &str = "tidemill-stats";
/// What we keep: each knows the vocabulary and nothing else of ours.
const KEEP: [&str; 8] = [
    "tidemill-project",
    "tidemill-store",
    "tidemill-db",
    "tidemill-data",
    "tidemill-train",
    "tidemill-runtime",
    "tidemill-govern",
    "tidemill-ui",
];
/// The steps of the loop: each may use what is kept, and none knows another step.
const LOOP: [&str; 6] = [
    "tidemill-trigger",
    "tidemill-pipeline",
    "tidemill-registry",
    "tidemill-deliver",
    "tidemill-serve",
    "tidemill-monitor",
];
const SERVER: &str = "tidemill-server";
const BINARY: &str = "tidemill";
/// Shared test support; a dev-dependency of anyone, a normal dependency of `xtask` alone.
const TESTKIT: &str = "tidemill-testkit";
const XTASK: &str = "xtask";

/// Whether `from` may name `to` in `[dependencies]`. `None` when `from` has no place in the table.
fn permitted(from: &str, to: &str) -> Option<bool> {
    let base = |to: &str| to == CORE || to == STATS;
    let low = |to: &str| base(to) || KEEP.contains(&to);
    Some(match from {
        CORE | STATS => false,
        // It starts PostgreSQL for the benchmarks as the tests do.
        XTASK => to == TESTKIT,
        _ if KEEP.contains(&from) => base(to),
        _ if LOOP.contains(&from) => low(to),
        // Adapters see the crates whose traits they implement.
        "tidemill-brokers" => to == CORE || to == "tidemill-trigger",
        "tidemill-kube" => to == CORE || to == "tidemill-pipeline" || to == "tidemill-deliver",
        SERVER => low(to) || LOOP.contains(&to),
        BINARY => to != XTASK && to != TESTKIT,
        TESTKIT => low(to),
        _ => return None,
    })
}

/// Finds edges against the table, and crates that have no place in it.
pub fn check(packages: &[Package]) -> Vec<Finding> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let from = package.name.as_str();
        if permitted(from, CORE).is_none() {
            let message = format!(
                "crate `{from}` has no layer; give it one in `xtask/src/tidy/layers.rs` and ARCHITECTURE.md"
            );
            findings.push(Finding::file(&manifest, message));
            continue;
        }
        for dependency in package.dependencies() {
            let to = dependency.name.as_str();
            if !ours.contains(&to) {
                continue;
            }
            let for_tests = dependency.kind == DependencyKind::Dev && (to == TESTKIT || from == XTASK);
            if !for_tests && permitted(from, to) != Some(true) {
                let message = format!(
                    "`{from}` must not depend on `{to}` (see \"Permitted dependencies\" in ARCHITECTURE.md)"
                );
                findings.push(Finding::file(&manifest, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, body: &str) -> Package {
        let manifest = body.parse().unwrap();
        Package { name: name.into(), folder: format!("crates/{name}"), manifest }
    }

    fn workspace(edge: (&str, &str, &str)) -> Vec<Package> {
        let (from, table, to) = edge;
        let mut names = vec![CORE, STATS, SERVER, BINARY, TESTKIT, "tidemill-kube"];
        names.extend(KEEP);
        names.extend(LOOP);
        names
            .into_iter()
            .map(|name| {
                package(
                    name,
                    &if name == from { format!("[{table}]\n{to}.workspace = true") } else { String::new() },
                )
            })
            .collect()
    }

    #[test]
    fn edges_follow_the_table() {
        let edges = [
            (("tidemill-store", "dependencies", CORE), true),
            (("tidemill-store", "dependencies", "tidemill-data"), false),
            (("tidemill-store", "dev-dependencies", "tidemill-data"), false),
            (("tidemill-store", "dev-dependencies", TESTKIT), true),
            (("tidemill-store", "dependencies", TESTKIT), false),
            ((CORE, "dependencies", "tidemill-store"), false),
            ((STATS, "dependencies", CORE), false),
            ((CORE, "dependencies", STATS), false),
            (("tidemill-data", "dependencies", STATS), true),
            (("tidemill-monitor", "dependencies", STATS), true),
            (("tidemill-pipeline", "dependencies", "tidemill-train"), true),
            (("tidemill-pipeline", "dependencies", "tidemill-registry"), false),
            (("tidemill-pipeline", "build-dependencies", "tidemill-registry"), false),
            ((SERVER, "dependencies", "tidemill-deliver"), true),
            ((SERVER, "dependencies", BINARY), false),
            (("tidemill-kube", "dependencies", "tidemill-trigger"), false),
            ((BINARY, "dependencies", SERVER), true),
            ((BINARY, "target.'cfg(unix)'.dependencies", TESTKIT), false),
        ];
        for (edge, allowed) in edges {
            let findings = check(&workspace(edge));
            assert_eq!(findings.is_empty(), allowed, "{edge:?}: {findings:?}");
        }
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let findings = check(&[package("tidemill-misc", "")]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("has no layer"));
    }
}
