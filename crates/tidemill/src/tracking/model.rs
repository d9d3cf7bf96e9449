//! A model that a step wrote, as a logged model; one of a built-in training with what MLflow's clients need to load it.
//!
//! The files are in the store already; only their names are written.

use std::path::PathBuf;

use tidemill_core::{Actor, RunId, Timestamp};
use tidemill_db::logged_models::LoggedModelStatus;
use tidemill_db::tracking::KeyValue;
use tidemill_registry::artifacts::ArtifactPath;
use tidemill_registry::{LoggedModelRequest, Registry, Result};
use tidemill_store::{Entry, EntryKind, Store};
use tidemill_train::frame::Source;
use tidemill_train::report::{InputSpec, Signature};

/// Loads a folder of ours with ONNX Runtime.
const LOADER: &str = include_str!("loader.py");
/// What the loader needs, with the versions that are known to work or newer.
const REQUIREMENTS: &str = "mlflow\nnumpy\nonnxruntime>=1.17\npandas\n";

/// A model that a step wrote.
pub(crate) struct Made<'a> {
    /// The experiment, which is there.
    pub(crate) experiment: i64,
    /// The run that made it, where one is known.
    pub(crate) run: Option<RunId>,
    /// The step.
    pub(crate) step: &'a str,
    /// Its files, which are in the store.
    pub(crate) files: Vec<(PathBuf, Entry)>,
    /// Inputs and outputs, where the built-in trainer wrote it.
    pub(crate) signature: Option<&'a Signature>,
    /// How it was made.
    pub(crate) params: &'a [KeyValue],
}

/// Records the model; gives its identifier.
pub(crate) async fn log(registry: &Registry, actor: &Actor, made: Made<'_>) -> Result<String> {
    let store = registry.store();
    // Collection must not take what is in the store but has no name yet.
    let _hold = store.hold()?;
    let request = LoggedModelRequest {
        experiment: made.experiment.to_string(),
        name: Some(made.step.replace(['/', ':', '%', '"', '\'', '.'], "_")),
        model_type: if made.signature.is_some() { "tidemill".to_owned() } else { String::new() },
        source_run: made.run.map(|run| run.to_string()),
        params: made.params.to_vec(),
        tags: Vec::new(),
    };
    let model = registry.create_logged_model(actor, request).await?;
    let root = ArtifactPath::parse(model.artifact_uri.trim_start_matches("mlflow-artifacts:/"))?;
    let mut files = made.files;
    if let Some(signature) = made.signature {
        for (name, text) in described(&model.id, made.run, registry.clock().now(), signature) {
            files.push((PathBuf::from(name), put(store, &text)?));
        }
    }
    let mut named = Vec::with_capacity(files.len());
    for (path, entry) in files {
        named.push((root.join(&ArtifactPath::parse(&path.to_string_lossy())?)?, entry));
    }
    registry.link_artifacts(&named).await?;
    registry.finish_logged_model(actor, &model.id, LoggedModelStatus::Ready).await?;
    Ok(model.id)
}

fn put(store: &Store, text: &str) -> Result<Entry> {
    let digest = store.put(text.as_bytes())?;
    let kind = EntryKind::File { executable: false };
    Ok(Entry { digest, kind, bytes: text.len() as u64, files: 1, sha256: None })
}

/// The files beside the trainer's own that make the folder one of MLflow's.
fn described(
    model: &str,
    run: Option<RunId>,
    at: Timestamp,
    signature: &Signature,
) -> [(&'static str, String); 4] {
    let inputs: Vec<serde_json::Value> = signature
        .inputs
        .iter()
        .map(|input| serde_json::json!({"name": input.name, "type": kind(input), "required": true}))
        .collect();
    // A YAML scalar in quotes that holds JSON, as MLflow writes signatures.
    let inputs = serde_json::Value::from(serde_json::Value::from(inputs).to_string());
    let at = at.to_string();
    let time = at.trim_end_matches('Z').replace('T', " ");
    let run = run.map(|run| format!("run_id: {run}\n")).unwrap_or_default();
    let manifest = format!(
        "artifact_path: model\n\
         flavors:\n  \
           python_function:\n    \
             code: code\n    \
             env:\n      \
               virtualenv: python_env.yaml\n    \
             loader_module: tidemill_loader\n  \
           onnx:\n    \
             data: model.onnx\n\
         model_id: {model}\n\
         {run}\
         signature:\n  \
           inputs: {inputs}\n  \
           outputs: null\n  \
           params: null\n\
         utc_time_created: '{time}'\n"
    );
    let environment = "build_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n";
    [
        ("MLmodel", manifest),
        ("code/tidemill_loader.py", LOADER.to_owned()),
        ("python_env.yaml", environment.to_owned()),
        ("requirements.txt", REQUIREMENTS.to_owned()),
    ]
}

/// The type of a column in MLflow's words.
fn kind(input: &InputSpec) -> &'static str {
    match input.source {
        Source::Bool => "boolean",
        Source::Int => "long",
        Source::Float => "float",
        Source::Double => "double",
        Source::Text => "string",
    }
}
