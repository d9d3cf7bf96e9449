//! The body of `train` steps: reads the table, trains, and writes the model's folder.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use serde_json::{Map, Value, json};
use tidemill_core::declare::{Step, Training};
use tidemill_core::{Digest, Hint as _, Quiet};
use tidemill_data::profile::SAMPLED;
use tidemill_data::{Profile, ProfileOptions, Table};
use tidemill_pipeline::{StepContext, StepFailure};
use tidemill_train::fit::{Fitted, PREDICTIONS_KEY, fit};
use tidemill_train::metric;
use tidemill_train::onnx::to_onnx;
use tokio::runtime::Handle;

use super::{StepProgress, only_out, say};
use crate::output::{number, plural};

/// Raised when the same training on the same rows gives other bytes: it is in the cache key.
pub(crate) const VERSION: u32 = 2;

/// Test rows kept with the model for parity checks.
const GOLDEN_ROWS: usize = 200;

/// The files of a model's folder.
pub(crate) mod file {
    /// The exported model.
    pub(crate) const ONNX: &str = "model.onnx";
    /// The trainer's own form.
    pub(crate) const NATIVE: &str = "model.json";
    /// Metrics, costs, calibration, importance, warnings.
    pub(crate) const REPORT: &str = "report.json";
    /// Metrics by boosting round.
    pub(crate) const CURVES: &str = "curves.json";
    /// Inputs and outputs.
    pub(crate) const SIGNATURE: &str = "signature.json";
    /// The test rows with their answers.
    pub(crate) const PREDICTIONS: &str = "predictions.parquet";
    /// Inputs and answers for parity checks.
    pub(crate) const GOLDEN: &str = "golden.parquet";
    /// Classes, threshold and costs behind the predictions.
    pub(crate) const DECISION: &str = "decision.json";
    /// The profile of the rows that it learned from: what inputs in production are compared with.
    pub(crate) const PROFILE: &str = tidemill_server::monitoring::PROFILE_FILE;
    /// BLAKE3 and SHA-256 of the files above.
    pub(crate) const MANIFEST: &str = "manifest.json";
}

pub(super) fn run(
    step: &Step,
    training: &Training,
    context: &StepContext<'_>,
    runtime: &Handle,
) -> Result<(), StepFailure> {
    let out = only_out(step, context.root, "train")?;
    let batches = read(step, training, context, runtime)?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    say(context, &format!("read {}", plural(rows as u64, "row")));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(context.threads.max(1))
        .build()
        .map_err(|error| StepFailure::new(format!("cannot start threads: {error}")))?;
    let progress = StepProgress::new(context);
    let fitted =
        pool.install(|| fit(&batches, training, GOLDEN_ROWS, &progress)).map_err(|error| match error {
            tidemill_train::Error::Cancelled => StepFailure::cancelled(),
            error => explain(&error),
        })?;
    for value in fitted.report.test.iter().filter_map(|m| m.value.map(|value| (m.metric, value))) {
        say(context, &format!("{} {}", metric::name(value.0), number(value.1)));
    }
    for warning in &fitted.report.warnings {
        say(context, &format!("warning: {warning}"));
    }
    // Written beside and moved into place whole: a model's folder is never half there.
    let folder = context.scratch.join("model");
    write(&folder, &fitted, &batches)?;
    if let Some(parent) = out.parent() {
        fs_err::create_dir_all(parent).map_err(|error| StepFailure::new(error.to_string()))?;
    }
    fs_err::rename(&folder, &out).map_err(|error| StepFailure::new(error.to_string()))
}

/// Reads the table that the training learns from.
fn read(
    step: &Step,
    training: &Training,
    context: &StepContext<'_>,
    runtime: &Handle,
) -> Result<Vec<RecordBatch>, StepFailure> {
    let table = crate::table::learned_from(context.root, runtime, step, training).map_err(|error| {
        let failure = StepFailure::new(error.to_string());
        match crate::failure::hint_of(&error) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    })?;
    let mut batches = Vec::new();
    for batch in table.batches(None).map_err(|error| StepFailure::new(error.to_string()))? {
        if context.cancel.is_cancelled() {
            return Err(StepFailure::cancelled());
        }
        batches.push(batch.map_err(|error| StepFailure::new(error.to_string()))?);
    }
    Ok(batches)
}

fn explain(error: &tidemill_train::Error) -> StepFailure {
    let failure = StepFailure::new(error.to_string());
    match error.hint() {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Writes the model's folder; the same model gives the same bytes.
pub(crate) fn write(folder: &Path, fitted: &Fitted, rows: &[RecordBatch]) -> Result<(), StepFailure> {
    let io = |error: std::io::Error| StepFailure::new(error.to_string());
    fs_err::create_dir_all(folder).map_err(io)?;
    let onnx = to_onnx(&fitted.model).map_err(|error| explain(&error))?;
    let texts = [
        (file::NATIVE, serde_json::to_vec(&fitted.model)),
        (file::REPORT, Ok(fitted.report.to_json().into_bytes())),
        (file::CURVES, serde_json::to_vec_pretty(&fitted.curves)),
        (file::SIGNATURE, serde_json::to_vec_pretty(&fitted.signature)),
        // Parquet files are written without metadata, so that their bytes follow from the rows alone.
        (
            file::DECISION,
            Ok(fitted
                .predictions
                .schema_ref()
                .metadata()
                .get(PREDICTIONS_KEY)
                .cloned()
                .unwrap_or_default()
                .into_bytes()),
        ),
    ];
    fs_err::write(folder.join(file::ONNX), &onnx).map_err(io)?;
    for (name, bytes) in texts {
        let bytes = bytes.map_err(|error| StepFailure::new(format!("cannot write `{name}`: {error}")))?;
        fs_err::write(folder.join(name), bytes).map_err(io)?;
    }
    for (name, batch) in [(file::PREDICTIONS, &fitted.predictions), (file::GOLDEN, &fitted.golden)] {
        let batches = std::iter::once(Ok(batch.clone()));
        tidemill_data::write_parquet_deterministic(&batch.schema(), batches, &folder.join(name))
            .map_err(|error| StepFailure::new(error.to_string()))?;
    }
    let profile = profile(fitted, rows).map_err(|error| StepFailure::new(error.to_string()))?;
    fs_err::write(folder.join(file::PROFILE), profile.to_bytes()).map_err(io)?;
    let manifest = manifest(folder).map_err(io)?;
    fs_err::write(folder.join(file::MANIFEST), manifest).map_err(io)
}

/// The inputs of the model in the table that it learned from, and the table's times.
fn profile(fitted: &Fitted, rows: &[RecordBatch]) -> anyhow::Result<Profile> {
    let fields = rows.first().map(|batch| batch.schema_ref().fields().clone()).unwrap_or_default();
    let is_kept = |field: &Field| {
        let is_input = fitted.signature.inputs.iter().any(|input| input.name == *field.name());
        is_input || field.data_type().is_temporal()
    };
    let kept: Vec<usize> =
        fields.iter().enumerate().filter(|(_, field)| is_kept(field)).map(|(at, _)| at).collect();
    let rows = rows.iter().map(|batch| batch.project(&kept)).collect::<Result<Vec<_>, _>>()?;
    let schema = rows.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    // Windows are compared with it column by column, and by pairs of columns.
    let options = ProfileOptions { sample: SAMPLED, ..ProfileOptions::columns() };
    Ok(Profile::build(&Table::from_batches(schema, rows)?, &options, &Quiet)?)
}

/// Both digests of every file: ours, and the one that signatures and other tools name files by.
fn manifest(folder: &Path) -> std::io::Result<Vec<u8>> {
    use sha2::Digest as _;

    let names = [
        file::CURVES,
        file::DECISION,
        file::GOLDEN,
        file::NATIVE,
        file::ONNX,
        file::PREDICTIONS,
        file::REPORT,
        file::SIGNATURE,
        file::PROFILE,
    ];
    let mut files = Map::new();
    for name in names {
        let bytes = fs_err::read(folder.join(name))?;
        let sha256 = tidemill_core::Sha256::from_bytes(sha2::Sha256::digest(&bytes).into());
        let entry = json!({"bytes": bytes.len(), "blake3": Digest::of(&bytes), "sha256": sha256});
        files.insert(name.to_owned(), entry);
    }
    let mut text = serde_json::to_vec_pretty(&json!({"format": 1, "files": Value::Object(files)}))?;
    text.push(b'\n');
    Ok(text)
}
