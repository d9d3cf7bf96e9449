//! Models of the registry: versions by number and alias, files from the store.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_core::{Digest, Quiet};
use tidemill_db::models::{ModelVersion, RegisteredModel};
use tidemill_registry::artifacts::{ArtifactPath, Place};
use tidemill_registry::{CHAMPION, Code, Error, Registry};
use tidemill_serve::gateway::loader::on_own_thread;
use tidemill_serve::gateway::manifest::{self, Described, Files, LARGEST};
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::{Folder, Listed, ModelBundle, ModelSource, SourceError, Which};
use tokio::runtime::Handle;

/// Models that are read from the database at once.
const PAGE: usize = 1_000;
/// The most models that an index lists.
const MOST: usize = 10_000;

/// The models of a registry.
#[derive(Clone)]
pub struct RegistrySource {
    registry: Registry,
    roots: Arc<Vec<PathBuf>>,
    scratch: PathBuf,
    serving: ServingSettings,
}

impl RegistrySource {
    /// Over a registry. Models in local folders are read only inside of `roots`; `scratch` is where the folders of
    /// models are laid out that need one.
    pub fn new(registry: Registry, roots: Vec<PathBuf>, scratch: PathBuf, serving: ServingSettings) -> Self {
        Self { registry, roots: Arc::new(roots), scratch, serving }
    }

    /// One file of a version, where it is there.
    ///
    /// # Errors
    ///
    /// Where the version is not there or its files cannot be read.
    pub async fn file(&self, model: &str, version: &str, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let stored = self.version(model, version).await?;
        let (files, path) = (self.files(model, version, &stored).await?, path.to_owned());
        let read = tokio::task::spawn_blocking(move || files.read(&path)).await;
        read.map_err(|_| SourceError::Unavailable("reading the model was cut off".to_owned()))?
    }

    /// What a release says of a version beside its files.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file), and where a file is not right.
    pub async fn describe(&self, model: &str, version: &str) -> Result<Described, SourceError> {
        let stored = self.version(model, version).await?;
        let files = self.files(model, version, &stored).await?;
        let (model, version) = (model.to_owned(), version.to_owned());
        let read = tokio::task::spawn_blocking(move || manifest::describe(&model, &version, &files)).await;
        read.map_err(|_| SourceError::Unavailable("reading the model was cut off".to_owned()))?
    }

    async fn files(
        &self,
        model: &str,
        version: &str,
        stored: &ModelVersion,
    ) -> Result<InRegistry, SourceError> {
        let location = stored.storage_location.as_deref().unwrap_or(&stored.source);
        let place = self.registry.artifact_place(location).await.map_err(registry)?;
        if let Place::Elsewhere(uri) = &place {
            return Err(SourceError::Broken(format!(
                "the files of model `{model}` version `{version}` are in `{uri}`, which this server does not read; log the model to this server's artifacts"
            )));
        }
        Ok(InRegistry {
            registry: self.registry.clone(),
            place,
            roots: Arc::clone(&self.roots),
            scratch: self.scratch.clone(),
            runtime: Handle::current(),
            listed: None,
        })
    }

    async fn model(&self, name: &str) -> Result<RegisteredModel, SourceError> {
        let missing =
            || SourceError::NotFound(format!("there is no endpoint and no registered model `{name}`"));
        // No database takes a zero byte, so it is in the name of nothing.
        if name.contains('\0') {
            return Err(missing());
        }
        let found = self.registry.db().registered_model(name).await.map_err(database)?;
        found.ok_or_else(missing)
    }

    async fn version(&self, model: &str, version: &str) -> Result<ModelVersion, SourceError> {
        let missing = || SourceError::NotFound(format!("model `{model}` has no version `{version}`"));
        let number = version.parse().map_err(|_| missing())?;
        let found = self.registry.db().model_version(model, number).await.map_err(database)?;
        found.ok_or_else(missing)
    }
}

#[async_trait]
impl ModelSource for RegistrySource {
    async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let mut listed: Vec<Listed> = Vec::new();
        loop {
            let after = listed.last().map(|last| last.model.as_str());
            let page = self.registry.db().registered_models_after(after, PAGE).await.map_err(database)?;
            let is_last = page.len() < PAGE;
            listed.extend(page.into_iter().map(|model| {
                // The newest of each stage and those with an alias; all versions would be too many to list.
                let newest = model.latest.iter().map(|version| version.version);
                let versions = ordered(newest.chain(model.aliases.iter().map(|alias| alias.version)));
                Listed { model: model.name, versions }
            }));
            if is_last || listed.len() >= MOST {
                return Ok(listed);
            }
        }
    }

    async fn resolve(&self, model: &str, which: &Which) -> Result<String, SourceError> {
        let known = self.model(model).await?;
        let of_alias = |alias: &str| {
            known.aliases.iter().find(|known| known.alias == alias).map(|alias| alias.version.to_string())
        };
        let missing = |hint: &str| SourceError::NotFound(format!("model `{model}` has no {which}{hint}"));
        match which {
            Which::Version(version) => Ok(self.version(model, version).await?.version.to_string()),
            Which::Alias(alias) => of_alias(alias).ok_or_else(|| {
                let known = known.aliases.iter().map(|known| known.alias.as_str());
                let hint = tidemill_core::did_you_mean(alias, known).map(|hint| format!("; {hint}"));
                missing(&hint.unwrap_or_default())
            }),
            Which::Default => {
                let newest = known.latest.iter().map(|version| version.version).max();
                let version = of_alias(CHAMPION).or_else(|| newest.map(|newest| newest.to_string()));
                version.ok_or_else(|| SourceError::NotFound(format!("model `{model}` has no version yet")))
            }
        }
    }

    async fn versions(&self, model: &str) -> Result<Vec<String>, SourceError> {
        let known = self.model(model).await?;
        let versions = self.registry.db().model_versions_before(&known.name, None, PAGE).await;
        let versions = versions.map_err(database)?;
        Ok(versions.iter().rev().map(|version| version.version.to_string()).collect())
    }

    async fn fetch(&self, model: &str, version: &str) -> Result<ModelBundle, SourceError> {
        let (known, stored) = tokio::try_join!(self.model(model), self.version(model, version))?;
        let files = self.files(model, version, &stored).await?.listed().await?;
        let (name, number, serving) = (model.to_owned(), version.to_owned(), self.serving.clone());
        let read = on_own_thread(move || manifest::read(&name, &number, &files, serving)).await;
        let cut_off = || SourceError::Unavailable("reading the model was cut off".to_owned());
        let mut bundle = read.ok().flatten().ok_or_else(cut_off)??;
        bundle.expected = stored.content;
        let tags = [&known.tags, &stored.tags]
            .map(|tags| tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())));
        let facts = [
            ("description", stored.description.or(known.description)),
            ("run_id", stored.run),
            ("source", Some(stored.source)),
        ];
        described(bundle, tags, facts)
    }
}

/// Versions of a model in their order, each once.
pub(super) fn ordered(versions: impl Iterator<Item = u64>) -> Vec<String> {
    versions.collect::<BTreeSet<u64>>().iter().map(ToString::to_string).collect()
}

/// A bundle with what a registry says of its model: how it is to be run, by the tags of the model and of the version, and
/// facts for people.
pub(super) fn described<'a>(
    mut bundle: ModelBundle,
    tags: [impl Iterator<Item = (&'a str, &'a str)>; 2],
    facts: [(&str, Option<String>); 3],
) -> Result<ModelBundle, SourceError> {
    // What is said of the version counts more than what is said of the model.
    for pairs in tags {
        let (model, version) = (&bundle.model, &bundle.version);
        let wrong =
            |why| SourceError::Broken(format!("the tags of model `{model}` version `{version}`: {why}"));
        bundle.serving = bundle.serving.declared(pairs).map_err(wrong)?;
    }
    bundle.properties.extend(facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Ok(bundle)
}

/// The files of a version. Used on a thread that may block.
struct InRegistry {
    registry: Registry,
    place: Place,
    roots: Arc<Vec<PathBuf>>,
    scratch: PathBuf,
    runtime: Handle,
    /// The files that there are, where that was looked up: most that a model may have are not there.
    listed: Option<HashSet<String>>,
}

impl InRegistry {
    /// The same, with a list of the files that there are.
    async fn listed(mut self) -> Result<Self, SourceError> {
        if let Place::Proxy(root) = &self.place {
            let files = self.registry.artifact_files(root).await.map_err(registry)?;
            self.listed = Some(files.into_iter().map(|(path, _)| path).collect());
        }
        Ok(self)
    }

    /// Gives each piece of a file to `take`; `false` where the file is not there.
    fn pieces(
        &self,
        path: &ArtifactPath,
        take: &mut dyn FnMut(&[u8]) -> Result<(), SourceError>,
    ) -> Result<bool, SourceError> {
        if self.listed.as_ref().is_some_and(|listed| !listed.contains(path.as_str())) {
            return Ok(false);
        }
        let place = self.place.join(path).map_err(registry)?;
        let content = match self.runtime.block_on(self.registry.artifact(&place, &self.roots, path.as_str()))
        {
            Ok(content) => content,
            Err(error) if error.code == Code::ResourceDoesNotExist => return Ok(false),
            Err(error) => return Err(registry(error)),
        };
        for piece in self.registry.pieces(&content, 0..content.bytes()).map_err(registry)? {
            take(&piece.map_err(registry)?)?;
        }
        Ok(true)
    }

    /// Lays the files of the store out in a folder that goes when the model does.
    fn lay_out(&self, root: &ArtifactPath) -> Result<tempfile::TempDir, SourceError> {
        let io = |error: std::io::Error| SourceError::Unavailable(error.to_string());
        fs_err::create_dir_all(&self.scratch).map_err(io)?;
        let folder = tempfile::Builder::new().prefix("model-").tempdir_in(&self.scratch).map_err(io)?;
        for (path, _) in self.runtime.block_on(self.registry.artifact_files(root)).map_err(registry)? {
            // Paths of artifacts never lead out of their folder.
            let into = folder.path().join(&path);
            if let Some(parent) = into.parent() {
                fs_err::create_dir_all(parent).map_err(io)?;
            }
            let mut file = fs_err::File::create(&into).map_err(io)?;
            let path = ArtifactPath::parse(&path).map_err(registry)?;
            self.pieces(&path, &mut |bytes| std::io::Write::write_all(&mut file, bytes).map_err(io))?;
        }
        Ok(folder)
    }

    /// A local folder, where its files may be read.
    fn local(&self, path: &Path) -> Result<PathBuf, SourceError> {
        let manifest = ArtifactPath::parse("MLmodel").map_err(registry)?;
        if self.pieces(&manifest, &mut |_| Ok(()))? {
            return Ok(path.to_owned());
        }
        Err(SourceError::Broken("its folder has no file `MLmodel`".to_owned()))
    }
}

impl Files for InRegistry {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let path = ArtifactPath::parse(path).map_err(registry)?;
        let mut bytes = Vec::new();
        let found = self.pieces(&path, &mut |piece| {
            if (bytes.len() + piece.len()) as u64 > LARGEST {
                let path = path.as_str();
                return Err(SourceError::Broken(format!("`{path}` has over 2 GiB, which no ONNX file has")));
            }
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(found.then_some(bytes))
    }

    fn folder(&self) -> Result<Arc<dyn Folder>, SourceError> {
        match &self.place {
            Place::Proxy(root) => Ok(Arc::new(self.lay_out(root)?)),
            Place::Local(path) => Ok(Arc::new(self.local(path)?)),
            Place::Elsewhere(uri) => Err(SourceError::Broken(format!("its files are in `{uri}`"))),
        }
    }

    fn digest(&self) -> Result<Option<Digest>, SourceError> {
        match &self.place {
            Place::Proxy(root) => self.runtime.block_on(self.registry.artifact_tree(root)).map_err(registry),
            Place::Local(path) => {
                let entry = tidemill_store::hash(&self.local(path)?, None, &Quiet);
                let wrong = |error: tidemill_store::Error| SourceError::Unavailable(error.to_string());
                Ok(Some(entry.map_err(wrong)?.digest))
            }
            Place::Elsewhere(_) => Ok(None),
        }
    }
}

fn database(error: tidemill_db::Error) -> SourceError {
    registry(error.into())
}

fn registry(error: Error) -> SourceError {
    let cause = error.source.as_deref().map(ToString::to_string).unwrap_or_default();
    match error.code {
        Code::ResourceDoesNotExist => SourceError::NotFound(error.message),
        Code::InvalidParameterValue | Code::PermissionDenied => SourceError::Broken(error.message),
        _ => {
            tracing::warn!(error.cause = cause, "a model cannot be read: {}", error.message);
            SourceError::Unavailable(error.message)
        }
    }
}
