//! Repeating a recorded run: its inputs into a clean folder, and what differs afterwards. Running is `execute`'s work.

use std::path::Path;

use serde::Serialize;
use tidemill_core::{Cancel, Digest};

use crate::{Contents, Dag, Error, Lock};

/// One output that differs between a recorded run and its repetition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The step.
    pub step: String,
    /// The output, or the first file below it that differs.
    pub file: String,
    /// The recorded content; `None` where the file is new.
    pub recorded: Option<Digest>,
    /// The repeated content; `None` where the file is missing.
    pub repeated: Option<Digest>,
    /// Position of the first byte that differs, where both contents are in the store.
    pub offset: Option<u64>,
}

/// Compares the outputs of two locks, in the order of the graph: the first difference is the first step that
/// differs. With `contents` it looks into folders and for the first byte.
pub fn compare(
    recorded: &Lock,
    repeated: &Lock,
    dag: &Dag,
    contents: Option<&dyn Contents>,
) -> Result<Vec<Difference>, Error> {
    let _ = (recorded, repeated, dag, contents);
    Err(Error::Internal("not written yet".to_owned()))
}

/// Checks out everything that the recorded steps read and did not write themselves into `folder`, which must be
/// empty or absent. Afterwards the same steps can run there with an empty journal.
pub fn materialise(
    recorded: &Lock,
    contents: &dyn Contents,
    folder: &Path,
    cancel: &Cancel,
) -> Result<(), Error> {
    let _ = (recorded, contents, folder, cancel);
    Err(Error::Internal("not written yet".to_owned()))
}
