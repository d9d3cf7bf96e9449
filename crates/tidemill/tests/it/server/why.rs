//! `tidemill why`: from a file that changed to a model in production, by the real binary alone.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::continuous::project;
use super::registered::Api;
use super::rollouts::get;
use super::tested::{PASSES, PIPELINE};
use super::tracked::{make_champion, table};
use super::triggers::{Lab, offsets};

const REST: &str = "release: {model: late, environments: {prod: {approve: auto}}}
triggers: [{when: {data: rows}, actions: [run]}]
";

#[test]
fn from_a_file_that_changed_to_production() {
    let lab = Lab::new(&format!("{PIPELINE}{PASSES}{REST}"));
    lab.write("data.csv", &table());
    let server = lab.place.serve();
    lab.wait(&server, "the watch", |_| offsets(&lab) == 1);
    lab.write("data.csv", &table().replace(",blue,", ",violet,"));
    lab.wait(&server, "a run", |log| log.ended("succeeded") == 1);

    let api = Api::of(&server, None);
    make_champion(&api, "late");
    insta::assert_snapshot!("registered", chain(&lab, "late@champion"));

    lab.run(&["release", "late@1", "--to", "prod"]);
    let begin = Instant::now();
    while !lab.run(&["rollout", "status", "1"]).contains("complete") {
        assert!(begin.elapsed() < Duration::from_secs(120), "{}", server.said());
        std::thread::sleep(Duration::from_millis(100));
    }
    insta::assert_snapshot!("released", chain(&lab, "late@1"));
    // The release is of the tests that its model passed.
    let log = lab.log();
    let tested = log.of("model_tested").last().unwrap()["evidence"].as_str().unwrap().to_owned();
    let release = log.of("release_created").last().unwrap()["release"].as_str().unwrap().to_owned();
    let page = get(&format!("{}/delivery/releases/{release}?format=json", server.url)).to_string();
    assert!(page.contains("model tests") && page.contains(&tested), "{tested}: {page}");

    let text = lab.run(&["why", "late@1"]);
    let parts = ["late@1", "cause", "data", "run", "tests", "version", "release", "rollout", "now"];
    let places = parts.map(|part| text.lines().position(|line| line.starts_with(part)).unwrap());
    assert!(places.is_sorted() && places[0] == 0, "{text}");
    for (wrong, code, why) in [
        ("late", 2, "is not MODEL@VERSION"),
        ("late@7", 1, "has no version or alias `7`"),
        ("none@1", 1, "there is no registered model `none`"),
    ] {
        let output = lab.place.command(&["why", wrong]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(why), "{wrong}: {output:?}");
    }
    server.stop();
}

/// Nothing says that whoever made a model tested it, too: tests are declared later, and run by whatever run comes then.
#[test]
fn what_a_later_run_tested_is_told_with_its_run() {
    const TESTS: &str = "tests: [{metric: {name: roc_auc, min: 0.6}}]\n";
    let declare = |lab: &Lab, tests: &str| {
        lab.write("tidemill.yaml", &format!("project: lab\n{}", project("").replace(TESTS, tests)));
    };
    let tests_of = |lab: &Lab| -> Vec<String> {
        let said: Value = serde_json::from_str(&lab.run(&["why", "late@1", "--json"])).unwrap();
        let links = said["chain"].as_array().unwrap().iter().filter(|link| link["part"] == "tests");
        links.map(|link| link["what"].as_str().unwrap().to_owned()).collect()
    };
    // The run in which the model was tested last, as it is shown.
    let last_run = |lab: &Lab| -> String {
        lab.log().of("model_tested").last().unwrap()["run"].as_str().unwrap()[..8].to_owned()
    };
    let lab = Lab::new("");
    declare(&lab, "");
    lab.write("data.csv", &table());
    lab.run(&["run"]);
    let made = lab.log().of("run_started").last().unwrap()["run"].as_str().unwrap()[..8].to_owned();
    assert_eq!(tests_of(&lab), ["the model was not tested"]);

    // A run of another step is the last one, and the tests of the model become a part of it.
    lab.run(&["run", "note", "--force"]);
    declare(&lab, TESTS);
    lab.run(&["run"]);
    let second = last_run(&lab);
    assert_ne!(second, made);
    let alone = tests_of(&lab);
    assert_eq!(alone.len(), 1, "{alone:?}");
    let says = |line: &str, texts: &[&str]| texts.iter().all(|text| line.contains(text));
    assert!(says(&alone[0], &["1 passed, 0 failed", &format!("in run {second}")]), "{alone:?}");
    assert!(!alone[0].contains("newest") && !alone[0].contains("gate"), "{alone:?}");

    let server = lab.place.serve();
    lab.run(&["release", "late@1", "--to", "prod"]);
    let release = lab.log().of("release_created").last().unwrap()["release"].as_str().unwrap().to_owned();
    let release = &release.trim_start_matches("b3:")[..12];
    lab.run(&["run", "note", "--force"]);
    declare(&lab, &TESTS.replace("}}]", "}}, {parity: {max_abs: 1.0e-5}}]"));
    lab.run(&["run"]);
    let third = last_run(&lab);
    assert_ne!(third, second);
    let both = tests_of(&lab);
    let used =
        both.iter().position(|line| says(line, &["1 passed", &format!("gate of release {release} used")]));
    let newest = both.iter().position(|line| says(line, &["2 passed", "; the newest"]));
    let (Some(used), Some(newest)) = (used, newest) else { panic!("{both:?}") };
    assert!(used < newest && says(&both[used], &[&format!("in run {second};")]), "{both:?}");
    assert!(
        says(&both[newest], &[&format!("in run {third};")]) && !both[newest].contains("gate"),
        "{both:?}"
    );
    server.stop();
}

/// The links of the chain, one a line, without what is another each time. Every event that is named is in the log, and
/// they are in its order within each part.
fn chain(lab: &Lab, version: &str) -> String {
    let said: Value = serde_json::from_str(&lab.run(&["why", version, "--json"])).unwrap();
    let log = lab.log();
    let mut lines = Vec::new();
    for link in said["chain"].as_array().unwrap() {
        if let Some(seq) = link["event"].as_u64() {
            assert!(log.has(seq), "{link}");
        }
        let part = link["part"].as_str().unwrap();
        lines.push(format!("{part}: {}", plain(link["what"].as_str().unwrap())));
    }
    lines.join("\n")
}

/// Without digests, runs, durations and the name of the user.
fn plain(what: &str) -> String {
    // A duration is the end of what it stands in.
    let is_time = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    if let Some((before, _)) = what.split_once(" in ").filter(|(_, rest)| is_time(rest)) {
        return format!("{} in SOME TIME", plain(before));
    }
    let mut before = "";
    let words: Vec<String> = what
        .split(' ')
        .map(|word| {
            let bare = word.trim_end_matches([',', ':', ';']);
            let end = &word[bare.len()..];
            let hex = bare.strip_prefix("b3:").unwrap_or(bare);
            let is_hex = hex.len() >= 8 && hex.chars().all(|c| c.is_ascii_hexdigit());
            let shown = match before {
                "run" if is_hex => "RUN",
                _ if is_hex => "DIGEST",
                "by" if bare != "rollout" => "WHO",
                _ => bare,
            };
            before = bare;
            format!("{shown}{end}")
        })
        .collect();
    words.join(" ")
}
