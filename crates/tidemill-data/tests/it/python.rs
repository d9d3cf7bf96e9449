//! Runs Python programs whose answers are the reference: pandas, pyarrow and DuckDB.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The example project's data.
pub(crate) fn flights() -> PathBuf {
    root().join("examples/flights/data")
}

/// The month files of the example project.
pub(crate) fn months(count: usize) -> Vec<PathBuf> {
    (1..=count).map(|month| flights().join(format!("flights/2013-{month:02}.parquet"))).collect()
}

/// What `program` prints, as JSON. The program finds `args` in `sys.argv[1:]`.
pub(crate) fn python(program: &str, args: &[&Path]) -> serde_json::Value {
    let interpreter = std::env::var_os("TIDEMILL_TEST_PYTHON")
        .map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    let output =
        Command::new(&interpreter).arg("-c").arg(program).args(args).output().unwrap_or_else(|error| {
            panic!("cannot run {}: {error}; run `cargo xtask setup`", interpreter.display())
        });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}
