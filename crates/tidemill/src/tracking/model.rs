//! A model that a built-in training wrote, as a logged model: its folder with what MLflow's clients need to load it.
//!
//! The files of the folder are in the store already; only their names are written.

use std::path::PathBuf;

use tidemill_core::{RunId, Timestamp};
use tidemill_db::logged_models::LoggedModelStatus;
use tidemill_db::tracking::{KeyValue, ModelOutput};
use tidemill_pipeline::Content;
use tidemill_registry::artifacts::ArtifactPath;
use tidemill_registry::{LoggedModelRequest, Registry, Result};
use tidemill_store::{Entry, EntryKind, Store};
use tidemill_train::frame::Source;
use tidemill_train::report::{InputSpec, Signature};

use super::Parts;

/// Loads a folder of ours with ONNX Runtime.
const LOADER: &str = include_str!("loader.py");
/// What the loader needs, with the versions that are known to work or newer.
const REQUIREMENTS: &str = "mlflow\nnumpy\nonnxruntime>=1.17\npandas\n";

/// Records the model; gives the output that the run's record names.
pub(super) async fn log(
    parts: &Parts,
    run: RunId,
    name: &str,
    content: &Content,
    signature: &Signature,
    params: &[KeyValue],
) -> Result<ModelOutput> {
    let registry = Registry::new(parts.db.clone(), parts.store.clone(), parts.clock.clone());
    // Collection must not take what is in the store but has no name yet.
    let _hold = parts.store.hold()?;
    let request = LoggedModelRequest {
        experiment: parts.experiment.to_string(),
        name: Some(name.replace(['/', ':', '%', '"', '\'', '.'], "_")),
        model_type: "tidemill".to_owned(),
        source_run: Some(run.to_string()),
        params: params.to_vec(),
        tags: Vec::new(),
    };
    let model = registry.create_logged_model(&parts.actor, request).await?;
    let root = ArtifactPath::parse(model.artifact_uri.trim_start_matches("mlflow-artifacts:/"))?;
    let mut files = stored(&parts.store, content)?;
    for (name, text) in described(&model.id, run, parts.clock.now(), signature) {
        files.push((PathBuf::from(name), put(&parts.store, &text)?));
    }
    let mut named = Vec::with_capacity(files.len());
    for (path, entry) in files {
        named.push((root.join(&ArtifactPath::parse(&path.to_string_lossy())?)?, entry));
    }
    registry.link_artifacts(&named).await?;
    registry.finish_logged_model(&parts.actor, &model.id, LoggedModelStatus::Ready).await?;
    Ok(ModelOutput { model_id: model.id, step: 0 })
}

/// The files of a folder that is in the store.
fn stored(store: &Store, content: &Content) -> Result<Vec<(PathBuf, Entry)>> {
    let entry =
        Entry { digest: content.digest, kind: EntryKind::Tree, bytes: content.bytes, files: 0, sha256: None };
    Ok(store.files(&entry)?)
}

fn put(store: &Store, text: &str) -> Result<Entry> {
    let digest = store.put(text.as_bytes())?;
    let kind = EntryKind::File { executable: false };
    Ok(Entry { digest, kind, bytes: text.len() as u64, files: 1, sha256: None })
}

/// The files beside the trainer's own that make the folder one of MLflow's.
fn described(model: &str, run: RunId, at: Timestamp, signature: &Signature) -> [(&'static str, String); 4] {
    let inputs: Vec<serde_json::Value> = signature
        .inputs
        .iter()
        .map(|input| serde_json::json!({"name": input.name, "type": kind(input), "required": true}))
        .collect();
    // A YAML scalar in quotes that holds JSON, as MLflow writes signatures.
    let inputs = serde_json::Value::from(serde_json::Value::from(inputs).to_string());
    let at = at.to_string();
    let time = at.trim_end_matches('Z').replace('T', " ");
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
         run_id: {run}\n\
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
