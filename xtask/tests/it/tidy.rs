//! The repository follows its own rules.

use xtask::{tidy, workspace};

#[test]
fn the_repository_is_tidy() {
    let report = tidy::check(&workspace::root()).unwrap();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "cargo xtask tidy found:\n{}", findings.join("\n"));
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let findings = tidy::licences::check(&workspace::root()).unwrap();
    let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "cargo xtask tidy found:\n{}", findings.join("\n"));
}
