//! Runs the Python reference implementations that numbers are checked against.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs a script that reads JSON as `data` and leaves its answer, made of plain types, in `answer`.
///
/// NaN travels as null both ways.
pub(crate) fn python(script: &str, data: &Value) -> Value {
    let interpreter = interpreter();
    let program = format!(
        "import json, sys, warnings\nwarnings.simplefilter('ignore')\ndata = json.load(sys.stdin)\n{script}\n\
         json.dump(answer, sys.stdout)"
    );
    let mut child = Command::new(&interpreter)
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|_| panic!("no Python at {}: run `cargo xtask setup`", interpreter.display()));
    child.stdin.take().unwrap().write_all(data.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !errors.contains("ModuleNotFoundError"),
        "a Python package is missing: run `cargo xtask setup`\n{errors}"
    );
    assert!(output.status.success(), "the Python script failed\n{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn interpreter() -> PathBuf {
    std::env::var_os("TIDEMILL_TEST_PYTHON").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python"),
        PathBuf::from,
    )
}
