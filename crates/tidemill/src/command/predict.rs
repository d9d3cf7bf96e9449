//! `tidemill predict`: scores a table with a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueHint};
use serde_json::json;
use tidemill_core::Cancel;
use tidemill_runtime::Session;
use tidemill_serve::gateway::folder::FolderSource;
use tidemill_serve::gateway::model::verify;
use tidemill_serve::gateway::plan::Plan;
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::{ModelSource as _, SourceError, Which};
use tidemill_serve::predict::{Keep, Predict as Task, PredictError, Summary, predict};
use tidemill_server::RegistrySource;

use crate::cli::Global;
use crate::failure::Failure;
use crate::home::Opened;
use crate::output::{Bar, Console, bytes, count, duration, plural};
use crate::serving::{Places, runtimes};

#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// The model: models:/NAME/VERSION, NAME@VERSION or NAME@ALIAS of the registry, an ONNX file, or a model's folder
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
    /// Run a Python model with this interpreter, instead of making an environment from its requirements
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) python: Option<PathBuf>,
    /// ONNX Runtime's shared library, or a folder that holds it; the usual places are looked through where not given
    #[arg(long, env = "TIDEMILL_ONNXRUNTIME", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) onnxruntime: Option<PathBuf>,
}

/// How a model is named.
const NAMES: &str = "for example `--model models:/flights/3`, `--model flights@champion`, `--model model.onnx` or the folder of a \
                     logged model";
/// How long one batch of rows may take in Python.
const CALL: Duration = Duration::from_mins(10);

pub(crate) fn run(args: &Predict, global: &Global, console: &Console) -> anyhow::Result<()> {
    let cancel = crate::app::cancel_on_signals()?;
    let summary = score(args, global, console, &cancel)?;
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

/// Scores, and prints nothing.
pub(crate) fn score(
    args: &Predict,
    global: &Global,
    console: &Console,
    cancel: &Cancel,
) -> anyhow::Result<Summary> {
    let Ready { session, plan, _scratch } = load(args, global, console)?;
    let keep = match &args.keep {
        None => Keep::None,
        Some(columns) if columns.is_empty() => Keep::All,
        Some(columns) => Keep::Columns(columns.clone()),
    };
    let task = Task {
        session,
        plan,
        input: &args.input,
        output: &args.output,
        keep,
        features: args.columns.clone(),
        threads: args.jobs,
    };
    let bar = Bar::new(console, cancel);
    let scored = predict(&task, &bar);
    drop(bar);
    match scored {
        Ok(summary) => Ok(summary),
        Err(PredictError::Cancelled) => Err(Failure::cancelled().into()),
        Err(error) => Err(error.into()),
    }
}

/// A model that is ready to score.
struct Ready {
    session: Arc<dyn Session>,
    plan: Option<Plan>,
    /// Where files of the model were laid out, as long as it is used.
    _scratch: Option<Scratch>,
}

/// Finds, checks and loads the model: of files as they are; of the registry as the gateway does.
fn load(args: &Predict, global: &Global, console: &Console) -> anyhow::Result<Ready> {
    let runtime = crate::app::runtime()?;
    let threads = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    // A worker of Python for each thread, so that none waits for another.
    let serving = ServingSettings { concurrency: threads.clamp(1, 256), ..ServingSettings::default() };
    let path = Path::new(&args.model);
    let (bundle, environments, scratch) = if path.exists() {
        let models = BTreeMap::from([(args.model.clone(), folder_of(path))]);
        let source = FolderSource::new(models, serving);
        let version = runtime.block_on(source.resolve(&args.model, &Which::Default));
        let version = version.map_err(|error| failed(&args.model, &error.to_string()))?;
        let bundle = runtime.block_on(source.fetch(&args.model, &version));
        // Environments are kept for the next time, but no home is made for a file alone.
        let home = crate::app::find_root(global.project.as_deref());
        let home = home.map_or_else(|_| std::env::temp_dir(), |root| root.join(".tidemill"));
        (bundle, home.join("environments"), None)
    } else {
        let (name, which) = named(&args.model)?;
        let opened = Opened::at(None, global, console)?;
        let home = &opened.home.dir;
        let scratch = Scratch(home.join("tmp").join(format!("predict-{}", std::process::id())));
        let registry = opened.registry.clone();
        let source = RegistrySource::new(registry, Vec::new(), scratch.0.clone(), serving);
        let bundle = opened.block(async {
            let version = source.resolve(name, &which).await?;
            source.fetch(name, &version).await
        });
        (bundle, home.join("environments"), Some(scratch))
    };
    let bundle = bundle.map_err(|error| {
        let failure = failed(&args.model, &error.to_string());
        match error {
            SourceError::NotFound(_) => failure.hint(NAMES),
            _ => failure,
        }
    })?;
    let loader = runtimes(Places {
        python: args.python.clone(),
        onnxruntime: args.onnxruntime.clone(),
        environments,
        call_timeout: Some(CALL),
    });
    let (session, plan) = verify(&bundle, &loader).map_err(|why| failed(&args.model, &why))?;
    // Without a signature the table is bound to the model's own inputs, which may be many values in a row.
    let plan = bundle.signature.is_some().then_some(plan);
    Ok(Ready { session, plan, _scratch: scratch })
}

/// A file that a training wrote belongs to its folder, where its signature is.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|_| path.file_name().is_some_and(|name| name == "model.onnx"));
    let whole = |folder: &&Path| folder.join("signature.json").is_file() || folder.join("MLmodel").is_file();
    folder.filter(whole).unwrap_or(path).to_owned()
}

/// `models:/NAME/VERSION` and `models:/NAME@ALIAS` as MLflow's clients write it, `NAME@VERSION` and `NAME@ALIAS`.
fn named(model: &str) -> anyhow::Result<(&str, Which)> {
    let unknown = || {
        Failure::usage(format!("`{model}` is neither a file nor a version of a registered model")).hint(NAMES)
    };
    let rest = model.strip_prefix("models:/");
    let (name, version) = match rest {
        Some(rest) => rest.rsplit_once('/').or_else(|| rest.rsplit_once('@')),
        None => model.rsplit_once('@'),
    }
    .filter(|(name, version)| !name.is_empty() && !version.is_empty())
    .ok_or_else(unknown)?;
    if version.parse::<u64>().is_ok() {
        return Ok((name, Which::Version(version.to_owned())));
    }
    Ok((name, Which::Alias(version.to_owned())))
}

fn failed(model: &str, why: &str) -> Failure {
    Failure::new(format!("the model `{model}` cannot be used: {why}"))
}

/// A folder that goes when the command ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is only made for models that need a folder.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models() {
        let version = |text: &str| Which::Version(text.to_owned());
        let alias = |text: &str| Which::Alias(text.to_owned());
        for (text, expected) in [
            ("models:/flights-late/3", ("flights-late", version("3"))),
            ("models:/flights-late@champion", ("flights-late", alias("champion"))),
            ("models:/flights-late/champion", ("flights-late", alias("champion"))),
            ("flights-late@3", ("flights-late", version("3"))),
            ("a@b@champion", ("a@b", alias("champion"))),
        ] {
            assert_eq!(named(text).unwrap(), expected, "{text}");
        }
        for text in ["flights-late", "models:/flights-late", "@3", "flights-late@", "models:/x/"] {
            assert!(named(text).is_err(), "{text}");
        }
    }
}
