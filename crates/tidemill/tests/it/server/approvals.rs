//! No path leads past an approval: command line, API, pages, queue, a second release, a trigger, the endpoint itself.

use serde_json::{Value, json as object};

use super::client::Client;
use super::process::{Place, Server};
use super::rollouts::{json, served_with, wait};

const PROJECT: &str = "project: served
release:
  model: late
  environments:
    prod:
      approve: {by: owner, people: [ada, AUTHOR]}
      rollout:
        stages: [{canary: 20%}, {canary: 50%}, {full: {}}]
        judge: {error_budget: 0.05, metrics: [errors]}
triggers: [{name: again, when: {webhook: again}, actions: [release]}]
";

/// Who makes releases here. They have the role, too, and are the one who started the server.
const AUTHOR: &str = "mallory";

/// One request; its status and what it said.
fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let answer =
        Client::connect(&server.url).unwrap().send_with(method, path, headers, body.as_bytes()).unwrap();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// The value of a hidden field of a page's form.
fn hidden(page: &str, name: &str) -> String {
    let at = page.find(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("no field `{name}`: {page}"));
    page[at..].split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// A rollout waits for its approval, and its release has no request.
#[track_caller]
fn waits(place: &Place, server: &Server, rollout: u64) -> Value {
    let status = wait(place, rollout, server, |status| status["held"]["held_by"] == "approvals");
    assert_eq!(
        (status["phase"].as_str(), status["share"].as_f64()),
        (Some("awaiting"), Some(0.0)),
        "{status}"
    );
    status
}

#[test]
fn no_path_leads_past_an_approval() {
    let (place, server) = served_with(&PROJECT.replace("AUTHOR", AUTHOR), &[]);
    // The server was started by somebody else's hand in this test; who made the release is what counts.
    let author = |arguments: &[&str]| place.command(arguments).env("USER", AUTHOR).output().unwrap();
    let released = author(&["release", "late@1", "--to", "prod"]);
    assert!(released.status.success(), "{released:?}");
    let waiting = waits(&place, &server, 1);
    let release = waiting["release"].as_str().unwrap().to_owned();

    // On the command line: the author, somebody without the role, an approval of something else, and another word for it.
    for arguments in [
        &["rollout", "approve", "1"][..],
        &["rollout", "approve", "1", "--inputs", &release],
        &["rollout", "proceed", "1", "--reason", "hurry"],
    ] {
        for who in [AUTHOR, "eve"] {
            let refused = place.command(arguments).env("USER", who).output().unwrap();
            assert_eq!(refused.status.code(), Some(1), "{who} {arguments:?}: {refused:?}");
        }
    }
    // Over HTTP: the author by name, a stranger, a program, and one who gives no name.
    let json_body = ("Content-Type", "application/json");
    for who in ["Basic bWFsbG9yeTo=", "Basic ZXZlOg==", "Bearer any", "Basic Og=="] {
        for body in [r#"{"action": "approve"}"#, r#"{"action": "proceed", "reason": "hurry"}"#] {
            let headers = [json_body, ("Authorization", who)];
            let (status, said) = ask(&server, "POST", "/api/v1/rollouts/1/actions", &headers, body);
            assert!((400..500).contains(&status), "{who} {body}: {status} {said}");
        }
    }
    // On the page, whose form is a right one: whoever opens it is not the author for that, and has no role.
    for who in ["Basic bWFsbG9yeTo=", "Basic ZXZlOg=="] {
        let who = ("Authorization", who);
        let (_, page) = ask(&server, "GET", "/delivery/rollouts/1", &[("Accept", "text/html"), who], "");
        let body =
            format!("csrf={}&inputs={}", hidden(&page, "csrf"), hidden(&page, "inputs").replace(':', "%3A"));
        let form =
            [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin"), who];
        let (status, said) = ask(&server, "POST", "/ui/rollouts/1/approve", &form, &body);
        assert!((400..500).contains(&status), "{status} {said}");
        assert!(said.contains("cannot approve it") || said.contains("takes the role"), "{said}");
    }
    // The endpoint, by both ways.
    let set = author(&["endpoint", "set", "late", "--arm", "late=late@1:100"]);
    let said = String::from_utf8_lossy(&set.stderr);
    assert!(!set.status.success() && said.contains("releases say which models answer at `late`"), "{set:?}");
    let arms =
        object!({"arms": [{"name": "late", "model": "late", "version": "1", "weight": 100}]}).to_string();
    let (status, said) = ask(&server, "PUT", "/api/v1/endpoints/late", &[json_body], &arms);
    assert!((400..500).contains(&status), "{status} {said}");
    // Nor by deleting it, after which requests would find the model by its alias.
    let (status, said) = ask(&server, "DELETE", "/api/v1/endpoints/late", &[], "");
    assert!((400..500).contains(&status), "{status} {said}");

    // A second release waits for the first, and then for its own approval. That of the first would not be one of it.
    let queued = author(&["release", "late@2", "--to", "prod"]);
    assert!(queued.status.success(), "{queued:?}");
    let early = place.command(&["rollout", "approve", "2"]).env("USER", "ada").output().unwrap();
    assert_eq!(early.status.code(), Some(1), "{early:?}");
    let first = json(&place, &["rollout", "status", "1"]);
    json(&place, &["rollout", "abort", "1", "--reason", "the second one"]);
    waits(&place, &server, 2);
    let inputs = first["inputs"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
    let stale =
        place.command(&["rollout", "approve", "2", "--inputs", &inputs]).env("USER", "ada").output().unwrap();
    assert_eq!(stale.status.code(), Some(1), "{stale:?}");
    // One that takes the place of another is no further than that one was.
    let superseding = author(&["release", "late@1", "--to", "prod", "--concurrent", "supersede"]);
    assert!(superseding.status.success(), "{superseding:?}");
    waits(&place, &server, 3);
    assert_eq!(json(&place, &["rollout", "status", "2"])["phase"], "superseded");
    let busy = author(&["release", "late@2", "--to", "prod", "--concurrent", "reject"]);
    let said = String::from_utf8_lossy(&busy.stderr);
    assert!(busy.status.code() == Some(1) && said.contains("rollout 3 of `late` is on its way"), "{busy:?}");
    json(&place, &["rollout", "abort", "3", "--reason", "now by a trigger"]);
    // Nor is one that a trigger made.
    let (status, said) = ask(&server, "POST", "/hooks/again", &[json_body], "{}");
    assert_eq!(status, 202, "{said}");
    wait_for(&place, &server, 4);
    waits(&place, &server, 4);

    // Nor does a file help that asks nobody: what was asked before is asked once more.
    fs_err::write(
        place.root().join("tidemill.yaml"),
        PROJECT.replace("      approve: {by: owner, people: [ada, AUTHOR]}\n", ""),
    )
    .unwrap();
    let bare = author(&["release", "late@2", "--to", "prod", "--concurrent", "supersede"]);
    assert!(bare.status.success(), "{bare:?}");
    let held = waits(&place, &server, 5);
    assert!(held["gates"].to_string().contains("the project file asks for less than rollout 4"), "{held}");
    json(&place, &["rollout", "abort", "5", "--reason", "it was worth a try"]);
    fs_err::write(place.root().join("tidemill.yaml"), PROJECT.replace("AUTHOR", AUTHOR)).unwrap();
    let last = author(&["release", "late@1", "--to", "prod"]);
    assert!(last.status.success(), "{last:?}");
    waits(&place, &server, 6);

    // A freeze is in front of it, and does not take it away.
    assert_eq!(json(&place, &["freeze", "--reason", "incident"])["freeze"], 1);
    wait(&place, 6, &server, |status| status["held"]["held_by"] == "freeze");
    json(&place, &["freeze", "--lift", "1"]);
    waits(&place, &server, 6);
    // Whoever has the role and made nothing lets it go.
    let approved = place.command(&["rollout", "approve", "6"]).env("USER", "ada").output().unwrap();
    assert!(approved.status.success(), "{approved:?}");
    wait(&place, 6, &server, |status| status["phase"] == "complete");
    for who in [AUTHOR, "ada"] {
        let deleted = place.command(&["endpoint", "delete", "late"]).env("USER", who).output().unwrap();
        let said = String::from_utf8_lossy(&deleted.stderr);
        assert!(!deleted.status.success() && said.contains("cannot be deleted"), "{deleted:?}");
    }
    server.stop();
}

/// Waits until there is a rollout of this number.
fn wait_for(place: &Place, server: &Server, rollout: u64) {
    let begin = std::time::Instant::now();
    while !place.command(&["rollout", "status", &rollout.to_string()]).output().unwrap().status.success() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(120), "{}", server.said());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
