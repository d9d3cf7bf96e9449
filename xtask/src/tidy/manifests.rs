//! What every package manifest must say, and how large the dependency tree is.

use crate::tidy::Finding;
use crate::workspace::Package;

/// The number of packages in `Cargo.lock` that we mean to stay below.
const LOCK_GOAL: usize = 600;

/// Finds manifests that do not inherit what the workspace manifest decides once.
pub fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let path = format!("{}/Cargo.toml", package.folder);
        let folder = package.folder.rsplit('/').next().unwrap_or(&package.folder);
        if folder != package.name {
            let message =
                format!("package `{}` lives in folder `{folder}`; give both one name", package.name);
            findings.push(Finding::file(&path, message));
        }
        if inherited(package.manifest.get("lints")) != Some(true) {
            findings.push(Finding::file(&path, "add `[lints] workspace = true`"));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if inherited(package.manifest.get("package").and_then(|table| table.get(key))) != Some(true) {
                findings.push(Finding::file(&path, format!("write `{key}.workspace = true`")));
            }
        }
        for dependency in package.dependencies() {
            if !dependency.inherited {
                let message = format!(
                    "dependency `{}` has its own version; put it into `[workspace.dependencies]` and inherit it",
                    dependency.name
                );
                findings.push(Finding::file(&path, message));
            }
        }
    }
    findings
}

fn inherited(value: Option<&toml::Value>) -> Option<bool> {
    value?.get("workspace")?.as_bool()
}

/// One line about the number of packages in `Cargo.lock`.
pub fn lock_summary(lock: &str) -> String {
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    let verdict = if packages <= LOCK_GOAL { "within" } else { "above" };
    format!("Cargo.lock: {packages} packages ({verdict} the goal of {LOCK_GOAL})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r"
        [package]
        version.workspace = true
        edition.workspace = true
        rust-version.workspace = true
        license.workspace = true
        publish.workspace = true
        [lints]
        workspace = true
        [dependencies]
        anyhow.workspace = true
    ";

    fn messages(name: &str, folder: &str, manifest: &str) -> Vec<String> {
        let package =
            Package { name: name.into(), folder: folder.into(), manifest: manifest.parse().unwrap() };
        check(&[package]).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_manifest_that_inherits_everything_passes() {
        assert_eq!(messages("a", "crates/a", GOOD), [""; 0]);
    }

    #[test]
    fn each_departure_is_named() {
        let cases = [
            ("version.workspace = true", "version = \"1.0.0\"", "write `version.workspace = true`"),
            ("workspace = true\n        [dep", "x = 1\n        [dep", "add `[lints] workspace = true`"),
            ("anyhow.workspace = true", "anyhow = \"1\"", "dependency `anyhow` has its own version"),
        ];
        for (from, to, expected) in cases {
            let found = messages("a", "crates/a", &GOOD.replacen(from, to, 1));
            assert!(found.len() == 1 && found[0].starts_with(expected), "{to}: {found:?}");
        }
        assert!(messages("b", "crates/a", GOOD)[0].contains("give both one name"));
    }

    #[test]
    fn lock_packages_are_counted() {
        assert_eq!(
            lock_summary("version = 4\n[[package]]\nname = \"a\"\n[[package]]\nname = \"b\"\n"),
            "Cargo.lock: 2 packages (within the goal of 600)"
        );
    }
}
