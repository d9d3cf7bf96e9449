//! Predictions of registered models by the binary: `tests/python/serving.py`.

use tidemill_testkit::mlflow_python;

use super::process::{Place, script, succeeds};

#[test]
fn registered_models_answer_through_both_protocols() {
    let place = Place::sqlite();
    let python = mlflow_python();
    let server = place.serve_with(&["--python", python.to_str().unwrap()]);
    succeeds(script(&place, "serving.py", &[&server.url]), &[&server]);
    server.stop();
}
