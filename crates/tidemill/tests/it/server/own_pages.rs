//! Our own web pages in a browser: `tests/python/own_pages.py` says what is looked at.

use super::process::{Place, Server, script, succeeds};
use crate::fixture::{copy, repository};

/// What both projects release: two stages that compare, after a gate for anybody but whoever made the release.
const RELEASE: &str = "
release:
  model: late
  environments:
    prod:
      approve: {by: owner, count: 1}
      rollout:
        stages: [{canary: 20%}, {canary: 50%}, {full: {}}]
        judge: {error_budget: 0.000001, metrics: [errors, latency]}
";

/// A release that waits for its approval, and a second one that waits for the first.
fn release(place: &Place, url: &str) {
    succeeds(script(place, "rollouts.py", &[url, "register"]), &[]);
    for version in ["late@1", "late@2"] {
        succeeds(place.command(&["release", version, "--to", "prod"]), &[]);
    }
}

/// Has a script of `tests/python` look at pages. Pictures stay in the build's folder, where CI finds them.
pub(super) fn in_browser(place: &Place, server: &Server, look: &str, name: &str) {
    let axe = std::env::var_os("TIDEMILL_TEST_AXE")
        .map_or_else(|| repository().join(".axe/axe.min.js"), std::path::PathBuf::from);
    assert!(axe.exists(), "no axe-core at `{}`: run `cargo xtask setup`", axe.display());
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures").join(name);
    let arguments = [server.url.as_str(), axe.to_str().unwrap(), pictures.to_str().unwrap()];
    let mut command = script(place, look, &arguments);
    if let Some(browser) = std::env::var_os("TIDEMILL_TEST_CHROMIUM") {
        command.env("TIDEMILL_TEST_CHROMIUM", browser);
    }
    succeeds(command, &[server]);
}

fn look_at(place: &Place, name: &str) {
    let server = place.serve();
    release(place, &server.url);
    in_browser(place, &server, "own_pages.py", name);
    server.stop();
}

/// The shipped example after a run of its pipeline, with a dataset in two versions.
#[test]
fn every_page_of_the_example_project() {
    let place = Place::sqlite();
    copy(&repository().join("examples/flights"), place.root());
    let file = place.root().join("tidemill.yaml");
    let text = fs_err::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("\nrelease:\n").unwrap();
    let (_, after) = rest.split_once("\nmonitors:\n").unwrap();
    fs_err::write(&file, format!("{before}\n{RELEASE}\nmonitors:\n{after}")).unwrap();
    for arguments in [
        &["run", "--no-register"][..],
        &["data", "add", "planes", "data/planes.parquet"],
        &["data", "add", "planes", "data/airlines.parquet"],
        &["data", "add", "months", "data/flights/2013-01.parquet"],
        &["data", "add", "months", "data/flights/2013-07.parquet"],
    ] {
        succeeds(place.command(arguments), &[]);
    }
    // July is not January, which the command says with its exit code.
    let drift = place.command(&["data", "drift", "months@1", "months", "--profiles"]).output().unwrap();
    assert_eq!(drift.status.code(), Some(1), "{}", String::from_utf8_lossy(&drift.stderr));
    look_at(&place, "example");
}

/// Searches are other statements there.
#[test]
fn every_page_on_postgres() {
    let place = Place::postgres();
    fs_err::write(place.root().join("tidemill.yaml"), format!("project: served\n{RELEASE}")).unwrap();
    look_at(&place, "postgres");
}
