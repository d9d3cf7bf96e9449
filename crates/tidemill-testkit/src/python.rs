//! The Python interpreters of the tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The interpreter that the environment variable `TIDEMILL_TEST_PYTHON` names, or `.venv/bin/python` in the
/// repository's root: with independent implementations of metrics, models, ONNX and SQL.
///
/// # Panics
/// With one line that says what to do, if there is no such file.
pub fn python() -> PathBuf {
    interpreter("TIDEMILL_TEST_PYTHON", ".venv")
}

/// The interpreter that the environment variable `TIDEMILL_TEST_MLFLOW_PYTHON` names, or `.venv-mlflow/bin/python` in the
/// repository's root: with the MLflow client.
///
/// # Panics
/// As [`python`].
pub fn mlflow_python() -> PathBuf {
    interpreter("TIDEMILL_TEST_MLFLOW_PYTHON", ".venv-mlflow")
}

/// The interpreter that the environment variable `TIDEMILL_TEST_TRITON_PYTHON` names, or `.venv-triton/bin/python` in the
/// repository's root: with Triton's clients of the Open Inference Protocol.
///
/// # Panics
/// As [`python`].
pub fn triton_python() -> PathBuf {
    interpreter("TIDEMILL_TEST_TRITON_PYTHON", ".venv-triton")
}

/// What a program prints that [`python`] runs, with `input` on its standard input.
///
/// # Panics
/// As [`python`], and with what the program says on standard error when it fails.
pub fn python_answer(program: &str, input: &str) -> String {
    let mut child = Command::new(python())
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("Python cannot be started: {error}"));
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("Python does not answer: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !errors.contains("ModuleNotFoundError"),
        "a Python package is missing: run `cargo xtask setup`\n{errors}"
    );
    assert!(output.status.success(), "the Python script failed\n{errors}");
    assert!(matches!(sent, Some(Ok(()))), "the Python script did not read its input: {sent:?}\n{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn interpreter(variable: &str, environment: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path =
        std::env::var_os(variable).map_or_else(|| root.join(environment).join("bin/python"), PathBuf::from);
    assert!(path.exists(), "no Python interpreter at `{}`: run `cargo xtask setup`", path.display());
    path
}
