//! What the repository contains: its root, its tracked files, and its packages as their manifests declare them.
//!
//! Manifests are read directly rather than through `cargo metadata`, so that a wrong edge is found even when it
//! keeps cargo from resolving the workspace.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// The repository root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// One package of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    /// The name in its manifest.
    pub name: String,
    /// Its folder, relative to the root, with `/`.
    pub folder: String,
    /// Its whole manifest.
    pub manifest: toml::Table,
}

/// In which table of a manifest a dependency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependencyKind {
    /// `[dependencies]`
    Normal,
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

/// One dependency as a manifest declares it.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The package depended on (its real name where the key renames it).
    pub name: String,
    /// The table it stands in.
    pub kind: DependencyKind,
    /// Whether it takes its version from the workspace manifest.
    pub inherited: bool,
}

impl Package {
    /// Every declared dependency, those of single platforms included.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let mut found = dependencies_of(&self.manifest);
        if let Some(targets) = self.manifest.get("target").and_then(toml::Value::as_table) {
            for table in targets.values().filter_map(toml::Value::as_table) {
                found.extend(dependencies_of(table));
            }
        }
        found
    }
}

fn dependencies_of(table: &toml::Table) -> Vec<Dependency> {
    let kinds = [
        ("dependencies", DependencyKind::Normal),
        ("dev-dependencies", DependencyKind::Dev),
        ("build-dependencies", DependencyKind::Build),
    ];
    let mut found = Vec::new();
    for (key, kind) in kinds {
        let Some(entries) = table.get(key).and_then(toml::Value::as_table) else { continue };
        for (name, value) in entries {
            let name = value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned();
            let inherited = value.get("workspace").and_then(toml::Value::as_bool).unwrap_or(false);
            found.push(Dependency { name, kind, inherited });
        }
    }
    found
}

/// All packages of the workspace at `root`, sorted by folder.
pub fn packages(root: &Path) -> Result<Vec<Package>> {
    let mut folders = vec![];
    let crates = root.join("crates");
    if crates.is_dir() {
        for entry in fs_err::read_dir(&crates)? {
            let entry = entry?;
            if entry.path().join("Cargo.toml").is_file() {
                folders.push(format!("crates/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    if root.join("xtask/Cargo.toml").is_file() {
        folders.push("xtask".to_owned());
    }
    folders.sort();
    folders.into_iter().map(|folder| package(root, folder)).collect()
}

fn package(root: &Path, folder: String) -> Result<Package> {
    let path = root.join(&folder).join("Cargo.toml");
    let manifest: toml::Table = fs_err::read_to_string(&path)?
        .parse()
        .with_context(|| format!("`{}` is not valid TOML", path.display()))?;
    let name = manifest.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str);
    let Some(name) = name.map(str::to_owned) else { bail!("`{folder}/Cargo.toml` names no package") };
    Ok(Package { name, folder, manifest })
}

/// Paths of all tracked files, relative to `root`, with `/`, sorted.
///
/// Outside a Git work tree (an unpacked archive, or a clone that belongs to another user) every file counts that is
/// not in a folder the build makes.
pub fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let listed = process::output(Command::new("git").arg("-C").arg(root).args(["ls-files", "-z"]));
    let mut files: Vec<String> = match listed {
        Ok(text) if !text.is_empty() => {
            text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect()
        }
        _ => walk(root)?,
    };
    // A file removed from the work tree but not yet from the index has no content to check.
    files.retain(|file| root.join(file).is_file());
    files.sort();
    Ok(files)
}

fn walk(root: &Path) -> Result<Vec<String>> {
    const BUILT: [&str; 10] = [
        ".git",
        "target",
        ".venv",
        ".venv-mlflow",
        ".venv-triton",
        ".venv-bench",
        ".venv-bench-serve",
        ".venv-bench-mlserver",
        ".tidemill",
        "node_modules",
    ];
    let mut files = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            if entry.file_type()?.is_dir() {
                if !BUILT.contains(&name.as_str()) {
                    open.push(path);
                }
            } else {
                files.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(files)
}

/// Whether `path` ends in `.extension`, exactly.
pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|there| there == extension)
}

/// How a binary is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As `cargo build` does, with the features of this package alone.
    Dev,
    /// As `cargo build --release` does.
    Release,
}

/// Builds `tidemill` and returns its path.
pub fn binary(root: &Path, profile: Profile) -> Result<PathBuf> {
    let arguments: &[&str] = match profile {
        Profile::Dev => &["build", "--package", "tidemill"],
        Profile::Release => &["build", "--package", "tidemill", "--release"],
    };
    binary_of(cargo(root, arguments))
}

/// Runs a command of cargo that builds `tidemill` among others, and returns its path.
pub fn binary_of(mut cargo: Command) -> Result<PathBuf> {
    let output = build(&mut cargo)?;
    if !output.status.success() {
        bail!("`{}` failed: {}", process::shown(&cargo), output.status);
    }
    // Its tests have the same name.
    let is_binary = |message: &serde_json::Value| {
        let target = &message["target"];
        target["name"] == "tidemill" && target["kind"][0] == "bin" && message["profile"]["test"] == false
    };
    let found = program(&output, is_binary);
    found.with_context(|| format!("`{}` made no binary `tidemill`", process::shown(&cargo)))
}

/// Runs a command of cargo that builds tests, and returns the program that holds those of a package in this target.
pub fn tests_of(mut cargo: Command, package: &str, target: &str) -> Result<PathBuf> {
    let output = build(&mut cargo)?;
    let found = program(&output, |message| {
        let id = message["package_id"].as_str().unwrap_or_default();
        message["target"]["name"] == target && id.contains(&format!("/{package}#"))
    });
    found.with_context(|| format!("`{}` made no tests `{target}` of `{package}`", process::shown(&cargo)))
}

/// Builds an example program of a package, optimised, and returns its path.
pub fn example(root: &Path, package: &str, name: &str) -> Result<PathBuf> {
    built(root, &["build", "--release", "--package", package, "--example", name], name)
}

/// Builds an example program with the features that the whole workspace has together, so that nothing is compiled again
/// where that was built.
pub fn example_of_all(root: &Path, name: &str, optimised: bool) -> Result<PathBuf> {
    let release: &[&str] = if optimised { &["--release"] } else { &[] };
    built(root, &[&["build", "--workspace", "--example", name], release].concat(), name)
}

fn built(root: &Path, arguments: &[&str], name: &str) -> Result<PathBuf> {
    let mut cargo = cargo(root, arguments);
    let output = build(&mut cargo)?;
    let found = program(&output, |message| message["target"]["name"] == name);
    found.with_context(|| format!("`{}` made no program", process::shown(&cargo)))
}

/// A command of cargo in a workspace, ours or that of a test.
pub fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut cargo = process::cargo();
    cargo.current_dir(root).args(arguments);
    cargo
}

/// Runs cargo, which says in JSON what it makes.
fn build(cargo: &mut Command) -> Result<Output> {
    cargo.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    cargo.output().context("cannot start `cargo`")
}

/// The first program among what cargo made that is meant.
fn program(output: &Output, is_meant: impl Fn(&serde_json::Value) -> bool) -> Option<PathBuf> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(is_meant)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_single_platforms_and_renamed_ones_are_seen() {
        let manifest: toml::Table = r#"
            [package]
            name = "a"
            [dependencies]
            b.workspace = true
            c = { package = "real-c", version = "1" }
            [target.'cfg(unix)'.dev-dependencies]
            d = { workspace = true, features = ["x"] }
        "#
        .parse()
        .unwrap();
        let package = Package { name: "a".into(), folder: "crates/a".into(), manifest };
        let found: Vec<_> =
            package.dependencies().into_iter().map(|d| (d.name, d.kind, d.inherited)).collect();
        assert_eq!(
            found,
            [
                ("b".to_owned(), DependencyKind::Normal, true),
                ("real-c".to_owned(), DependencyKind::Normal, false),
                ("d".to_owned(), DependencyKind::Dev, true),
            ]
        );
    }
}
