//! Our own web pages in a browser: `tests/python/own_pages.py` says what is looked at.

use std::process::Command;

use tidemill_core::{Clock as _, SystemClock};

use super::process::{Place, Server, script, succeeds};
use crate::fixture::{copy, repository};

/// What the made-up project releases: two stages that compare, after a gate for anybody but whoever made the release.
const RELEASE: &str = "
release:
  model: late
  require: []
  environments:
    prod:
      approve: {by: owner, count: 1}
      rollout:
        stages: [{canary: 20%}, {canary: 50%}, {full: {}}]
        routes: [{header: X-Preview, one_of: ['on']}]
        judge: {error_budget: 0.000001, metrics: [errors, latency]}
";

/// What the example releases of its own model: copies first, then parts of the requests, judged by what its mistakes cost, too. The
/// error budget is so small that nothing is decided while somebody looks.
const FLIGHTS: &str = "
release:
  model: flights-late
  endpoint: flights-late
  require: []
  environments:
    prod:
      approve: {by: owner, count: 1}
      rollout:
        stages: [{shadow: {samples: 300}}, {canary: 25%}, {canary: 50%}, {full: {}}]
        routes: [{header: X-Preview, one_of: ['on']}]
        judge: {error_budget: 0.000001, outcomes: {delay: 1s}, metrics: [errors, latency, cost]}
";

/// Releases that wait: the first for its approval, each other one for the one before it.
fn release(place: &Place, releases: &[&[&str]]) {
    for arguments in releases {
        // Whoever looks at the pages is who started the server, and approves what somebody else has made.
        let mut command = place.command(&[&["release"][..], *arguments, &["--to", "prod"]].concat());
        command.env("USER", "grace");
        succeeds(command, &[]);
    }
    // Freezes of other endpoints: one that holds, and one that was lifted.
    let until = SystemClock.now().plus(std::time::Duration::from_secs(20 * 24 * 3_600)).to_string();
    let books = "the books of the year are closed";
    for arguments in [
        &["freeze", "--reason", books, "--endpoint", "ledger", "--until", &until][..],
        &["freeze", "--reason", "a disk is full", "--endpoint", "archive"],
        &["freeze", "--lift", "2"],
    ] {
        succeeds(place.command(arguments), &[]);
    }
}

/// Has a script of `tests/python` look at pages. Pictures stay in the build's folder, where CI finds them.
pub(super) fn in_browser(place: &Place, server: &Server, script: &str, name: &str) {
    succeeds(looking(place, &server.url, (script, name), &[]), &[server]);
}

/// The same of a server that is not one of ours.
pub(crate) fn in_browser_at(url: &str, script: &str, name: &str) {
    succeeds(looking(&Place::sqlite(), url, (script, name), &[]), &[]);
}

/// The command that looks, with more arguments behind those of each.
fn looking(place: &Place, url: &str, (look, name): (&str, &str), more: &[&str]) -> Command {
    let axe = std::env::var_os("TIDEMILL_TEST_AXE")
        .map_or_else(|| repository().join(".axe/axe.min.js"), std::path::PathBuf::from);
    assert!(axe.exists(), "no axe-core at `{}`: run `cargo xtask setup`", axe.display());
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures").join(name);
    let arguments = [&[url, axe.to_str().unwrap(), pictures.to_str().unwrap()], more].concat();
    let mut command = script(place, look, &arguments);
    if let Some(browser) = std::env::var_os("TIDEMILL_TEST_CHROMIUM") {
        command.env("TIDEMILL_TEST_CHROMIUM", browser);
    }
    command
}

/// The shipped example after two runs of its pipeline, with releases of its own models that wait.
fn example() -> (Place, Server) {
    let place = Place::sqlite();
    copy(&repository().join("examples/flights"), place.root());
    let file = place.root().join("tidemill.yaml");
    let text = fs_err::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("\nrelease:\n").unwrap();
    let (_, after) = rest.split_once("\nmonitors:\n").unwrap();
    let text = format!("{before}\n{FLIGHTS}\nmonitors:\n{after}");
    fs_err::write(&file, &text).unwrap();
    succeeds(place.command(&["run"]), &[]);
    // The next version is of a training that ends earlier.
    let shorter = text.replace("rounds: 100,", "rounds: 90,");
    assert_ne!(shorter, text);
    fs_err::write(&file, shorter).unwrap();
    for arguments in [
        &["run"][..],
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
    let server = place.serve();
    release(&place, &[&["flights-late@1"], &["flights-late@2"], &["flights-late@1", "--threshold", "0.5"]]);
    (place, server)
}

/// What is tried with requests about flights: a rollout of the project's own models from its approval to its end.
const DELIVERED: [&str; 2] = ["try_rollout", "try_release_marks"];

#[test]
fn every_page_of_the_example_project() {
    let (place, server) = example();
    let others = DELIVERED.map(|name| format!("-{name}"));
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    succeeds(looking(&place, &server.url, ("own_pages.py", "example"), &others), &[&server]);
    server.stop();
}

#[test]
fn models_of_the_example_project_are_delivered_on_their_pages() {
    let (place, server) = example();
    let name = "example-delivered";
    succeeds(looking(&place, &server.url, ("own_pages.py", name), &DELIVERED), &[&server]);
    server.stop();
}

/// Another port of the same machine is as near as a stranger comes.
#[test]
fn a_page_from_elsewhere_neither_frames_ours_nor_sends_our_forms() {
    let place = Place::sqlite();
    let server = place.serve();
    in_browser(&place, &server, "foreign_pages.py", "foreign");
    server.stop();
}

/// Searches are other statements there.
#[test]
fn every_page_on_postgres() {
    let place = Place::postgres();
    fs_err::write(place.root().join("tidemill.yaml"), format!("project: served\n{RELEASE}")).unwrap();
    let server = place.serve();
    succeeds(script(&place, "rollouts.py", &[&server.url, "register"]), &[]);
    release(&place, &[&["late@1"], &["late@2"]]);
    // How they look does not depend on the database.
    let forms = ["-narrow", "-dark"];
    succeeds(looking(&place, &server.url, ("own_pages.py", "postgres"), &forms), &[&server]);
    server.stop();
}

/// A step that waits for somebody, another after it, and data whose columns and cells are hostile.
const GOES_ON: &str = r#"project: live
data: {rows: {path: rows.csv, expect: [{not_null: ["<script>window.hurt=1</script>"]}, {row_count: {min: 1}}]}}
pipeline:
  slow:
    run: echo first line; while [ ! -e go ]; do sleep 0.1; done; echo second line;
      echo '<script>window.hurt=1</script>'; while [ ! -e end ]; do sleep 0.1; date; done; echo done > slow.txt
    outs: [slow.txt]
  after: {run: cat slow.txt > after.txt, deps: [slow.txt], outs: [after.txt]}
"#;

#[test]
fn a_run_that_goes_on_is_followed_on_its_page() {
    let place = Place::sqlite();
    let write = |name: &str, text: &str| fs_err::write(place.root().join(name), text).unwrap();
    write("tidemill.yaml", GOES_ON);
    let rows = "id,<script>window.hurt=1</script>\n1,<b>bold</b>\n2,\n3,\n4,\n";
    write("rows.csv", rows);
    write("other.csv", "id,more\n1,2\n");
    for version in ["other.csv", "rows.csv"] {
        succeeds(place.command(&["data", "add", "versioned", version]), &[]);
    }
    assert_eq!(place.command(&["check"]).output().unwrap().status.code(), Some(1));
    let server = place.serve();
    let mut run = place.command(&["run", "--no-tests"]).spawn().unwrap();
    let begin = std::time::Instant::now();
    while !super::rollouts::get(&format!("{}/pipelines?format=json", server.url))
        .to_string()
        .contains("running")
    {
        assert!(begin.elapsed() < std::time::Duration::from_secs(120), "{}", server.said());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let root = place.root().to_str().unwrap().to_owned();
    succeeds(looking(&place, &server.url, ("live_pages.py", "live"), &[&root]), &[&server]);
    assert!(run.wait().unwrap().success());
    server.stop();
}
