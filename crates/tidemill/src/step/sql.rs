//! The body of `sql` steps: one query over declared tables into one Parquet file.

use std::path::Path;

use serde_json::Value;
use tidemill_core::declare::{Action, Step};
use tidemill_pipeline::{StepContext, StepFailure};
use tokio::runtime::Handle;

use crate::app::reason;
use crate::failure::Failure;

/// Raised when the same query over the same rows gives other bytes: it is in the cache key.
pub(crate) const VERSION: u32 = 1;

/// Reads and templates the text of a `sql` step that names a file, and adds the parameters that the text uses to
/// those of the step. Other steps stay as they are.
pub(crate) fn read_text(root: &Path, step: &mut Step, scope: &Value) -> anyhow::Result<()> {
    let Action::Sql { file: Some(file), text, .. } = &mut step.action else { return Ok(()) };
    let raw = fs_err::read_to_string(root.join(&*file)).map_err(|error| {
        Failure::usage(format!(
            "step `{}` needs `{file}`, which cannot be read: {}",
            step.name,
            reason(&error)
        ))
        .hint(format!("create it, or change `sql:` of step `{}` (tidemill.yaml:{})", step.name, step.line))
    })?;
    let filled = tidemill_project::template_used(&raw, scope, file)?;
    *text = filled.text;
    for (key, value) in filled.used {
        step.params.entry(key).or_insert(value);
    }
    Ok(())
}

#[cfg(feature = "sql")]
pub(super) fn run(
    step: &Step,
    source: &str,
    text: &str,
    context: &StepContext<'_>,
    runtime: &Handle,
    memory: usize,
) -> Result<(), StepFailure> {
    use tidemill_core::Hint as _;
    use tidemill_data::sql::{SqlJob, SqlTable};

    use super::{StepProgress, only_out, say};
    use crate::output::{bytes, plural};
    use crate::table::{SourcePaths, expand};

    let mut tables = Vec::with_capacity(step.inputs.len());
    for input in &step.inputs {
        let paths = match expand(context.root, &input.paths).map_err(|e| StepFailure::new(e.to_string()))? {
            SourcePaths::Local(paths) => paths.iter().map(|p| p.to_string_lossy().into_owned()).collect(),
            SourcePaths::Remote(urls) => urls,
        };
        tables.push(SqlTable {
            name: input.table.clone(),
            paths,
            format: input.format.map(tidemill_data::Format::declared),
        });
    }
    let job = SqlJob {
        text: text.to_owned(),
        source: source.to_owned(),
        tables,
        out: only_out(step, context.root, "sql")?,
        memory_limit: memory,
        spill_dir: context.scratch.join("spill"),
        partitions: context.threads,
    };
    let progress = StepProgress::new(context);
    let outcome =
        runtime.block_on(tidemill_data::sql::run(&job, &progress)).map_err(|error| match error {
            tidemill_data::Error::Cancelled => StepFailure::cancelled(),
            error => {
                let failure = StepFailure::new(error.to_string());
                match error.hint() {
                    Some(hint) => failure.with_hint(hint),
                    None => failure,
                }
            }
        })?;
    let spilled = match outcome.spilled_bytes {
        0 => String::new(),
        n => format!(", {} spilled to disk", bytes(n)),
    };
    say(
        context,
        &format!(
            "{} of {}, {}{spilled}",
            plural(outcome.rows, "row"),
            plural(outcome.columns.len() as u64, "column"),
            bytes(outcome.bytes)
        ),
    );
    Ok(())
}

#[cfg(not(feature = "sql"))]
pub(super) fn run(
    _: &Step,
    _: &str,
    _: &str,
    _: &StepContext<'_>,
    _: &Handle,
    _: usize,
) -> Result<(), StepFailure> {
    Err(StepFailure::new("this build of Tidemill has no SQL engine")
        .with_hint("build it with the feature `sql`"))
}
