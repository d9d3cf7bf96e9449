//! Predictions of registered models by the binary: `tests/python/serving.py`.

use tidemill_testkit::mlflow_python;

use super::process::{Place, script, succeeds};

#[test]
fn registered_models_answer_through_both_protocols() {
    let place = Place::sqlite();
    let python = mlflow_python();
    let server = place.serve_with(&["--python", python.to_str().unwrap()]);
    let mut script = script(&place, "serving.py", &[&server.url]);
    script.env("TIDEMILL", env!("CARGO_BIN_EXE_tidemill"));
    succeeds(script, &[&server]);
    server.stop();
}
