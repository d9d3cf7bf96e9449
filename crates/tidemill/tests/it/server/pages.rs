//! MLflow's own web pages in a browser, in front of our server: `tests/python/ui_pages.py` says what is looked at.

use super::process::{Place, script, succeeds};

/// Opens these pages, or all of them.
#[track_caller]
fn look_at(place: &Place, pages: &[&str]) {
    let server = place.serve();
    let pictures = place.root().join("pictures");
    let mut arguments = vec![server.url.as_str(), pictures.to_str().unwrap()];
    arguments.extend(pages);
    let mut command = script(place, "ui_pages.py", &arguments);
    if let Some(browser) = std::env::var_os("TIDEMILL_TEST_CHROMIUM") {
        command.env("TIDEMILL_TEST_CHROMIUM", browser);
    }
    succeeds(command, &[&server]);
    server.stop();
}

#[test]
fn every_page_shows_what_was_logged() {
    look_at(&Place::sqlite(), &[]);
}

/// Those behind which are the searches, which are other statements there.
#[test]
fn pages_with_searches_on_postgres() {
    look_at(
        &Place::postgres(),
        &["experiments", "runs_sorted_and_filtered", "models", "logged_models", "traces", "evaluation_runs"],
    );
}
