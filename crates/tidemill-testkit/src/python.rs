//! The Python interpreters of the tests.

use std::path::{Path, PathBuf};

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

fn interpreter(variable: &str, environment: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path =
        std::env::var_os(variable).map_or_else(|| root.join(environment).join("bin/python"), PathBuf::from);
    assert!(path.exists(), "no Python interpreter at `{}`: run `cargo xtask setup`", path.display());
    path
}
