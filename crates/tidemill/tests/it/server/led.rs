//! Requests that rules lead to a candidate: testers have it in every stage, and nothing of them is judged. And keys that stay together.

use serde_json::{Value, json as object};

use super::client::Client;
use super::process::{Place, Server};
use super::rollouts::{get, json, served_with, wait};

const LED: &str = "project: served
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{shadow: {samples: 50}}, {canary: 20%}, {full: {}}]
        routes: [{header: X-Preview, one_of: ['on']}]
        judge: {error_budget: 0.05, metrics: [errors]}
";

/// The version that answered, or none where the model failed.
fn answered_by(client: &mut Client, text: &str, headers: &[(&str, &str)]) -> Option<u64> {
    let body = object!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]});
    let answer =
        client.send_with("POST", "/v2/models/late/infer", headers, body.to_string().as_bytes()).unwrap();
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    (answer.status == 200).then(|| said["model_version"].as_str().unwrap().parse().unwrap())
}

/// The declaration of the endpoint.
fn spec(server: &Server) -> Value {
    get(&format!("{}/api/v1/endpoints/late", server.url))["data"]["spec"].clone()
}

#[test]
fn testers_have_the_candidate_in_every_stage_and_are_not_judged() {
    let (place, server) = served_with(LED, &[]);
    json(&place, &["release", "late@1", "--to", "prod"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");
    // It fails on what is no number.
    json(&place, &["release", "late@3", "--to", "prod"]);
    let shadow = wait(&place, 2, &server, |status| status["phase"] == "shadow");
    assert_eq!(shadow["routes"], object!(["header x-preview = on"]), "{shadow}");
    let mut client = Client::connect(&server.url).unwrap();
    let (tester, other) = ([("X-Preview", "on")], [("X-Preview", "off")]);
    for _ in 0..60 {
        assert_eq!(answered_by(&mut client, "7", &tester), Some(3));
        assert_eq!(answered_by(&mut client, "n/a", &tester), None, "it fails, and that is not judged");
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let shadow = json(&place, &["rollout", "status", "2"]);
    assert_eq!((&shadow["phase"], &shadow["requests"]), (&"shadow".into(), &0.into()), "{shadow}");
    // As many as the stage wants: with one more, the canary may have begun.
    for _ in 0..50 {
        assert_eq!(answered_by(&mut client, "7", &other), Some(1), "others have the incumbent");
    }
    wait(&place, 2, &server, |status| status["phase"] == "canary");
    let mut seen = [0, 0];
    for _ in 0..300 {
        assert_eq!(answered_by(&mut client, "n/a", &tester), None);
        assert_eq!(answered_by(&mut client, "7", &tester), Some(3));
        let drawn = answered_by(&mut client, "7", &other).unwrap();
        seen[usize::from(drawn == 3)] += 1;
    }
    assert!((30..100).contains(&seen[1]), "a fifth of the others: {seen:?}");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let canary = json(&place, &["rollout", "status", "2"]);
    assert_eq!(canary["phase"], "canary", "three hundred failures were not its own: {canary}");
    let errors = &canary["metrics"][0];
    let of_shadow = 50..=51;
    let judged = errors["candidate"].as_u64().unwrap();
    assert!(of_shadow.contains(&(judged - seen[1])), "{seen:?} {canary}");
    let shown = place.command(&["rollout", "status", "2"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("answers and is not judged by: header x-preview = on"), "{shown}");

    // Others fail, too, and that is.
    for _ in 0..2_000 {
        answered_by(&mut client, "n/a", &other);
    }
    wait(&place, 2, &server, |status| status["phase"] == "rolled-back");
    assert_eq!(answered_by(&mut client, "7", &tester), Some(1), "nobody has it any more");
    assert!(spec(&server)["rules"].is_null(), "{}", spec(&server));
    assert_eq!(json(&place, &["rollout", "replay", "2"])["identical"], true);

    // A healthy one gets everything, and then nobody needs a rule.
    json(&place, &["release", "late@2", "--to", "prod"]);
    wait(&place, 3, &server, |status| status["phase"] == "shadow");
    assert_eq!(answered_by(&mut client, "7", &tester), Some(2));
    let over = |status: &Value| status["over"] == true;
    while !over(&json(&place, &["rollout", "status", "3"])) {
        for _ in 0..500 {
            answered_by(&mut client, "7", &other);
        }
    }
    wait(&place, 3, &server, |status| status["phase"] == "complete");
    assert_eq!(answered_by(&mut client, "7", &other), Some(2));
    assert!(spec(&server)["rules"].is_null(), "{}", spec(&server));
    server.stop();
}

/// Twelve requests of each of four hundred customers: shares are those of customers. A rule that somebody sets by hand in the middle does not
/// lead to the candidate, and those of the plan lead to an arm of its own.
#[test]
fn requests_of_a_key_count_once_for_the_shares() {
    let project = LED.replace("{shadow: {samples: 50}}, {canary: 20%}", "{canary: {share: 20%, for: 1h}}");
    let (place, server) = served_with(&project, &[]);
    json(&place, &["release", "late@1", "--to", "prod"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");
    let put = |change: &dyn Fn(&mut Value)| {
        let mut declared = spec(&server);
        change(&mut declared);
        let mut client = Client::connect(&server.url).unwrap();
        let body = declared.to_string();
        let answer =
            client.send("PUT", "/api/v1/endpoints/late", "application/json", body.as_bytes()).unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    let (status, said) = put(&|declared| declared["sticky"] = object!({"header": "x-customer"}));
    assert_eq!(status, 200, "{said}");
    json(&place, &["release", "late@2", "--to", "prod"]);
    wait(&place, 2, &server, |status| status["phase"] == "canary");
    // The first look after a change of traffic begins to count.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut client = Client::connect(&server.url).unwrap();
    let mut customers = [0, 0];
    for turn in 0..12 {
        for customer in 0..400 {
            let name = format!("customer {customer}");
            let by = answered_by(&mut client, "7", &[("X-Customer", &name)]).unwrap();
            customers[usize::from(by == 2)] += u64::from(turn == 0);
        }
    }
    assert_eq!(customers[0] + customers[1], 400);
    let (status, said) = put(&|declared| {
        let to = declared["arms"].as_array().unwrap().iter().find(|arm| arm["version"] == "2").unwrap();
        declared["rules"] = object!([{"key": {"header": "x-team"}, "arm": to["name"]}]);
    });
    assert!(
        status == 409 && said.contains("rollout 2 decides which requests of `late` go to release"),
        "{said}"
    );
    let led = spec(&server);
    let arm = led["rules"][0]["arm"].as_str().unwrap();
    assert!(arm.ends_with("-by-rule") && led["rules"][0]["shadows"] == false, "{led}");
    assert_eq!(answered_by(&mut client, "7", &[("X-Preview", "on"), ("X-Customer", "new")]), Some(2));
    std::thread::sleep(std::time::Duration::from_secs(3));
    let answer =
        client.send_with("GET", "/delivery/rollouts/2", &[("Accept", "application/json")], b"").unwrap();
    let page: Value = serde_json::from_slice(&answer.body).unwrap();
    let split = &page["data"]["split"]["rows"];
    let counted = |arm: &str| split[0][arm].as_u64();
    let wanted = (Some(customers[1]), Some(customers[0]));
    assert_eq!((counted("candidate"), counted("incumbent")), wanted, "{split} {customers:?}");
    server.stop();
}

/// All requests go to a gateway that stands elsewhere and follows the server: what it counts is what the rollout is judged by.
#[test]
fn a_rollout_is_judged_by_what_a_gateway_elsewhere_answers() {
    let project = LED.replace("{shadow: {samples: 50}}, {canary: 20%}", "{canary: 50%}");
    let (place, server) = served_with(&project, &[]);
    json(&place, &["release", "late@1", "--to", "prod"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");
    let edge = Place::sqlite();
    let gateway = edge.serve_alone(&["--server", &server.url]);
    let mut client = Client::connect(&gateway.url).unwrap();
    assert_eq!(answered_by(&mut client, "7", &[]), Some(1));
    let over = |rollout: &str| json(&place, &["rollout", "status", rollout])["over"] == true;
    let mut ask_until_over = |rollout: &str, text: &str| {
        let begin = std::time::Instant::now();
        while !over(rollout) {
            assert!(begin.elapsed().as_secs() < 240, "{}", json(&place, &["rollout", "status", rollout]));
            for _ in 0..300 {
                answered_by(&mut client, text, &[]);
            }
        }
        json(&place, &["rollout", "status", rollout])
    };
    // It fails on what is no number, and nobody asks the server itself.
    json(&place, &["release", "late@3", "--to", "prod"]);
    let harmful = ask_until_over("2", "n/a");
    assert_eq!(harmful["phase"], "rolled-back", "{harmful}");
    assert!(harmful["metrics"][0]["candidate"].as_u64() > Some(0), "{harmful}");
    json(&place, &["release", "late@2", "--to", "prod"]);
    let healthy = ask_until_over("3", "7");
    assert_eq!(healthy["phase"], "complete", "{healthy}");
    assert!(healthy["metrics"][0]["baseline"].as_u64() > Some(100), "{healthy}");
    gateway.stop();
    server.stop();
}

/// A candidate that fails for one value of an input alone: the gateway elsewhere tells what it counted by values, too.
#[test]
fn slices_are_judged_by_what_a_gateway_elsewhere_answers() {
    let project = LED
        .replace("{shadow: {samples: 50}}, {canary: 20%}", "{canary: {share: 50%, samples: 1000000}}")
        .replace("metrics: [errors]", "slices: {by: [x], min_samples: 2}, metrics: [errors]");
    let (place, server) = served_with(&project, &[]);
    json(&place, &["release", "late@1", "--to", "prod"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");
    let edge = Place::sqlite();
    let gateway = edge.serve_alone(&["--server", &server.url]);
    let mut client = Client::connect(&gateway.url).unwrap();
    assert_eq!(answered_by(&mut client, "7", &[]), Some(1));
    json(&place, &["release", "late@3", "--to", "prod"]);
    let status = || json(&place, &["rollout", "status", "2"]);
    let begin = std::time::Instant::now();
    // The gateway learns by which inputs to count from the answer to its counts; until then it tells none.
    while !status()["metrics"].to_string().contains(r#""value":"7""#) {
        assert!(begin.elapsed().as_secs() < 120, "{}\n{}", status(), server.said());
        for _ in 0..100 {
            answered_by(&mut client, "7", &[]);
        }
    }
    // A value is judged by what comes after it was seen often enough: a few are sent before the many.
    while !status()["metrics"].to_string().contains(r#""value":"n/a""#) {
        assert!(begin.elapsed().as_secs() < 120, "{}\n{}", status(), server.said());
        answered_by(&mut client, "n/a", &[]);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    while status()["over"] != true {
        assert!(begin.elapsed().as_secs() < 240, "{}\n{}", status(), server.said());
        for at in 0..300 {
            let text = if at % 4 == 0 { "n/a" } else { "7" };
            answered_by(&mut client, text, &[]);
        }
    }
    let harmful = status();
    assert_eq!(harmful["phase"], "rolled-back", "{harmful}");
    let metrics = harmful["metrics"].as_array().unwrap();
    let of = |value: &str| {
        let is = |one: &&Value| one["metric"] == "errors" && one["slice"]["value"] == value;
        metrics.iter().find(is).unwrap_or_else(|| panic!("no {value} in {harmful}"))
    };
    assert!(of("n/a")["ln_harm"].as_f64() > Some(1.0), "{harmful}");
    assert!(of("7")["standing"] != "harmful" && of("7")["ln_harm"].as_f64() < Some(1.0), "{harmful}");
    for value in ["n/a", "7"] {
        let both = (of(value)["candidate"].as_u64(), of(value)["baseline"].as_u64());
        assert!(both.0 >= Some(2) && both.1 >= Some(2), "{value}: {both:?}");
    }
    let replayed = json(&place, &["rollout", "replay", "2"]);
    assert_eq!(replayed["identical"], true, "{replayed}");
    gateway.stop();
    server.stop();
}
