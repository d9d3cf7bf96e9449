//! The example of the product's description, unmodified.

use serde_json::json;
use tidemill_core::declare::{Action, SplitBy};

use crate::{good, resolved};

pub(crate) const EXAMPLE: &str = include_str!("product.yaml");

#[test]
fn it_parses_with_every_section() {
    let project = good(EXAMPLE);
    assert_eq!(project.project.as_str(), "flights");
    assert_eq!(project.owner.as_ref().unwrap().team, "operations analytics");
    assert_eq!(project.objective.as_ref().unwrap().costs.as_ref().unwrap().false_negative, 120.0);
    assert_eq!(
        project.data.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["flights", "weather", "planes"]
    );
    assert_eq!(project.data.get("flights").unwrap().expect.len(), 6);
    assert_eq!(project.tests.len(), 5);
    let environments = &project.release.as_ref().unwrap().environments;
    assert_eq!(environments.get("prod").unwrap().rollout.as_ref().unwrap().stages.len(), 4);
    assert_eq!(
        project.monitors.iter().map(|m| m.name()).collect::<Vec<_>>(),
        // A year of seasons and weekdays is no stream that moves once.
        tidemill_project::Monitor::NAMES.into_iter().filter(|name| *name != "stream").collect::<Vec<_>>()
    );
    assert_eq!(project.triggers.len(), 6);
}

#[test]
fn it_resolves() {
    let resolved = resolved(EXAMPLE).unwrap();
    let [features, train] = resolved.steps.as_slice() else { panic!("{:#?}", resolved.steps) };
    assert_eq!(features.name, "features");
    assert_eq!(features.line, 28);
    assert_eq!(
        features.inputs.iter().map(|i| i.table.as_str()).collect::<Vec<_>>(),
        ["flights", "weather", "planes"]
    );
    assert_eq!(features.inputs[0].paths, ["data/flights/*.parquet"]);
    assert_eq!(features.params["from"], json!("2013-01-01"));
    assert!(matches!(&features.action, Action::Sql { file: Some(file), .. } if file == "sql/features.sql"));
    let Action::Train(training) = &train.action else { panic!("{train:#?}") };
    assert_eq!(training.split.by, SplitBy::Time);
    assert_eq!(training.split.column.as_deref(), Some("sched_dep"));
    assert_eq!(training.task.as_ref().unwrap().target, "late");
    assert_eq!(training.costs.as_ref().unwrap().false_positive, 15.0);
    assert_eq!(train.inputs[0].table, "features");
    assert_eq!(train.inputs[0].paths, ["features.parquet"]);
    assert_eq!(train.outs[0].path, "model");
    assert_eq!(resolved.datasets["flights"].paths, ["data/flights/*.parquet"]);
    assert_eq!(resolved.datasets["flights"].line, 14);
    let sql = "where t >= '${from}' and t < '${to}'";
    let filled =
        tidemill_project::template_used(sql, &resolved.scope("features"), "sql/features.sql").unwrap();
    assert_eq!(filled.text, "where t >= '2013-01-01' and t < '2013-04-01'");
    assert_eq!(filled.used.len(), 2);
}

#[test]
fn the_commented_alternative_works_too() {
    let text = EXAMPLE.replace(
        "  train:\n    train: {algorithm: gbdt, features: features.parquet, split: {by: time, test: 0.2}, seed: 7}\n    outs: [model]\n",
        "  train: {run: python train.py, deps: [train.py, features.parquet], params: params.yaml, outs: [model.onnx]}\n",
    );
    assert_ne!(text, EXAMPLE);
    // A command holds no rows out: the file says on which ones its model is tested, and some tests are a training's alone.
    assert!(crate::bad(&text).contains("which step makes the model that is tested"));
    let text = text
        .replace(
            "release:\n  model: flights-late\n",
            "held_out: {table: features.parquet}\n\nrelease:\n  model: flights-late\n  step: train\n",
        )
        .replace("  - baseline: {beats: prior}                 # a simple model must not be as good\n", "")
        .replace(
            "  - parity: {max_abs: 1.0e-5}                # exported model answers as the trained one did\n",
            "",
        );
    let files = crate::Memory::new(&[("params.yaml", "lr: 0.1\ndepth: 3\n")]);
    let resolved = tidemill_project::resolve(&good(&text), &files, &[]).unwrap();
    let train = &resolved.steps[1];
    assert_eq!(train.deps, ["train.py", "features.parquet"]);
    assert_eq!(train.params["lr"], json!(0.1));
}
