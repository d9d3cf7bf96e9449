//! `tidemill predict`: scores a table with a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueHint};
use serde_json::json;
use tidemill_runtime::{Choice, Runtime as _, Runtimes, Session};
use tidemill_serve::predict::{Keep, Predict as Task, PredictError, predict};
use tidemill_store::TreeNode;

use crate::app::App;
use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{Bar, Console, bytes, count, duration, plural};

#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// The model: NAME@VERSION or NAME@ALIAS of the registry, or an ONNX file
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// The table: Parquet, CSV, JSON lines or Arrow
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,
    /// Where the answers go: `.parquet`, `.csv` or `.jsonl`; replaced as a whole or left as it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Columns of the input that go along; all where none is named
    #[arg(long, value_delimiter = ',', num_args = 0.., value_name = "COLUMN,…")]
    pub(crate) keep: Option<Vec<String>>,
    /// For a model of one input with many values in a row: the columns that it is made of, in the model's order
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
    pub(crate) columns: Option<Vec<String>>,
    /// Threads; the number of cores where not given
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

/// Finds and loads the model that was named: the binary's business, since it alone knows registry, store and runtimes.
pub(crate) type Resolve<'a> = &'a dyn Fn(&str) -> anyhow::Result<Arc<dyn Session>>;

pub(crate) fn run(args: &Predict, resolve: Resolve<'_>, console: &Console) -> anyhow::Result<()> {
    let cancel = crate::app::cancel_on_signals()?;
    let session = resolve(&args.model)?;
    let keep = match &args.keep {
        None => Keep::None,
        Some(columns) if columns.is_empty() => Keep::All,
        Some(columns) => Keep::Columns(columns.clone()),
    };
    let task = Task {
        session,
        input: &args.input,
        output: &args.output,
        keep,
        features: args.columns.clone(),
        threads: args.jobs,
    };
    let bar = Bar::new(console, &cancel);
    let scored = predict(&task, &bar);
    drop(bar);
    let summary = match scored {
        Ok(summary) => summary,
        Err(PredictError::Cancelled) => return Err(Failure::cancelled().into()),
        Err(error) => return Err(error.into()),
    };
    let seconds = summary.took.as_secs_f64().max(1e-9);
    if console.json() {
        return console.value(&json!({
            "rows": summary.rows, "bytes": summary.bytes, "seconds": seconds, "output": args.output,
        }));
    }
    console.line(format!(
        "scored {} in {} ({} rows/s); wrote {} to {}",
        plural(summary.rows, "row"),
        duration(summary.took),
        count((summary.rows as f64 / seconds) as u64),
        bytes(summary.bytes),
        args.output.display()
    ));
    Ok(())
}

/// The model of an ONNX file, by the first runtime that can run it; or of a version of the registry.
pub(crate) fn resolve(model: &str, global: &Global, console: &Console) -> anyhow::Result<Arc<dyn Session>> {
    let path = Path::new(model);
    let bytes = if path.is_file() { fs_err::read(path)? } else { of_registry(model, global, console)? };
    match Runtimes::new(Choice::Auto).load(&bytes) {
        Ok(session) => Ok(Arc::from(session)),
        Err(error) => Err(Failure::new(format!("the model `{model}` cannot be loaded: {error}")).into()),
    }
}

/// `NAME@VERSION` or `NAME@ALIAS`: the one ONNX file of the version.
fn of_registry(model: &str, global: &Global, console: &Console) -> anyhow::Result<Vec<u8>> {
    let unknown = || {
        Failure::usage(format!("`{model}` is neither a file nor NAME@VERSION of a registered model"))
            .hint("for example `--model flights@3`, `--model flights@champion` or `--model model.onnx`")
    };
    let (name, version) = model.rsplit_once('@').ok_or_else(unknown)?;
    let app = App::open(global, console)?;
    let (db, store) = (app.db()?, app.store()?);
    let version = match version.parse::<u64>() {
        Ok(number) => app.block(db.model_version(name, number))?,
        Err(_) => app.block(db.aliased_version(name, version))?,
    };
    let content = version.ok_or_else(unknown)?.content.ok_or_else(|| {
        Failure::new(format!("the files of `{model}` are not in the store"))
            .hint("only versions whose artifacts the server keeps can be scored with")
    })?;
    let tree = store.tree(&content)?;
    let file = tree.items().iter().find_map(|item| match item.node {
        TreeNode::File { digest, .. } if item.name.ends_with(b".onnx") => Some(digest),
        _ => None,
    });
    let file = file.ok_or_else(|| Failure::new(format!("`{model}` holds no ONNX file")))?;
    Ok(store.get(&file)?)
}
