//! Tests of the crate's public API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

mod bad;
mod dvc;
mod example;
mod outcomes;
mod print;
mod resolve;
mod schema;
mod store;

use std::collections::BTreeMap;

use tidemill_project::{Files, Project, Report, parse, resolve};

/// Parameter files that are only in memory.
struct Memory(BTreeMap<String, String>);

impl Memory {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> std::io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

/// The project of a text that must be good.
fn good(text: &str) -> Project {
    parse(text, "tidemill.yaml").unwrap_or_else(|report| panic!("{}", report.render(false)))
}

/// The drawn problems of a text that must be bad.
fn bad(text: &str) -> String {
    match parse(text, "tidemill.yaml") {
        Ok(project) => panic!("parsed: {project:#?}"),
        Err(report) => report.render(false),
    }
}

/// A project resolved without files and overrides.
fn resolved(text: &str) -> Result<tidemill_project::Resolved, Report> {
    resolve(&good(text), &Memory::new(&[]), &[])
}

/// The drawn problems of a project that parses and cannot be resolved.
fn unresolved(text: &str) -> String {
    match resolved(text) {
        Ok(resolved) => panic!("resolved: {resolved:#?}"),
        Err(report) => report.render(false),
    }
}
