//! The rules of the repository that neither the compiler nor clippy checks.
//!
//! Each rule is a function from text to findings, so that its tests are tables; [`check`] alone reads the disk.
//! `cargo xtask tidy` prints the report, and a test of this crate fails on any finding.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

use crate::{process, workspace};

pub mod fragments;
pub mod layers;
pub mod licences;
pub mod links;
pub mod manifests;
pub mod size;
pub mod sources;
pub mod text;

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the repository root.
    pub path: String,
    /// The line, counted from 1; `None` when the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong and what to do, lower case, without a full stop.
    pub message: String,
}

impl Finding {
    /// A finding about a whole file.
    pub fn file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    /// A finding about one line, counted from 1.
    pub fn line(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// What [`check`] found.
#[derive(Debug, Default)]
pub struct Report {
    /// Breaches, sorted by path and line.
    pub findings: Vec<Finding>,
    /// Measured facts worth seeing on every run, one line each.
    pub facts: Vec<String>,
}

/// Runs every rule, prints findings and facts, and fails on any finding.
pub fn run(root: &Path) -> Result<()> {
    let mut report = check(root)?;
    report.findings.extend(licences::check(root)?);
    for fact in &report.facts {
        process::note(fact);
    }
    for finding in &report.findings {
        process::say(finding.to_string())?;
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => bail!("tidy found one breach of the rules"),
        count => bail!("tidy found {count} breaches of the rules"),
    }
}

/// Runs every rule over the repository at `root`, dependency licences excepted (see [`licences::check`]).
pub fn check(root: &Path) -> Result<Report> {
    let files = workspace::tracked_files(root)?;
    let packages = workspace::packages(root)?;
    let texts = read_texts(root, &files)?;

    let mut findings = Vec::new();
    findings.extend(layers::check(&packages));
    findings.extend(manifests::check(&packages));
    findings.extend(files.iter().filter_map(|path| sources::check_path(path)));
    for (path, content) in &texts {
        findings.extend(text::check(path, content));
        if workspace::has_extension(path, "rs") {
            findings.extend(sources::check(path, content));
        }
    }
    findings.extend(links::check(&files, &texts));
    findings.extend(fragments::check(&texts));

    let sizes = size::measure(&texts);
    findings.extend(size::check(&sizes));
    findings.sort();

    let mut facts = vec![size::summary(&sizes)];
    if let Some(lock) = texts.get("Cargo.lock") {
        facts.push(manifests::lock_summary(lock));
    }
    Ok(Report { findings, facts })
}

/// The content of every tracked text file, by path. Data files and pictures are left out.
fn read_texts(root: &Path, files: &[String]) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for path in files {
        let bytes = fs_err::read(root.join(path))?;
        let head = &bytes[..bytes.len().min(8_000)];
        if head.contains(&0) {
            continue;
        }
        if let Ok(content) = String::from_utf8(bytes) {
            texts.insert(path.clone(), content);
        }
    }
    Ok(texts)
}
