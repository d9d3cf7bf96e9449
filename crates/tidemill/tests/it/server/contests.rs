//! Several candidates in one rollout, under real traffic and with a kill -9 in between. Versions 2 and 4 are healthy, 3 is not.

use serde_json::Value;

use super::rollouts::{Traffic, champions, get, json, served_with, share, wait};

/// Judged by what mistakes cost, with a gate for the one that was chosen.
const COSTLY: &str = "project: served
objective:
  task: {kind: classification, target: big, positive: 1}
  costs: {currency: EUR, false_negative: 120, false_positive: 15}
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{canary: 20%}, {gate: {by: risk, people: [ada]}}, {full: {}}]
        winner: cost
        judge: {error_budget: 0.05, outcomes: {delay: 1s}, metrics: [errors, cost]}
";

const PROJECT: &str = "project: served
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{canary: 10%}, {canary: 25%}, {full: {}}]
        holdout: 2%
        winner: errors
        judge: {error_budget: 0.05, metrics: [errors]}
";

fn fates(status: &Value) -> Vec<(&str, &str)> {
    let candidates = status["candidates"].as_array().unwrap().iter();
    candidates.map(|one| (one["candidate"].as_str().unwrap(), one["fate"].as_str().unwrap())).collect()
}

#[test]
fn the_bad_one_of_three_leaves_alone_and_a_good_one_gets_everything() {
    let (place, server) = served_with(PROJECT, &["healthy"]);
    let fails = |arguments: &[&str], text: &str| {
        let output = place.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(text), "{arguments:?}: {said}");
    };
    let none = "several candidates are compared with a release that runs, and none does";
    fails(&["release", "late@1", "late@2", "--to", "prod"], none);
    json(&place, &["release", "late@1", "--to", "prod"]);
    wait(&place, 1, &server, |status| status["over"] == true);
    fails(&["release", "late@2", "late@2", "--to", "prod"], "late@2 is named twice");
    fails(&["release", "late@2", "late@1", "--to", "prod"], "`prod` runs late@1, release");
    fails(&["release", "late@2", "late@9", "--to", "prod"], "has no version 9");
    let crowded = PROJECT.replace("canary: 25%", "canary: 40%");
    fs_err::write(place.root().join("tidemill.yaml"), crowded).unwrap();
    let three = ["release", "late@2", "late@3", "late@4", "--to", "prod"];
    fails(&three, "stage 2: 3 candidates with 40 % each and the holdout are 122 % together");
    fs_err::write(place.root().join("tidemill.yaml"), PROJECT).unwrap();

    let traffic = Traffic::start(&place, &server, "one");
    let placed = json(&place, &three);
    assert_eq!((&placed["rollout"], placed["rivals"].as_array().unwrap().len()), (&2.into(), 2));
    let dropped = wait(&place, 2, &server, |status| fates(status)[1].1 == "dropped");
    assert_eq!(fates(&dropped), [("late@2", "in"), ("late@3", "dropped"), ("late@4", "in")]);
    assert_eq!(dropped["over"], false, "the others go on");
    let going = wait(&place, 2, &server, |status| status["held"]["held_by"] != "traffic");
    wait(&place, 2, &server, |_| share(&server, "3") == 0.0);
    assert!(share(&server, "2") >= 0.1 && share(&server, "4") >= 0.1, "{going}");
    let page = get(&format!("{}/api/v1/rollouts/2", server.url));
    assert_eq!(page["data"]["candidates"][1]["fate"], "dropped");

    server.kill();
    traffic.stop();
    let server = place.serve();
    let traffic = Traffic::start(&place, &server, "two");
    let over = wait(&place, 2, &server, |status| status["over"] == true);
    traffic.stop();
    assert_eq!(over["phase"], "complete", "{over}");
    // Neither ever fails, so the first one that was named is taken.
    assert_eq!(fates(&over), [("late@2", "chosen"), ("late@3", "dropped"), ("late@4", "not chosen")]);
    assert_eq!((share(&server, "2"), share(&server, "4")), (1.0, 0.0));
    assert_eq!(champions(&place), [1, 2]);
    let whys: Vec<&str> =
        over["phases"].as_array().unwrap().iter().map(|phase| phase["why"].as_str().unwrap()).collect();
    let is_told = |text: &str| whys.iter().filter(|why| why.contains(text)).count() == 1;
    assert!(is_told("late@3 is out: `errors` is proven to be harmed; the others go on"), "{whys:?}");
    assert!(is_told("late@2 was chosen by `errors`") && is_told("so their order decides"), "{whys:?}");

    let replayed = json(&place, &["rollout", "replay", "2"]);
    assert_eq!(replayed["identical"], true, "{replayed}");
    let shown = |arguments: &[&str]| {
        String::from_utf8_lossy(&place.command(arguments).output().unwrap().stdout).into_owned()
    };
    let status = shown(&["rollout", "status", "2"]);
    assert!(status.contains("late@3 is dropped; 0 % of requests"), "{status}");
    assert!(shown(&["why", "late@3"]).contains("late@3 is dropped: `errors` is proven"), "why");
    assert!(shown(&["why", "late@4"]).contains("late@4 is not chosen: late@2 was chosen"), "why");

    // Who did harm is not let in again, alone or with others; who was not chosen may be.
    fails(&["release", "late@4", "late@3", "--to", "prod"], "late@3: release ");
    json(&place, &["release", "late@4", "late@1", "--to", "prod"]);
    wait(&place, 3, &server, |status| status["phase"] == "canary");
    fails(&["rollout", "drop", "3", "late@2", "--reason", "slow"], "they are late@4, late@1");
    json(&place, &["rollout", "drop", "3", "late@1", "--reason", "slow"]);
    let left = json(&place, &["rollout", "status", "3"]);
    assert_eq!(fates(&left), [("late@4", "in"), ("late@1", "dropped")]);
    json(&place, &["rollout", "drop", "3", "late@4", "--reason", "slow, too"]);
    let ended = wait(&place, 3, &server, |status| status["over"] == true);
    assert_eq!(ended["phase"], "aborted", "{ended}");
    assert_eq!(json(&place, &["rollout", "replay", "3"])["identical"], true);
    server.stop();
}

/// What is 5 or more is positive. The incumbent misses a tenth, version 4 all that there is, version 6 takes a tenth too many for
/// positive, and version 2 is always right.
#[test]
fn of_several_the_cheapest_is_chosen_on_outcomes_and_a_gate_is_for_it_alone() {
    let (place, server) = served_with(COSTLY, &["blind", "timid", "eager"]);
    let release = |versions: &[&str]| {
        json(&place, &[&["release"], versions, &["--to", "prod", "--threshold", "5"]].concat())
    };
    let approve = |person: &str, rollout: &str| {
        place.command(&["rollout", "approve", rollout]).env("USER", person).output().unwrap()
    };
    release(&["late@5"]);
    wait(&place, 1, &server, |status| status["phase"] == "awaiting");
    assert!(approve("ada", "1").status.success());
    wait(&place, 1, &server, |status| status["over"] == true);

    let traffic = Traffic::start_as(&place, &server, "judged", "one");
    release(&["late@6", "late@2", "late@4"]);
    wait(&place, 2, &server, |status| status["phase"] == "canary");
    // Nobody knows yet for whom this would be.
    let early = approve("ada", "2");
    let dropped = wait(&place, 2, &server, |status| fates(status)[2].1 == "dropped");
    // The choice among the others may come with the next look, before this one is read.
    let others = [("late@6", "in"), ("late@2", "in"), ("late@4", "dropped")];
    assert!(dropped["phase"] != "canary" || fates(&dropped) == others, "{dropped}");
    // What was decided is in effect a moment later.
    wait(&place, 2, &server, |_| share(&server, "4") == 0.0);
    server.kill();
    traffic.stop();
    let server = place.serve();
    let traffic = Traffic::start_as(&place, &server, "judged", "two");
    let chosen = wait(&place, 2, &server, |status| status["phase"] == "awaiting");
    assert_eq!(fates(&chosen), [("late@6", "not chosen"), ("late@2", "chosen"), ("late@4", "dropped")]);
    // Who was not chosen answers nobody.
    wait(&place, 2, &server, |_| share(&server, "6") == 0.0);
    let held = wait(&place, 2, &server, |status| status["held"]["held_by"] == "approvals");
    assert_eq!(held["phase"], "awaiting", "a word from before the choice is void: {early:?} {held}");
    let author = place.command(&["rollout", "approve", "2"]).output().unwrap();
    assert!(!author.status.success(), "{author:?}");
    assert!(approve("ada", "2").status.success());
    let over = wait(&place, 2, &server, |status| status["over"] == true);
    assert_eq!(traffic.stop()["lost"], 0, "no request failed");
    assert_eq!((&over["phase"], share(&server, "2")), (&"complete".into(), 1.0), "{over}");
    assert_eq!(champions(&place), [5, 2]);

    let whys: Vec<&str> =
        over["phases"].as_array().unwrap().iter().map(|phase| phase["why"].as_str().unwrap()).collect();
    let is_told = |text: &str| whys.iter().any(|why| why.contains(text));
    assert!(is_told("late@4 is out: `cost` is proven to be harmed"), "{whys:?}");
    assert!(is_told("late@2 was chosen by `cost`"), "{whys:?}");
    // All twelve that the incumbent loses on average are won; each candidate's numbers are its own.
    let of = |candidate: usize| {
        let metrics = over["candidates"][candidate]["metrics"].as_array().unwrap();
        metrics.iter().find(|one| one["metric"] == "cost").unwrap()["harm"].as_f64().unwrap()
    };
    assert!((-20.0..-5.0).contains(&of(1)) && of(1) < of(0) && of(2) > 20.0, "{over}");
    assert_eq!(json(&place, &["rollout", "replay", "2"])["identical"], true);
    server.stop();
}
