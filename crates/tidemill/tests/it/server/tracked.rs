//! A pipeline run as clients of the tracking server see it, also when no server was running.

use std::fmt::Write as _;

use serde_json::json;
use tidemill_testkit::mlflow_python;

use super::process::{Place, script, succeeds};
use super::registered::Api;
use crate::fixture::Ran;

/// A script that was written for MLflow and knows nothing of us.
const SCRIPT: &str = "
import time
import mlflow
import pandas as pd
from sklearn.linear_model import LogisticRegression

mlflow.autolog(log_models=False)
table = pd.read_csv('data.csv')
LogisticRegression(C=0.7).fit(table[['a', 'b']], table['y'])
time.sleep(2)
open('coefficients.txt', 'w').write('done')
";

fn project() -> String {
    let python = mlflow_python();
    format!(
        "project: tracked\n\
         params: {{rate: 0.5}}\n\
         pipeline:\n  \
           script:\n    \
             run: {} train.py\n    \
             deps: [train.py, data.csv]\n    \
             outs: [coefficients.txt]\n  \
           model:\n    \
             train:\n      \
               algorithm: gbdt\n      \
               features: data.csv\n      \
               task: {{kind: classification, target: y, positive: 1}}\n      \
               gbdt: {{rounds: 20}}\n      \
               seed: 7\n    \
             outs: [model]\n",
        python.display()
    )
}

/// Makes the first version of `name`, which a run has registered, its champion.
pub(super) fn make_champion(api: &Api, name: &str) {
    api.mlflow("registered-models/alias", json!({"name": name, "alias": "champion", "version": "1"}));
}

/// Registers the model that was logged last as the next version of `name`.
pub(super) fn register_newest(api: &Api, name: &str) {
    let found = api.mlflow("experiments/search", json!({"max_results": 100}));
    let experiments: Vec<&str> = found["experiments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|experiment| experiment["experiment_id"].as_str().unwrap())
        .collect();
    let logged = api.mlflow("logged-models/search", json!({ "experiment_ids": experiments }));
    let info = &logged["models"][0]["info"];
    let version = json!({"name": name, "source": info["artifact_uri"], "model_id": info["model_id"]});
    api.mlflow("model-versions/create", version);
}

/// 400 rows whose target follows from two of three columns.
pub(super) fn table() -> String {
    let mut text = "a,b,c,y\n".to_owned();
    for i in 0..400_u32 {
        let (a, b) = (f64::from(i * 7919 % 400) / 400.0, f64::from(i * 104_729 % 400) / 400.0);
        let color = ["red", "green", "blue"][i as usize % 3];
        writeln!(text, "{a},{b},{color},{}", u8::from(a + 0.2 * b > 0.6)).unwrap();
    }
    text
}

#[test]
fn a_run_is_tracked_with_its_steps_scripts_and_models() {
    let place = Place::sqlite();
    fs_err::write(place.root().join("tidemill.yaml"), project()).unwrap();
    fs_err::write(place.root().join("train.py"), SCRIPT).unwrap();
    fs_err::write(place.root().join("data.csv"), table()).unwrap();
    let ran = Ran::of(&place.command(&["run", "--json", "--jobs", "1"]).output().unwrap()).good().json();
    let run = ran["run"]["id"].as_str().unwrap_or_else(|| panic!("no run in {ran}")).to_owned();

    let server = place.serve();
    succeeds(script(&place, "pipeline.py", &[&server.url, &run]), &[&server]);
    // A second run has nothing to do and leaves nothing behind, while a server is at work too.
    let again = Ran::of(&place.command(&["run"]).output().unwrap()).good();
    again.says(&["nothing to do"]);
    succeeds(script(&place, "pipeline.py", &[&server.url, &run]), &[&server]);
    server.stop();
}

fn gated(more: &str) -> String {
    format!(
        "project: gated\n\
         objective:\n  \
           task: {{kind: classification, target: y, positive: 1}}\n  \
           costs: {{currency: EUR, false_negative: 10, false_positive: 1}}\n\
         pipeline:\n  \
           model:\n    \
             train: {{algorithm: gbdt, features: data.csv, gbdt: {{rounds: 20}}, seed: 7{more}}}\n    \
             outs: [model]\n\
         tests:\n  \
           - parity: {{max_abs: 1.0e-5}}\n  \
           - cost: {{max_regression: 0.0}}\n\
         release: {{model: gated, environments: {{prod: {{approve: auto}}}}}}\n"
    )
}

#[test]
fn the_exported_model_answers_as_the_trained_one_and_the_champion_is_the_measure() {
    let place = Place::sqlite();
    let write = |more| fs_err::write(place.root().join("tidemill.yaml"), gated(more)).unwrap();
    let run = || Ran::of(&place.command(&["run"]).output().unwrap());
    write("");
    // Some texts are missing, which the exported model takes as empty.
    fs_err::write(place.root().join("data.csv"), table().replace(",blue,", ",,")).unwrap();
    run().good().says(&[
        "✓ parity within 1.000e-5: largest difference",
        "by the classical runtime",
        "? cost: at most 0 above the champion: model `gated` has no alias `champion` yet",
    ]);

    let server = place.serve();
    let api = Api::of(&server, None);
    make_champion(&api, "gated");
    server.stop();
    run().good().says(&["✓ cost: at most 0 above the champion", "of gated@1, difference 0 (0 to 0)"]);

    // Without the column that nearly all follows from.
    write(", drop: [a]");
    let worse = run();
    assert!(worse.stdout.contains("✗ cost: at most 0 above the champion"), "{worse}");
}
