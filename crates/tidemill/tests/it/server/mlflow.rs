//! The unmodified MLflow client against the binary: the scripts in `tests/python`, on both databases and over two servers.
//!
//! The scripts define compatibility: each of them passes against MLflow's own server too. Those that are quick share a
//! process, since importing the client takes longer than most of them.

use super::process::{Place, Server, script, succeeds};

const PLAIN: [&str; 6] = ["tracking", "search", "experiments", "registry", "errors", "traces"];
const MODELS: [&str; 3] = ["artifacts", "models", "autolog"];

#[track_caller]
fn suite(place: &Place, names: &[&str]) {
    let server = place.serve();
    let mut arguments = vec![server.url.as_str()];
    arguments.extend(names);
    succeeds(script(place, "suite.py", &arguments), &[&server]);
    server.stop();
}

#[track_caller]
fn concurrency(place: &Place, count: usize) {
    let servers: Vec<Server> = (0..count).map(|_| place.serve()).collect();
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    succeeds(script(place, "concurrency.py", &urls), &servers.iter().collect::<Vec<_>>());
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn tracking_search_registry_and_traces_on_sqlite() {
    suite(&Place::sqlite(), &PLAIN);
}

#[test]
fn tracking_search_registry_and_traces_on_postgres() {
    suite(&Place::postgres(), &PLAIN);
}

#[test]
fn artifacts_models_and_autologging_on_sqlite() {
    suite(&Place::sqlite(), &MODELS);
}

#[test]
fn artifacts_models_and_autologging_on_postgres() {
    suite(&Place::postgres(), &MODELS);
}

#[test]
fn the_client_signs_in_with_a_token_and_with_a_password() {
    const TOKEN: &str = "a-token-that-nobody-guesses";
    let place = Place::sqlite();
    let file = place.root().join("token");
    fs_err::write(&file, TOKEN).unwrap();
    let server = place.serve_with(&["--auth-token-file", file.to_str().unwrap()]);
    let mut suite = script(&place, "suite.py", &[&server.url, "signed_in"]);
    suite.env("TOKEN", TOKEN);
    succeeds(suite, &[&server]);
    server.stop();
}

/// With users, who have nothing but what was granted to them.
#[track_caller]
fn users(place: &Place) {
    const PASSWORD: &str = "the-password-of-the-administrator";
    let file = place.root().join("password");
    fs_err::write(&file, PASSWORD).unwrap();
    let options = [
        "--users",
        "--admin-password-file",
        file.to_str().unwrap(),
        "--default-permission",
        "NO_PERMISSIONS",
    ];
    let server = place.serve_with(&options);
    let mut suite = script(place, "suite.py", &[&server.url, "users"]);
    suite.env("ADMIN_PASSWORD", PASSWORD);
    succeeds(suite, &[&server]);
    let said = server.said();
    assert!(!said.contains(PASSWORD) && !said.contains("pbkdf2"), "{said}");
    server.stop();
}

#[test]
fn users_have_what_was_granted_to_them_on_sqlite() {
    users(&Place::sqlite());
}

#[test]
fn users_have_what_was_granted_to_them_on_postgres() {
    users(&Place::postgres());
}

#[test]
fn sixteen_clients_at_once_on_sqlite() {
    concurrency(&Place::sqlite(), 1);
}

#[test]
fn sixteen_clients_at_once_on_two_servers_with_one_postgres() {
    concurrency(&Place::postgres(), 2);
}
