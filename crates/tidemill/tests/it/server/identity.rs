//! Who somebody is, where a server that asks for it works on the project, and where none does.

use serde_json::Value;

use super::continuous::{other_table, project};
use super::process::{Place, Server};
use super::rollouts::{json, wait};
use super::tracked::table;
use super::triggers::Lab;
use crate::fixture::Ran;

const TOKEN: &str = "the one token of this server";

/// A project with two versions of a model, and a server that asks nobody who they are.
fn served(approve: &str) -> (Lab, Server) {
    let lab = Lab::new(&declared(approve));
    for color in ["red", "violet"] {
        lab.write("data.csv", &if color == "red" { table() } else { other_table(color) });
        lab.run(&["run"]);
    }
    let server = lab.place.serve();
    (lab, server)
}

fn declared(approve: &str) -> String {
    project("").replace("{prod: {}}", &format!("{{prod: {{approve: {approve}}}}}"))
}

/// A command of somebody who says at the server that they are `user`, from an environment with another name.
fn signed_in(place: &Place, user: &str, password: &str, arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    command.env("USER", "somebody").env("MLFLOW_TRACKING_USERNAME", user);
    Ran::of(&command.env("MLFLOW_TRACKING_PASSWORD", password).output().unwrap())
}

/// A command of somebody whom the environment calls `user`.
pub(super) fn by_name(place: &Place, user: &str, arguments: &[&str]) -> Ran {
    Ran::of(&place.command(arguments).env("USER", user).output().unwrap())
}

#[test]
fn names_count_as_the_server_has_checked_them() {
    let (lab, server) = served("{by: owner}");
    let place = &lab.place;
    // As long as nobody asks, the name of the environment is believed, and stands in the log as what it is.
    by_name(place, "mallory", &["release", "late@1", "--to", "prod"]).good();
    let waits = |status: &Value| status["held"]["held_by"] == "approvals";
    wait(place, 1, &server, waits);
    by_name(place, "ada", &["rollout", "approve", "1"]).good();
    wait(place, 1, &server, |status| status["phase"] == "complete");
    let approved = lab.log().of("rollout_approved").last().cloned().unwrap();
    assert_eq!((&approved["identity"], &approved["actor"]["name"]), (&"claimed".into(), &"ada".into()));
    by_name(place, "ada", &["why", "late@1"])
        .good()
        .says(&["approved by ada as owner, by a name that nothing proves"]);
    server.stop();

    fs_err::write(place.root().join("token"), TOKEN).unwrap();
    let token = place.root().join("token");
    let token = token.to_str().unwrap();
    let server = place.serve_with(&["--auth-token-file", token]);
    let release = ["release", "late@2", "--to", "prod"];
    let asks = format!("{} works on this project and asks who somebody is", server.url);
    by_name(place, "mallory", &release).fails(2, &[&asks, "MLFLOW_TRACKING_USERNAME"]);
    signed_in(place, "mallory", "a guess", &release).fails(1, &["does not take `mallory` for somebody: 401"]);
    signed_in(place, "mallory", TOKEN, &release).good();
    assert_eq!(lab.log().of("rollout_started").last().unwrap()["actor"]["name"], "mallory");
    wait(place, 2, &server, waits);
    // Another name in the environment makes nobody another person.
    by_name(place, "ada", &["rollout", "approve", "2"]).fails(2, &[&asks]);
    by_name(place, "ada", &["rollout", "proceed", "2", "--reason", "hurry"]).fails(2, &[&asks]);
    let by_file = ["rollout", "approve", "2", "--server-token-file", token];
    signed_in(place, "mallory", "", &by_file).fails(1, &["`mallory` made this release or set it off"]);
    signed_in(place, "ada", "a guess", &["rollout", "approve", "2"]).fails(1, &["answers 401"]);
    signed_in(place, "ada", TOKEN, &["rollout", "approve", "2"]).good();
    wait(place, 2, &server, |status| status["phase"] == "complete");
    let approved = lab.log().of("rollout_approved").last().cloned().unwrap();
    assert_eq!((&approved["identity"], &approved["actor"]["name"]), (&"shared_secret".into(), &"ada".into()));
    // Going back needs no name, and a server that was killed asks nobody any more.
    json(place, &["rollout", "rollback", "2", "--reason", "calls"]);
    wait(place, 2, &server, |status| status["phase"] == "rolled-back");
    server.kill();
    by_name(
        place,
        "cid",
        &["quarantine", "lift", "late@2", "--environment", "prod", "--reason", "it was not it"],
    )
    .good();
}

/// A name that is only claimed, or shares its secret with others, agrees to nothing where that is declared.
#[test]
fn only_who_has_signed_in_agrees_where_that_is_declared() {
    let (lab, server) = served("{by: owner, authenticated: true}");
    let place = &lab.place;
    by_name(place, "mallory", &["release", "late@1", "--to", "prod"]).good();
    let waits = |status: &Value| status["held"]["held_by"] == "approvals";
    wait(place, 1, &server, waits);
    let unproven = "agreeing takes a user who has signed in at the server with a password of their own";
    by_name(place, "ada", &["rollout", "approve", "1"])
        .fails(1, &[unproven, "`ada` is known by a name that nothing proves"]);
    let mut client = super::client::Client::connect(&server.url).unwrap();
    let basic = [("Content-Type", "application/json"), ("Authorization", "Basic YWRhOg==")];
    let path = "/api/v1/rollouts/1/actions";
    let answer = client.send_with("POST", path, &basic, br#"{"action": "approve"}"#).unwrap();
    assert_eq!(answer.status, 409);
    assert!(String::from_utf8_lossy(&answer.body).contains(unproven));
    server.stop();
    fs_err::write(place.root().join("token"), TOKEN).unwrap();
    let token = place.root().join("token");
    let server = place.serve_with(&["--auth-token-file", token.to_str().unwrap()]);
    signed_in(place, "ada", TOKEN, &["rollout", "approve", "1"])
        .fails(1, &[unproven, "by a name that came with the server's token"]);
    // Nor does a file help that does not ask for it.
    lab.write("tidemill.yaml", &format!("project: lab\n{}", declared("{by: owner}")));
    signed_in(place, "mallory", TOKEN, &["release", "late@2", "--to", "prod", "--concurrent", "supersede"])
        .good();
    let held = wait(place, 2, &server, waits);
    assert!(held["gates"].to_string().contains("1 of owner, signed in"), "{held}");
    signed_in(place, "ada", TOKEN, &["rollout", "approve", "2"]).fails(1, &[unproven]);
    assert_eq!(lab.log().count("rollout_approved"), 0);
    server.stop();
}
