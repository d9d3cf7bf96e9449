//! Reads a model's folder: the `MLmodel` file that MLflow's `log_model` and built-in trainings write, and what lies
//! beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tidemill_core::Digest;

use super::golden::Golden;
use super::settings::ServingSettings;
use super::signature::Signature;
use super::source::{Folder, ModelBundle, ModelFiles, SourceError};

/// The largest ONNX file that is read, in bytes: protocol buffers end at 2 GiB.
pub const LARGEST: u64 = 2 << 30;

/// The files of a model's folder, wherever they are. Reading blocks.
pub trait Files {
    /// The bytes of a file; none where it is not there.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// All files in a folder of this machine.
    fn folder(&self) -> Result<Arc<dyn Folder>, SourceError>;

    /// The digest of all files, where it is known without reading them.
    fn digest(&self) -> Result<Option<Digest>, SourceError>;
}

/// What is used of an `MLmodel` file.
#[derive(Debug, Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    flavors: BTreeMap<String, Value>,
    #[serde(default)]
    signature: Option<Declared>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    model_id: Option<String>,
}

/// A signature holds JSON in text.
#[derive(Debug, Deserialize)]
struct Declared {
    #[serde(default)]
    inputs: Option<String>,
    #[serde(default)]
    outputs: Option<String>,
}

/// Reads a model's folder.
///
/// # Errors
///
/// Where a file that is named is not there, or one that is there is not right.
pub fn read(
    model: &str,
    version: &str,
    files: &dyn Files,
    serving: ServingSettings,
) -> Result<ModelBundle, SourceError> {
    let broken = |why: String| SourceError::Broken(format!("model `{model}` version `{version}`: {why}"));
    let (manifest, is_described) = manifest(files, &broken)?;
    let signature = signature(&manifest, is_described, files, &broken)?;
    let golden = match files.read("golden.parquet")? {
        Some(bytes) => Some(Golden::from_parquet(bytes).map_err(broken)?),
        None => None,
    };
    let metadata = manifest.metadata.unwrap_or_default();
    let metadata: Vec<(String, String)> =
        metadata.into_iter().map(|(key, value)| (key, plain(value))).collect();
    let pairs = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let serving = serving.declared(pairs).map_err(broken)?;

    let onnx = onnx_file(&manifest.flavors, is_described);
    let (model_files, onnx_digest) = match onnx {
        Some(path) => {
            let bytes = files.read(&path)?.ok_or_else(|| broken(format!("there is no file `{path}`")))?;
            let digest = Digest::of(&bytes);
            check_listed(files, &path, digest, &broken)?;
            (ModelFiles::Onnx(bytes), Some(digest))
        }
        None => (ModelFiles::Folder(files.folder()?), None),
    };
    let Some(digest) = files.digest()?.or(onnx_digest) else {
        return Err(broken("its files have no digest".to_owned()));
    };
    let facts = [("run_id", manifest.run_id), ("model_id", manifest.model_id)];
    let facts = facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let mut properties: BTreeMap<String, String> = metadata.into_iter().chain(facts).collect();
    if !manifest.flavors.is_empty() {
        let flavors: Vec<&str> = manifest.flavors.keys().map(String::as_str).collect();
        properties.insert("flavors".to_owned(), flavors.join(", "));
    }
    Ok(ModelBundle {
        model: model.to_owned(),
        version: version.to_owned(),
        digest,
        expected: None,
        files: model_files,
        signature,
        golden,
        serving,
        properties,
    })
}

/// What a release says of a model beside its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The digest of its signature: names, types and order of inputs and outputs; none where nobody said them.
    pub signature: Option<Digest>,
    /// What runs it: `onnx` or `python`.
    pub runtime: &'static str,
}

/// Reads what a release says of a model, without its weights.
///
/// # Errors
///
/// Where a file that is there is not right.
pub fn describe(model: &str, version: &str, files: &dyn Files) -> Result<Described, SourceError> {
    let broken = |why: String| SourceError::Broken(format!("model `{model}` version `{version}`: {why}"));
    let (manifest, is_described) = manifest(files, &broken)?;
    let signature = signature(&manifest, is_described, files, &broken)?;
    let runtime = if onnx_file(&manifest.flavors, is_described).is_some() { "onnx" } else { "python" };
    Ok(Described { signature: signature.map(|signature| signature.digest()), runtime })
}

/// The `MLmodel` file, and whether there is one.
fn manifest(
    files: &dyn Files,
    broken: &dyn Fn(String) -> SourceError,
) -> Result<(Manifest, bool), SourceError> {
    let Some(bytes) = files.read("MLmodel")? else { return Ok((Manifest::default(), false)) };
    let text = String::from_utf8(bytes).map_err(|_| broken("`MLmodel` is no text".to_owned()))?;
    let manifest = serde_saphyr::from_str(&text).map_err(|error| {
        let line = error.to_string().lines().next().unwrap_or_default().to_owned();
        broken(format!("`MLmodel` is not right: {line}"))
    })?;
    Ok((manifest, true))
}

fn signature(
    manifest: &Manifest,
    is_described: bool,
    files: &dyn Files,
    broken: &dyn Fn(String) -> SourceError,
) -> Result<Option<Signature>, SourceError> {
    let declared = manifest.signature.as_ref();
    let Some((inputs, outputs)) = declared.and_then(|it| Some((it.inputs.as_ref()?, &it.outputs))) else {
        // What a training wrote says it all, before it is logged as a model of MLflow too.
        let own = if is_described { None } else { files.read("signature.json")? };
        return own.map(|own| Signature::from_training(&own)).transpose().map_err(broken);
    };
    let mut signature = Signature::from_mlflow(inputs, outputs.as_deref()).map_err(broken)?;
    if let Some(own) = files.read("signature.json")? {
        signature.add_training(&own).map_err(broken)?;
    }
    Ok(Some(signature))
}

/// The ONNX file of the folder. A folder without `MLmodel` is one around `model.onnx`.
fn onnx_file(flavors: &BTreeMap<String, Value>, is_described: bool) -> Option<String> {
    let Some(flavor) = flavors.get("onnx") else {
        return (!is_described).then(|| "model.onnx".to_owned());
    };
    Some(flavor.get("data").and_then(Value::as_str).unwrap_or("model.onnx").to_owned())
}

/// A built-in training lists the digests of its files in `manifest.json`.
fn check_listed(
    files: &dyn Files,
    path: &str,
    digest: Digest,
    broken: &dyn Fn(String) -> SourceError,
) -> Result<(), SourceError> {
    let Some(bytes) = files.read("manifest.json")? else { return Ok(()) };
    let Ok(list) = serde_json::from_slice::<Value>(&bytes) else {
        return Err(broken("`manifest.json` is not JSON".to_owned()));
    };
    let said = list.get("files").and_then(|files| files.get(path)?.get("blake3")?.as_str());
    match said {
        Some(said) if said != digest.to_string() => {
            Err(broken(format!("`{path}` has the digest {digest} and `manifest.json` says {said}")))
        }
        _ => Ok(()),
    }
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
