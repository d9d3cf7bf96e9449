//! The Python interpreter of the tests.

use std::path::{Path, PathBuf};

/// The interpreter that the environment variable `TIDEMILL_TEST_PYTHON` names, or `.venv/bin/python` in the
/// repository's root.
///
/// # Panics
/// With one line that says what to do, if there is no such file.
pub fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path =
        std::env::var_os("TIDEMILL_TEST_PYTHON").map_or_else(|| root.join(".venv/bin/python"), PathBuf::from);
    assert!(path.exists(), "no Python interpreter at `{}`: run `cargo xtask setup`", path.display());
    path
}
