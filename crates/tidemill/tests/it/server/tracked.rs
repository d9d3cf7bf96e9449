//! A pipeline run as clients of the tracking server see it, also when no server was running.

use std::fmt::Write as _;

use tidemill_testkit::mlflow_python;

use super::process::{Place, script, succeeds};
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

/// 400 rows whose target follows from two of three columns.
fn table() -> String {
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
