//! Runs the Python reference implementations that numbers are checked against.

use serde_json::Value;
use tidemill_testkit::python_answer;

/// Runs a script that reads JSON as `data` and leaves its answer, made of plain types, in `answer`.
///
/// NaN travels as null both ways.
pub(crate) fn python(script: &str, data: &Value) -> Value {
    let program = format!(
        "import json, sys, warnings\nwarnings.simplefilter('ignore')\ndata = json.load(sys.stdin)\n{script}\n\
         json.dump(answer, sys.stdout)"
    );
    serde_json::from_str(&python_answer(&program, &data.to_string())).unwrap()
}
