//! `tidemill rollout simulate` before there is any traffic: figures that were said, of the plan in the project file.

use serde_json::Value;

use crate::fixture::Project;

const PLAN: &str = "project: flights
objective:
  task: {kind: classification, target: late, positive: 1}
  costs: {currency: EUR, false_negative: 120, false_positive: 15}
release:
  model: late
  environments:
    staging: {}
    prod:
      rollout:
        stages: [{canary: 20%}, {canary: 50%}, {full: {}}]
        judge: {error_budget: 0.05, metrics: [errors, cost], outcomes: {delay: 2h}}
";
const SAID: [&str; 4] = ["--traffic", "5000/h", "--assume", "errors=0.02,cost=8.5:30"];

fn simulate(project: &Project, more: &[&str]) -> Value {
    let arguments = [&["rollout", "simulate", "--json", "--repetitions", "60"], &SAID[..], more].concat();
    project.run(&arguments).good().json()
}

/// The runs of a candidate: harm of a metric, or the healthy one.
fn of<'a>(found: &'a Value, metric: Option<&str>, harm: &str) -> &'a Value {
    let candidates = found["candidates"].as_array().unwrap();
    let is = |candidate: &&Value| candidate["metric"].as_str() == metric && candidate["harm"] == harm;
    &candidates.iter().find(is).unwrap_or_else(|| panic!("{metric:?} {harm}: {found}"))["summary"]
}

#[test]
fn a_plan_is_played_without_server_and_without_requests() {
    let project = Project::new(PLAN);
    let found = simulate(&project, &[]);
    assert_eq!((&found["environment"], &found["endpoint"]), (&"prod".into(), &"late".into()));
    let share = |summary: &Value, what: &str| summary[what]["share"].as_f64().unwrap();
    let healthy = of(&found, None, "healthy");
    assert!(share(healthy, "shipped") > 0.8 && share(healthy, "rolled_back") < 0.15, "{healthy}");
    assert!(healthy["rolled_back"]["high"].as_f64().unwrap() > share(healthy, "rolled_back"));
    // What is known after two hours is decided after them.
    assert!(healthy["hours"]["median"].as_f64().unwrap() > 2.0, "{healthy}");
    assert_eq!(healthy["stages"].as_array().unwrap().len(), 2);
    for metric in ["errors", "cost"] {
        let at_limit = of(&found, Some(metric), "at `reject`");
        assert!(share(at_limit, "shipped") < 0.2, "{metric}: {at_limit}");
        assert!(share(of(&found, Some(metric), "2x"), "rolled_back") > 0.8, "{metric}: {found}");
        of(&found, Some(metric), "1 % worse");
    }
    // Nothing was opened for it.
    assert!(!project.path(".tidemill").exists());

    assert_eq!(simulate(&project, &[]), found, "the same seed");
    assert_ne!(simulate(&project, &["--seed", "2"])["candidates"], found["candidates"]);
    let half = simulate(&project, &["--share", "50%", "--harm", "errors=4x"]);
    let median = |found: &Value| of(found, None, "healthy")["hours"]["median"].as_f64().unwrap();
    assert!(median(&half) <= median(&found), "a larger share decides sooner");
    assert!(share(of(&half, Some("errors"), "4x"), "rolled_back") > 0.9);

    // One of three has a third of the budget, and the others take requests from the incumbent.
    let third = simulate(&project, &["--share", "20%", "--harm", "errors=4x", "--candidates", "3"]);
    assert_eq!((&third["tried_together"], &third["error_budget"]), (&3.into(), &0.05.into()));
    let alone = simulate(&project, &["--share", "20%", "--harm", "errors=4x"]);
    assert!(median(&third) > median(&alone), "it takes longer to decide");
    assert!(share(of(&third, Some("errors"), "4x"), "rolled_back") > 0.9);
}

/// Harm in a tenth of requests: lost among all of them, and found where the judge looks at slices.
#[test]
fn slices_are_played_as_they_were_seen_or_as_somebody_says() {
    let sliced =
        PLAN.replace("outcomes: {delay: 2h}}", "outcomes: {delay: 2h}, slices: {by: [origin, carrier]}}");
    let project = Project::new(&sliced.replace("{canary: 50%}", "{canary: {share: 50%, for: 24h}}"));
    let more = ["--slice", "origin=LGA:10%", "--slice", "origin=JFK:0.6", "--harm", "errors=4x@origin=LGA"];
    let found = simulate(&project, &more);
    let played = found["slices_played"].as_array().unwrap();
    assert_eq!((played.len(), &played[0]["name"]), (1, &"origin".into()), "{found}");
    assert_eq!(played[0]["values"].as_array().unwrap().len(), 3, "{found}");
    let healthy = of(&found, None, "healthy");
    assert!(healthy["rolled_back"]["share"].as_f64().unwrap() < 0.15, "{healthy}");
    let harmed = of(&found, Some("errors"), "4x where origin = LGA");
    assert!(harmed["rolled_back"]["share"].as_f64().unwrap() > 0.9, "{harmed}");
    assert_eq!(harmed["slices"][0][0], "origin = LGA", "{harmed}");
    let arguments = [&["rollout", "simulate", "--repetitions", "20"], &SAID[..], &more[..]].concat();
    project.run(&arguments).good().says(&[
        "slices by origin: LGA 10 %, JFK 60 %, others 30 %",
        "slices by carrier: not played, since nothing is known of it; see `--slice`",
        "for a slice alone, most often origin = LGA",
    ]);
    let fails = |more: &[&str], texts: &[&str]| {
        let arguments = [&["rollout", "simulate", "--repetitions", "20"], &SAID[..], more].concat();
        project.run(&arguments).fails(2, texts);
    };
    fails(
        &["--slice", "orgin=LGA:10%"],
        &["the judge has no slices by `orgin`: they are by origin, carrier"],
    );
    fails(&["--slice", "origin=A:60%", "--slice", "origin=B:50%"], &["are 110 % of requests together"]);
    fails(
        &["--harm", "errors=2x@origin=LGA"],
        &["no request with origin = LGA was seen", "--slice 'origin=LGA:10%'"],
    );
    fails(&["--harm", "errors=2x@day=Mon"], &["the judge has no slices by `day`"]);
}

#[test]
fn people_are_told_what_it_comes_to_and_where_traffic_is_too_little() {
    let project = Project::new(PLAN);
    let arguments = ["rollout", "simulate", "--repetitions", "40", "--assume", "errors=0.02,cost=8.5:30"];
    let with = |more: &[&str]| project.run(&[&arguments[..], more].concat());
    with(&["--traffic", "5000/h"]).good().says(&[
        "`late` in `prod`: canary 20 %, canary 50 %, full; error budget 5 %",
        "5000 requests an hour, as assumed",
        "errors: 2 % of requests; tolerates 1.25x, rejects 2x",
        "cost: mean 8.5; rejects 1.2 more, known after 2.0 h",
        "healthy",
        "cost at `reject`",
        "false rollback:",
        "missed:",
    ]);
    let little = with(&["--traffic", "1/h", "--horizon", "2d"]).good();
    assert!(
        little.stderr.contains("% of healthy candidates have no verdict after 48 h; they wait for"),
        "{little}"
    );
    assert!(little.stderr.contains("raise the shares"), "{little}");
}

#[test]
fn what_cannot_be_simulated_says_why() {
    let project = Project::new(PLAN);
    let fails = |arguments: &[&str], code: i32, texts: &[&str]| {
        project.run(&[&["rollout", "simulate"], arguments].concat()).fails(code, texts);
    };
    fails(&[], 1, &["nothing is known of `errors`", "--traffic 120/h --assume errors=0.01"]);
    fails(&["--assume", "errors=0.1"], 1, &["nothing is known of `cost`", "cost=MEAN:DEVIATION"]);
    fails(&["--assume", "errors=0.1,cost=8"], 1, &["there are no requests of `late`"]);
    fails(&["--to", "staging"], 2, &["nothing decides in `staging`", "add `rollout:`"]);
    fails(&["--to", "prd"], 2, &["there is no environment `prd`", "prod"]);
    fails(&["--traffic", "many"], 2, &["`many` is no rate"]);
    fails(&["--assume", "eror=0.1"], 2, &["nothing can be assumed of `eror`", "errors"]);
    let said = [&SAID[..], &["--repetitions", "20"]].concat();
    let harm = |harm| [&said[..], &["--harm", harm]].concat();
    fails(&harm("errors=worse"), 2, &["`worse` is no amount of harm"]);
    fails(&harm("latency=2x"), 2, &["`latency` is no metric of this judge", "known: `errors`, `cost`"]);
    fails(&["--traffic", "9/h", "--assume", "errors=0.1,cost=8:900"], 2, &["standard deviation of 900"]);
    fails(
        &["--candidates", "3"],
        2,
        &["3 candidates get 150 % of the requests together", "a smaller `--share`"],
    );
    fails(&["--repetitions", "5"], 2, &["20..=100000"]);
}
