//! Parameters, templates, matrices, overrides.

use serde_json::{Value, json};
use tidemill_core::declare::{Action, EnvSource, Sandbox, Step};
use tidemill_project::{Resolved, resolve};

use crate::{Memory, good, resolved, unresolved};

fn command(step: &Step) -> &str {
    match &step.action {
        Action::Run { command } => command,
        _ => panic!("{step:#?}"),
    }
}

fn names(resolved: &Resolved) -> Vec<&str> {
    resolved.steps.iter().map(|step| step.name.as_str()).collect()
}

fn params(step: &Step) -> Value {
    serde_json::to_value(&step.params).unwrap()
}

#[test]
fn only_keys_that_are_named_or_used_are_params_of_a_step() {
    let resolved = resolved(
        "project: p\nparams: {lr: 0.1, model: {depth: 3, kind: tree}, other: 1, seed: 7}\npipeline:\n  a:\n    run: python a.py --lr ${lr} --home ${HOME}\n    params: [model.depth]\n    outs: ['a-${seed}.txt']\n",
    )
    .unwrap();
    let a = &resolved.steps[0];
    assert_eq!(command(a), "python a.py --lr 0.1 --home ${HOME}");
    assert_eq!(params(a), json!({"lr": 0.1, "model.depth": 3, "seed": 7}));
    assert_eq!(a.outs[0].path, "a-7.txt");
    assert_eq!(resolved.params["other"], json!(1));
}

#[test]
fn a_text_that_is_only_a_template_keeps_the_type() {
    let resolved = resolved(
        "project: p
objective: {task: {kind: regression, target: y}}
params: {rounds: 50, share: 0.3, cols: [a, b], limit: 5m, times: 2}
pipeline:
  t:
    train: {algorithm: gbdt, features: f.csv, columns: '${cols}', split: {test: '${share}'}, gbdt: {rounds: '${rounds}'}}
    outs: [m]
    timeout: ${limit}
    retries: {times: '${times}', backoff: 10s}
",
    )
    .unwrap();
    let t = &resolved.steps[0];
    let Action::Train(training) = &t.action else { panic!() };
    assert_eq!(training.gbdt.as_ref().unwrap().rounds, 50);
    assert_eq!(training.split.test, 0.3);
    assert_eq!(training.columns.as_ref().unwrap(), &["a", "b"]);
    assert_eq!(t.timeout.unwrap().as_secs(), 300);
    assert_eq!((t.retry.times, t.retry.backoff.as_secs()), (2, 10));
    assert_eq!(t.params.len(), 5);
}

#[test]
fn a_value_of_the_wrong_type_is_found_after_templating() {
    insta::assert_snapshot!(unresolved(
        "project: p
objective: {task: {kind: regression, target: y}}
params: {rounds: many, share: 1.5}
pipeline:
  t:
    train: {algorithm: gbdt, features: f.csv, gbdt: {rounds: '${rounds}'}}
    outs: [m]
  u:
    train: {algorithm: gbdt, features: f.csv, split: {test: '${share}'}}
    outs: [n]
"
    ));
}

#[test]
fn unknown_keys_are_found_with_their_places() {
    insta::assert_snapshot!(unresolved(
        "project: p
params: {learning_rate: 0.1, seed: 7, list: [1, 2]}
pipeline:
  a:
    run: |
      python a.py --lr ${learning_rat}
      echo ${list} ${nothing}
    params: [sed]
    deps: ['${SEED_FILE}']
    outs: [a]
"
    ));
}

#[test]
fn a_matrix_in_order() {
    let resolved = resolved(
        "project: p
params: {sizes: [1, 2]}
pipeline:
  m:
    matrix: {model: [big, a/b], size: '${sizes}', flag: [{x: 1, y: [2]}]}
    run: train ${matrix.model} ${item.size} ${matrix.flag.x}
    outs: ['out/${matrix.model}-${matrix.size}']
",
    )
    .unwrap();
    assert_eq!(
        names(&resolved),
        [
            "m@model=big,size=1,flag=0",
            "m@model=big,size=2,flag=0",
            "m@model=a_b,size=1,flag=0",
            "m@model=a_b,size=2,flag=0",
        ]
    );
    assert_eq!(command(&resolved.steps[2]), "train a/b 1 1");
    assert_eq!(
        params(&resolved.steps[0]),
        json!({
            "matrix.model": "big", "matrix.size": 1, "item.size": 1, "matrix.flag.x": 1
        })
    );
    assert_eq!(resolved.scope("m@model=big,size=2,flag=0")["matrix"]["size"], json!(2));
}

#[test]
fn foreach_over_lists_and_maps() {
    let resolved = resolved(
        "project: p
params: {regions: {north: {file: n.csv}, east: {file: e.csv}}}
pipeline:
  a: {foreach: [x, 2], run: 'do ${item}', outs: ['a/${item}']}
  b: {foreach: '${regions}', run: 'do ${key} ${item.file}', outs: ['b/${key}']}
",
    )
    .unwrap();
    assert_eq!(names(&resolved), ["a@x", "a@2", "b@north", "b@east"]);
    assert_eq!(command(&resolved.steps[3]), "do east e.csv");
    assert_eq!(params(&resolved.steps[3]), json!({"key": "east", "item.file": "e.csv"}));
}

#[test]
fn matrices_that_make_no_sense() {
    insta::assert_snapshot!(unresolved(
        "project: p
params: {n: 5}
pipeline:
  same: {foreach: [a/b, a_b], run: do, outs: ['${item}']}
  text: {foreach: '${n}', run: do}
  axis: {matrix: {x: '${n}'}, run: do}
  huge: {matrix: {a: &l [1,2,3,4,5,6,7,8,9,10], b: *l, c: *l, d: *l, e: *l}, run: do}
  none: {matrix: {x: '${m}'}, run: do}
"
    ));
    insta::assert_snapshot!(unresolved(
        "project: p\npipeline:\n  m: {matrix: {x: [1, 2]}, run: do, outs: [same.txt]}\n"
    ));
}

#[test]
fn parameter_files_are_merged_in_order() {
    let files = Memory::new(&[
        ("a.yaml", "model: {lr: 0.1, depth: 3}\nseed: 1\n"),
        ("b.json", "{\"model\": {\"lr\": 0.2}}"),
        ("conf/c.toml", "seed = 9\nday = 2013-01-01\n[extra]\nx = 1.5\n"),
    ]);
    let project = good(
        "project: p\nparams: [a.yaml, b.json, ./conf/c.toml]\npipeline:\n  s: {run: 'go ${model.lr} ${day}', params: [model, seed]}\n",
    );
    let resolved = resolve(&project, &files, &[]).unwrap();
    assert_eq!(
        resolved.params,
        json!({
            "model": {"lr": 0.2, "depth": 3}, "seed": 9, "day": "2013-01-01", "extra": {"x": 1.5}
        })
    );
    assert_eq!(
        params(&resolved.steps[0]),
        json!({
            "model": {"lr": 0.2, "depth": 3}, "seed": 9, "day": "2013-01-01"
        })
    );
    assert_eq!(command(&resolved.steps[0]), "go 0.2 2013-01-01");
}

#[test]
fn steps_name_parameter_files_as_dvc_does() {
    let files = Memory::new(&[
        ("params.yaml", "lr: 0.1\nlayers: {n: 2}\nother: 5\n"),
        ("more.toml", "x = 1\ny = 2\n"),
    ]);
    let project = good(
        "project: p
params: params.yaml
pipeline:
  all: {run: 'go ${x}', params: more.toml}
  some: {run: go, params: [lr, {more.toml: [x]}, layers.n]}
  map: {run: go, params: {more.toml: [y], own: 3}}
",
    );
    let resolved = resolve(&project, &files, &[]).unwrap();
    assert_eq!(params(&resolved.steps[0]), json!({"x": 1, "y": 2}));
    assert_eq!(command(&resolved.steps[0]), "go 1");
    assert_eq!(params(&resolved.steps[1]), json!({"lr": 0.1, "x": 1, "layers.n": 2}));
    assert_eq!(params(&resolved.steps[2]), json!({"own": 3, "y": 2}));
    let overrides = [("more.toml:x".to_owned(), "5".to_owned()), ("map.own".to_owned(), "[1, a]".to_owned())];
    let resolved = resolve(&project, &files, &overrides).unwrap();
    assert_eq!(params(&resolved.steps[0]), json!({"x": 5, "y": 2}));
    assert_eq!(params(&resolved.steps[2]), json!({"own": [1, "a"], "y": 2}));
}

#[test]
fn bad_parameter_files() {
    let files = Memory::new(&[
        ("a.yaml", "x: [1\ny: 2\n"),
        ("b.json", "{\"x\": 1,\n \"y\" 2}"),
        ("c.toml", "x = 1\ny = \n"),
        ("d.yaml", "- 1\n"),
    ]);
    let project = good("project: p\nparams: [a.yaml, b.json, c.toml, d.yaml, missing.yaml]\n");
    let report = resolve(&project, &files, &[]).unwrap_err();
    insta::assert_snapshot!(report.render(false));
}

#[test]
fn overrides() {
    let project = good(
        "project: p
params: {lr: 0.1, model: {depth: 3}, name: x}
pipeline:
  a: {run: 'go ${lr} ${model.depth} ${name} ${own}', params: {own: 1}}
",
    );
    let set = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        resolve(&project, &Memory::new(&[]), &pairs)
    };
    let run = |pairs: &[(&str, &str)]| command(&set(pairs).unwrap().steps[0]).to_owned();
    assert_eq!(run(&[]), "go 0.1 3 x 1");
    assert_eq!(
        run(&[("lr", "5"), ("model.depth", "true"), ("name", "a: b"), ("a.own", "'7'")]),
        "go 5 true a: b 7"
    );
    let report = set(&[("lrr", "1"), ("a.on", "2"), ("model.width", "3")]).unwrap_err();
    insta::assert_snapshot!(report.render(false));
    assert_eq!(set(&[("lr", "0x10")]).unwrap().params["lr"], json!(16));
}

#[test]
fn the_inference_log_is_an_input() {
    let file = |inputs: &str| {
        format!("project: p\npipeline:\n  one: {{sql: select 1, inputs: [{inputs}], outs: [y.parquet]}}\n")
    };
    let resolved = resolved(&file("{asked: 'records:a/b@2026-01-01..'}, records:loans")).unwrap();
    let inputs: Vec<_> =
        resolved.steps[0].inputs.iter().map(|i| (i.table.as_str(), i.paths[0].as_str())).collect();
    let expected = [
        ("asked", ".tidemill/inputs/records/a%2Fb@2026-01-01.."),
        ("loans", ".tidemill/inputs/records/loans"),
    ];
    assert_eq!(inputs, expected);
    let report = crate::bad(&file("'records:loans@yesterday..'"));
    assert!(report.contains("`yesterday` is no day"), "{report}");
    assert!(report.contains("records:ENDPOINT@FROM..TO"), "{report}");
}

#[test]
fn everything_that_a_step_can_say() {
    let resolved = resolved(
        "project: p
data:
  raw: {path: [./data//a.csv, 's3://bucket/b.csv']}
pipeline:
  one:
    description: Makes ${nothing}.
    run: make
    inputs: [raw, {again: raw}]
    deps: [Makefile, ./src/]
    env: {A: text, B: 1, C: true, D: {inherit: true}, E: {secret: true}}
    outs: [x.csv, {path: log.json, metrics: true}, {path: state/, persist: true}]
    metrics: [m.json]
    timeout: 1h30m
    retries: {times: 3}
    sandbox: off
  two: {sql: select * from x, inputs: [x.csv], outs: [y.parquet]}
",
    )
    .unwrap();
    let [one, two] = resolved.steps.as_slice() else { panic!() };
    assert_eq!(one.inputs[0].paths, ["data/a.csv", "s3://bucket/b.csv"]);
    assert_eq!(one.inputs[1].table, "again");
    assert_eq!(one.deps, ["Makefile", "src"]);
    assert_eq!(one.env["B"], EnvSource::Value("1".to_owned()));
    assert_eq!((&one.env["D"], &one.env["E"]), (&EnvSource::Inherit, &EnvSource::Secret));
    let outs: Vec<_> = one.outs.iter().map(|o| (o.path.as_str(), o.metrics, o.persist)).collect();
    assert_eq!(
        outs,
        [("x.csv", false, false), ("log.json", true, false), ("state", false, true), ("m.json", true, false)]
    );
    assert_eq!(one.timeout.unwrap().as_secs(), 5400);
    assert_eq!((one.retry.times, one.retry.backoff.as_secs()), (3, 1));
    assert_eq!(one.sandbox, Sandbox::Off);
    assert_eq!(one.description.as_deref(), Some("Makes ${nothing}."));
    assert_eq!(one.params.len(), 0);
    assert!(
        matches!(&two.action, Action::Sql { file: None, text, source } if text == "select * from x" && source == "tidemill.yaml")
    );
}
