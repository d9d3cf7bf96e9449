//! Import of `dvc.yaml`.

use tidemill_project::{from_dvc, resolve};

use crate::{Memory, good};

const DVC: &str = r#"
vars:
  - conf/extra.yaml
stages:
  prepare:
    desc: Splits the raw data.
    cmd: python src/prepare.py data/data.xml
    deps: [data/data.xml, src/prepare.py]
    params: [prepare.seed, prepare.split]
    outs: [data/prepared]
  train:
    wdir: models
    cmd:
      - python ../src/train.py --lr ${train.lr}
      - echo \${HOME} done
    deps:
      - ../data/prepared
      - ../src/train.py
    params:
      - train
      - other.json:
          - batch
    outs:
      - model.pkl:
          persist: true
      - cache.bin:
          cache: false
    metrics:
      - scores.json:
          cache: false
    plots: [roc.csv]
    frozen: true
  each:
    foreach:
      us: {file: us.csv}
      uk: {file: uk.csv}
    do:
      cmd: clean ${item.file} > ${key}.out
      deps: ['${item.file}']
      outs: ['${key}.out']
  grid:
    matrix:
      model: [cnn, xgb]
      seed: ${seeds}
    cmd: fit ${item.model} ${item.seed}
    outs: ['${item.model}-${item.seed}.bin']
artifacts: {}
"#;

#[test]
fn a_dvc_pipeline_becomes_a_project() {
    let text = from_dvc(DVC).unwrap_or_else(|report| panic!("{}", report.render(false)));
    insta::assert_snapshot!(text);
    let files = Memory::new(&[
        ("params.yaml", "prepare: {seed: 1, split: 0.2}\ntrain: {lr: 0.1}\n"),
        ("conf/extra.yaml", "seeds: [1, 2]\n"),
        ("models/other.json", "{\"batch\": 8}"),
    ]);
    let resolved =
        resolve(&good(&text), &files, &[]).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let names: Vec<_> = resolved.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "prepare",
            "train",
            "each@us",
            "each@uk",
            "grid@model=cnn,seed=1",
            "grid@model=cnn,seed=2",
            "grid@model=xgb,seed=1",
            "grid@model=xgb,seed=2",
        ]
    );
    let train = &resolved.steps[1];
    assert_eq!(train.deps, ["data/prepared", "src/train.py"]);
    let tidemill_core::declare::Action::Run { command } = &train.action else { panic!() };
    assert_eq!(command, "cd 'models' &&\npython ../src/train.py --lr 0.1 &&\necho ${HOME} done");
}

#[test]
fn what_cannot_be_imported_is_said() {
    for (text, message) in [
        ("a: 1", "there are no `stages`"),
        ("stages: {a: {deps: [x]}}", "the stage `a` has no `cmd`"),
        ("stages: {a: {cmd: x, outs: [/tmp/x]}}", "`/tmp/x` is outside the project"),
        ("stages: {a: {cmd: x", "not valid YAML: `{` is not closed"),
    ] {
        assert_eq!(from_dvc(text).unwrap_err().diagnostics[0].message, message, "{text}");
    }
}
