//! Models in folders of this machine: `tidemill serve --model NAME=PATH`, and tests.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_core::{Digest, Hasher};

use super::manifest::{self, Files, LARGEST};
use super::settings::ServingSettings;
use super::source::{Folder, Listed, ModelBundle, ModelSource, SourceError, Which};

/// The version of what has no versions.
const ONLY: &str = "1";

/// Models by name, each an ONNX file, a folder that `log_model` or a training wrote, or a folder of such folders named
/// by version numbers.
#[derive(Clone, Debug, Default)]
pub struct FolderSource {
    models: BTreeMap<String, PathBuf>,
    serving: ServingSettings,
}

impl FolderSource {
    /// Over these paths.
    pub fn new(models: BTreeMap<String, PathBuf>, serving: ServingSettings) -> Self {
        Self { models, serving }
    }

    fn path(&self, model: &str) -> Result<&PathBuf, SourceError> {
        self.models.get(model).ok_or_else(|| {
            let known = self.models.keys().map(String::as_str);
            let hint = tidemill_core::did_you_mean(model, known).map(|hint| format!("; {hint}"));
            SourceError::NotFound(format!("there is no model `{model}`{}", hint.unwrap_or_default()))
        })
    }

    fn all(&self, model: &str) -> Result<Vec<(String, PathBuf)>, SourceError> {
        let path = self.path(model)?;
        let numbered = if path.is_dir() { numbered(path)? } else { Vec::new() };
        if numbered.is_empty() { Ok(vec![(ONLY.to_owned(), path.clone())]) } else { Ok(numbered) }
    }
}

#[async_trait]
impl ModelSource for FolderSource {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let listed = |model: &String| {
            let versions = self.all(model)?.into_iter().map(|(version, _)| version).collect();
            Ok(Listed { model: model.clone(), versions })
        };
        self.models.keys().map(listed).collect()
    }

    async fn resolve(&self, model: &str, which: &Which) -> Result<String, SourceError> {
        let mut versions = self.all(model)?;
        let missing = || SourceError::NotFound(format!("model `{model}` has no {which}"));
        match which {
            Which::Default => versions.pop().map(|(version, _)| version).ok_or_else(missing),
            Which::Version(wanted) => {
                let found =
                    versions.into_iter().map(|(version, _)| version).find(|version| version == wanted);
                found.ok_or_else(missing)
            }
            Which::Alias(_) => Err(SourceError::NotFound(format!(
                "model `{model}` has no {which}: models in folders have no aliases, ask for a version"
            ))),
        }
    }

    async fn versions(&self, model: &str) -> Result<Vec<String>, SourceError> {
        Ok(self.all(model)?.into_iter().map(|(version, _)| version).collect())
    }

    async fn fetch(&self, model: &str, version: &str) -> Result<ModelBundle, SourceError> {
        let found = self.all(model)?.into_iter().find(|(known, _)| known == version);
        let missing = || SourceError::NotFound(format!("model `{model}` has no version `{version}`"));
        let (_, path) = found.ok_or_else(missing)?;
        let (model, version, serving) = (model.to_owned(), version.to_owned(), self.serving.clone());
        let read = move || read(&model, &version, path, serving);
        let read = tokio::task::spawn_blocking(read).await;
        read.unwrap_or_else(|_| Err(SourceError::Unavailable("reading the model was cut off".to_owned())))
    }
}

/// Reads the model in a folder, or the ONNX file, at `path`. Blocks.
///
/// # Errors
///
/// As [`manifest::read`].
pub fn read(
    model: &str,
    version: &str,
    path: PathBuf,
    serving: ServingSettings,
) -> Result<ModelBundle, SourceError> {
    manifest::read(model, version, &OnDisk(path), serving)
}

/// The models of a folder: each folder, or file `NAME.onnx`, in it is one. Hidden names are left out.
///
/// # Errors
///
/// Where the folder cannot be read.
pub fn models(folder: &Path) -> std::io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = if path.is_dir() {
            path.file_name()
        } else if path.extension().is_some_and(|kind| kind == "onnx") {
            path.file_stem()
        } else {
            None
        };
        let name = name.and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        if let Some(name) = name {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}

/// Folders named by numbers, in their order.
fn numbered(path: &Path) -> Result<Vec<(String, PathBuf)>, SourceError> {
    let entries = fs_err::read_dir(path).map_err(|error| SourceError::Unavailable(error.to_string()))?;
    let mut found: Vec<(u64, String, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.parse().ok()?, name, entry.path()))
        })
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, name, path)| (name, path)).collect())
}

/// A folder, or an ONNX file alone.
struct OnDisk(PathBuf);

impl OnDisk {
    fn is_file(&self) -> bool {
        self.0.is_file()
    }
}

impl Files for OnDisk {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let whole = if self.is_file() {
            // The file is the model, whatever it is called; nothing lies beside it.
            if path != "model.onnx" {
                return Ok(None);
            }
            self.0.clone()
        } else {
            let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            if !inside {
                return Err(SourceError::Broken(format!("`{path}` leads out of the model's folder")));
            }
            self.0.join(path)
        };
        match fs_err::metadata(&whole) {
            Ok(metadata) if metadata.len() > LARGEST => {
                Err(SourceError::Broken(format!("`{path}` has over 2 GiB, which no ONNX file has")))
            }
            Ok(_) => match fs_err::read(&whole) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => Err(SourceError::Unavailable(error.to_string())),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceError::Unavailable(error.to_string())),
        }
    }

    fn folder(&self) -> Result<Arc<dyn Folder>, SourceError> {
        Ok(Arc::new(self.0.clone()))
    }

    fn digest(&self) -> Result<Option<Digest>, SourceError> {
        if self.is_file() {
            return Ok(None);
        }
        let mut files = Vec::new();
        walk(&self.0, &mut files).map_err(|error| SourceError::Unavailable(error.to_string()))?;
        files.sort();
        let mut hasher = Hasher::new();
        for path in files {
            let bytes = fs_err::read(&path).map_err(|error| SourceError::Unavailable(error.to_string()))?;
            let name = path.strip_prefix(&self.0).unwrap_or(&path).to_string_lossy().into_owned();
            hasher.update(format!("{name}\n{}\n", Digest::of(&bytes)).as_bytes());
        }
        Ok(Some(hasher.finish()))
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::source::ModelFiles;
    use super::*;

    const MANIFEST: &str = "flavors:\n  onnx:\n    data: model.onnx\nmetadata:\n  serving.max_batch: 8\nsignature:\n  \
        inputs: '[{\"type\": \"double\", \"name\": \"x\"}]'\n  outputs: null\n";

    fn source(path: &Path) -> FolderSource {
        FolderSource::new(BTreeMap::from([("m".to_owned(), path.to_owned())]), ServingSettings::default())
    }

    #[tokio::test]
    async fn a_file_a_folder_and_a_folder_of_versions() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("any.onnx");
        fs_err::write(&file, b"graph").unwrap();
        let bundle = source(&file).fetch("m", "1").await.unwrap();
        assert!(matches!(&bundle.files, ModelFiles::Onnx(bytes) if bytes == b"graph"));
        assert_eq!((bundle.signature, bundle.digest), (None, Digest::of(b"graph")));

        for version in ["9", "10"] {
            let folder = dir.path().join("versions").join(version);
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join("MLmodel"), MANIFEST).unwrap();
            fs_err::write(folder.join("model.onnx"), version).unwrap();
        }
        fs_err::create_dir(dir.path().join(".hidden")).unwrap();
        fs_err::write(dir.path().join("notes.txt"), b"x").unwrap();
        let named = models(dir.path()).unwrap();
        assert_eq!(named.keys().collect::<Vec<_>>(), ["any", "versions"]);
        let versions = source(&dir.path().join("versions"));
        assert_eq!(versions.versions("m").await.unwrap(), ["9", "10"]);
        assert_eq!(versions.resolve("m", &Which::Default).await.unwrap(), "10");
        let bundle = versions.fetch("m", "9").await.unwrap();
        assert!(matches!(&bundle.files, ModelFiles::Onnx(bytes) if bytes == b"9"));
        assert_eq!(bundle.serving.max_batch, 8);
        assert_eq!(bundle.signature.unwrap().inputs[0].name.as_deref(), Some("x"));
        assert_ne!(bundle.digest, versions.fetch("m", "10").await.unwrap().digest);
    }

    #[tokio::test]
    async fn what_is_not_there_or_not_right_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let model = source(dir.path());
        let fails = async |text: &str| {
            let why = model.fetch("m", "1").await.unwrap_err().to_string();
            assert!(why.contains(text), "{why}");
        };
        fails("model `m` version `1`: there is no file `model.onnx`").await;
        fs_err::write(dir.path().join("MLmodel"), "flavors: [").unwrap();
        fails("`MLmodel` is not right").await;
        fs_err::write(dir.path().join("MLmodel"), "flavors: {onnx: {data: ../../etc/passwd}}").unwrap();
        fails("leads out of the model's folder").await;
        fs_err::write(dir.path().join("MLmodel"), "flavors: {onnx: {data: model.onnx}}").unwrap();
        fs_err::write(dir.path().join("model.onnx"), "x").unwrap();
        let list = r#"{"files": {"model.onnx": {"blake3": "b3:00"}}}"#;
        fs_err::write(dir.path().join("manifest.json"), list).unwrap();
        fails("`manifest.json` says b3:00").await;
        fs_err::write(dir.path().join("MLmodel"), "flavors: {sklearn: {}, python_function: {}}").unwrap();
        let bundle = model.fetch("m", "1").await.unwrap();
        assert!(matches!(bundle.files, ModelFiles::Folder(_)));
        assert_eq!(bundle.properties["flavors"], "python_function, sklearn");

        let why = model.resolve("n", &Which::Default).await.unwrap_err();
        assert!(matches!(&why, SourceError::NotFound(text) if text.contains("no model `n`")), "{why}");
        let why = model.resolve("m", &Which::Alias("champion".into())).await.unwrap_err();
        assert!(why.to_string().contains("alias `@champion`"), "{why}");
        assert!(model.resolve("m", &Which::Version("2".into())).await.is_err());
    }
}
