//! Our own web pages in a browser: `tests/python/own_pages.py` says what is looked at.

use super::process::{Place, script, succeeds};
use crate::fixture::{copy, repository};

/// Pictures stay in the build's folder, where CI finds them.
fn look_at(place: &Place, name: &str) {
    let axe = std::env::var_os("TIDEMILL_TEST_AXE")
        .map_or_else(|| repository().join(".axe/axe.min.js"), std::path::PathBuf::from);
    assert!(axe.exists(), "no axe-core at `{}`: run `cargo xtask setup`", axe.display());
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures").join(name);
    let server = place.serve();
    let arguments = [server.url.as_str(), axe.to_str().unwrap(), pictures.to_str().unwrap()];
    let mut command = script(place, "own_pages.py", &arguments);
    if let Some(browser) = std::env::var_os("TIDEMILL_TEST_CHROMIUM") {
        command.env("TIDEMILL_TEST_CHROMIUM", browser);
    }
    succeeds(command, &[&server]);
    server.stop();
}

/// The shipped example after a run of its pipeline, with a dataset in two versions.
#[test]
fn every_page_of_the_example_project() {
    let place = Place::sqlite();
    copy(&repository().join("examples/flights"), place.root());
    for arguments in [
        &["run"][..],
        &["data", "add", "planes", "data/planes.parquet"],
        &["data", "add", "planes", "data/airlines.parquet"],
    ] {
        succeeds(place.command(arguments), &[]);
    }
    look_at(&place, "example");
}

/// Searches are other statements there.
#[test]
fn every_page_on_postgres() {
    look_at(&Place::postgres(), "postgres");
}
