//! What is in the key and what is not.

use std::time::Duration;

use serde_json::json;
use tidemill_core::declare::{Input, Out, Retry, Sandbox};

use super::*;
use crate::ContentKind;
use crate::testing::step;

fn content(text: &str) -> Content {
    Content { digest: Digest::of(text.as_bytes()), kind: ContentKind::File, bytes: 1 }
}

/// Everything that a record is made of.
#[derive(Clone)]
struct Given {
    step: Step,
    deps: BTreeMap<String, Content>,
    builtin: Option<String>,
    home: Option<&'static str>,
    token: &'static str,
}

impl Given {
    fn new() -> Self {
        let mut step = step("train", &["a.csv"], &["model"]);
        step.inputs.push(Input { table: "t".to_owned(), paths: vec!["t.csv".to_owned()], format: None });
        step.params.insert("rounds".to_owned(), json!(1));
        step.env.insert("TZ".to_owned(), EnvSource::Value("UTC".to_owned()));
        step.env.insert("HOME2".to_owned(), EnvSource::Inherit);
        step.env.insert("TOKEN".to_owned(), EnvSource::Secret);
        let deps = [("a.csv".to_owned(), content("a")), ("t.csv".to_owned(), content("t"))].into();
        Self { step, deps, builtin: Some("sql/1".to_owned()), home: Some("x"), token: "s3cret" }
    }

    fn record(&self) -> ActionRecord {
        let env = |name: &str| match name {
            "HOME2" => self.home.map(|value| value.as_bytes().to_vec()),
            "TOKEN" => Some(self.token.as_bytes().to_vec()),
            _ => None,
        };
        ActionRecord::new(&self.step, self.deps.clone(), self.builtin.clone(), &env)
    }
}

type Edit = fn(&mut Given);

#[test]
fn every_field_of_the_record_changes_the_key() {
    let base = Given::new().record();
    let edits: [(&str, Edit); 20] = [
        ("command changed", |g| g.step.action = Action::Run { command: "other".to_owned() }),
        ("kind of step changed", |g| {
            let text = "make train".to_owned();
            g.step.action = Action::Sql { source: String::new(), file: None, text };
        }),
        ("built-in changed sql/1 → sql/2", |g| g.builtin = Some("sql/2".to_owned())),
        ("`a.csv` changed", |g| {
            g.deps.insert("a.csv".to_owned(), content("b"));
        }),
        ("`a.csv` changed", |g| {
            let executable = Content { kind: ContentKind::Executable, ..content("a") };
            g.deps.insert("a.csv".to_owned(), executable);
        }),
        ("`b.csv` is new", |g| {
            g.deps.insert("b.csv".to_owned(), content("b"));
        }),
        ("`t.csv` is no longer read", |g| {
            g.deps.remove("t.csv");
        }),
        ("parameter `rounds` changed 1 → 2", |g| {
            g.step.params.insert("rounds".to_owned(), json!(2));
        }),
        ("parameter `rounds` changed 1 → 1.0", |g| {
            g.step.params.insert("rounds".to_owned(), json!(1.0));
        }),
        ("parameter `rounds` changed 1 → \"1\"", |g| {
            g.step.params.insert("rounds".to_owned(), json!("1"));
        }),
        ("parameter `rounds` changed 1 → true", |g| {
            g.step.params.insert("rounds".to_owned(), json!(true));
        }),
        ("parameter `depth` is new: 3", |g| {
            g.step.params.insert("depth".to_owned(), json!(3));
        }),
        ("parameter `rounds` is no longer used", |g| g.step.params.clear()),
        ("environment variable `TZ` changed", |g| {
            g.step.env.insert("TZ".to_owned(), EnvSource::Value("CET".to_owned()));
        }),
        ("environment variable `HOME2` changed", |g| g.home = Some("y")),
        ("environment variable `HOME2` changed", |g| g.home = None),
        ("environment variable `TOKEN` changed", |g| {
            g.step.env.remove("TOKEN");
        }),
        ("declared inputs changed", |g| g.step.inputs[0].table = "u".to_owned()),
        ("declared inputs changed", |g| g.step.inputs[0].format = Some(DataFormat::Tsv)),
        ("declared outputs changed", |g| g.step.outs[0].path = "other".to_owned()),
    ];
    let mut keys = std::collections::BTreeSet::from([base.key()]);
    for (expected, edit) in edits {
        let mut given = Given::new();
        edit(&mut given);
        let record = given.record();
        let changes: Vec<String> = record.changes_since(&base).iter().map(ToString::to_string).collect();
        assert_eq!(changes, [expected]);
        assert!(keys.insert(record.key()), "the key of another record: {expected}");
    }
}

#[test]
fn nothing_else_changes_the_key() {
    let base = Given::new().record();
    let edits: [Edit; 11] = [
        |g| g.step.name = "renamed".to_owned(),
        |g| g.step.description = Some("text".to_owned()),
        |g| g.step.timeout = Some(Duration::from_secs(1)),
        |g| g.step.retry = Retry { times: 3, backoff: Duration::from_secs(9) },
        |g| g.step.sandbox = Sandbox::Off,
        |g| g.step.reads = vec!["/data/x.csv".to_owned()],
        |g| g.step.line = 99,
        |g| g.step.outs[0].metrics = true,
        |g| g.step.outs[0].persist = true,
        |g| g.token = "other",
        |g| {
            g.deps.insert("a.csv".to_owned(), Content { bytes: 77, ..content("a") });
        },
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        let mut given = Given::new();
        edit(&mut given);
        let record = given.record();
        assert_eq!(record.key(), base.key(), "edit {at}");
        assert_eq!(record.changes_since(&base), [], "edit {at}");
    }
    let mut outs = Given::new();
    outs.step.outs.insert(0, Out { path: "z".to_owned(), metrics: false, persist: false });
    let mut reversed = outs.clone();
    reversed.step.outs.reverse();
    assert_eq!(outs.record().key(), reversed.record().key());
}

#[test]
fn the_secret_is_in_no_record() {
    let record = Given::new().record();
    assert!(!serde_json::to_string(&record).unwrap().contains("s3cret"));
}

#[test]
fn the_key_is_that_of_a_fixed_text() {
    // Computed by hand from the form above; a change of the form must raise `KEY_FORMAT`.
    let given = Given::new();
    let (a, t, x) = (Digest::of(b"a"), Digest::of(b"t"), Digest::of(b"x"));
    let text = format!(
        concat!(
            r#"{{"action":{{"run":"make train"}},"builtin":"sql/1","deps":{{"a.csv":"file {}","t.csv":"file {}"}},"#,
            r#""env":{{"HOME2":{{"inherited":"{}"}},"TOKEN":"secret","TZ":{{"value":"UTC"}}}},"format":1,"#,
            r#""inputs":{{"t":["t.csv"]}},"outs":["model"],"params":{{"rounds":1}}}}"#
        ),
        a, t, x
    );
    assert_eq!(given.record().key().digest(), Digest::of(text.as_bytes()));
}

#[test]
fn records_are_called_as_in_the_project_file() {
    let path = ".tidemill/inputs/records/flights-late@2026-01-01..".to_owned();
    assert_eq!(Change::Dep { path }.to_string(), "`records:flights-late@2026-01-01..` changed");
}
