//! MLflow's file store: a folder with `meta.yaml` files, a file for each parameter, tag and metric.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidemill_db::tracking::{InputDataset, KeyValue, ModelOutput, RunStatus};

use super::local;
use super::source::{
    Behind, Source, SourceExperiment, SourceFile, SourceLoggedModel, SourceModel, SourceModelPoint,
    SourcePoint, SourceRun, SourceVersion,
};
use crate::artifacts::ArtifactWriter;
use crate::{Error, Result};

/// The largest `meta.yaml` and the largest file of a parameter or tag; MLflow's own limits are far below.
const TEXT_LIMIT: u64 = 32 << 20;
/// Where the file store keeps deleted experiments.
const TRASH: &str = ".trash";

/// A file store.
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Opens the store in `root`, which must hold experiments.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        let any = [root.to_owned(), root.join(TRASH)]
            .iter()
            .flat_map(|folder| folders(folder).unwrap_or_default())
            .any(|experiment| experiment.join("meta.yaml").is_file());
        if any || root.join("models").is_dir() {
            return Ok(store);
        }
        Err(Error::invalid(format!(
            "`{}` holds no MLflow file store: there is no experiment with a `meta.yaml` in it",
            root.display()
        )))
    }

    fn experiment(&self, experiment: &SourceExperiment) -> PathBuf {
        let folder = if experiment.deleted { self.root.join(TRASH) } else { self.root.clone() };
        let folder = folder.join(&experiment.id);
        // A deleted experiment lies in the trash in older stores and in its place in newer ones.
        if folder.is_dir() { folder } else { self.root.join(&experiment.id) }
    }
}

#[derive(Deserialize)]
struct ExperimentMeta {
    experiment_id: Text,
    name: Text,
    lifecycle_stage: Option<String>,
    creation_time: Option<i64>,
    last_update_time: Option<i64>,
}

#[derive(Deserialize)]
struct RunMeta {
    #[serde(alias = "run_uuid")]
    run_id: Text,
    run_name: Option<Text>,
    user_id: Option<Text>,
    status: Option<Status>,
    lifecycle_stage: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    artifact_uri: Option<String>,
}

/// The number of the enum, or its name in newer stores.
#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Number(usize),
    Name(String),
}

/// Text, also where it looks like a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(i64),
    Text(String),
}

impl Text {
    fn into_string(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

#[derive(Deserialize)]
struct DatasetMeta {
    name: Text,
    digest: Text,
    source_type: Option<String>,
    source: Option<String>,
    schema: Option<String>,
    profile: Option<String>,
}

#[derive(Deserialize)]
struct LinkMeta {
    source_id: Option<Text>,
    source_type: Option<String>,
    destination_id: Option<Text>,
    #[serde(default)]
    step: i64,
    #[serde(default)]
    tags: BTreeMap<String, Text>,
}

#[derive(Deserialize)]
struct LoggedModelMeta {
    model_id: String,
    name: Option<Text>,
    model_type: Option<String>,
    status: Option<Status>,
    source_run_id: Option<Text>,
    artifact_location: Option<String>,
    creation_timestamp: Option<i64>,
    last_updated_timestamp: Option<i64>,
}

#[derive(Deserialize)]
struct ModelMeta {
    name: Text,
    description: Option<Text>,
    creation_timestamp: Option<i64>,
}

#[derive(Deserialize)]
struct VersionMeta {
    version: Text,
    description: Option<Text>,
    creation_timestamp: Option<i64>,
    current_stage: Option<String>,
    source: Option<String>,
    storage_location: Option<String>,
    run_id: Option<Text>,
}

#[async_trait]
impl Source for Folder {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    async fn experiments(&self) -> Result<Vec<SourceExperiment>> {
        let mut found = Vec::new();
        let trash = self.root.join(TRASH);
        for (place, trashed) in [(&self.root, false), (&trash, true)] {
            for folder in folders(place)? {
                let file = folder.join("meta.yaml");
                // Registered models and the trash are folders beside the experiments.
                if !file.is_file() || folder.file_name().is_some_and(|name| name == "models") {
                    continue;
                }
                let meta: ExperimentMeta = meta(&file)?;
                found.push(SourceExperiment {
                    id: meta.experiment_id.into_string(),
                    name: meta.name.into_string(),
                    deleted: trashed || is_deleted(meta.lifecycle_stage.as_deref()),
                    created_at: meta.creation_time.unwrap_or_default(),
                    updated_at: meta.last_update_time.unwrap_or_default(),
                    tags: pairs(&folder.join("tags"))?,
                });
            }
        }
        found.sort_by(|a, b| (a.id.len(), &a.id).cmp(&(b.id.len(), &b.id)));
        Ok(found)
    }

    async fn runs(&self, experiment: &SourceExperiment) -> Result<Vec<String>> {
        let mut runs = Vec::new();
        for folder in folders(&self.experiment(experiment))? {
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
            let file = folder.join("meta.yaml");
            if matches!(name, "tags" | "datasets" | "models" | "traces") || !file.is_file() {
                continue;
            }
            let meta: RunMeta = meta(&file)?;
            runs.push((meta.start_time, name.to_owned()));
        }
        runs.sort();
        Ok(runs.into_iter().map(|(_, id)| id).collect())
    }

    async fn run(&self, experiment: &SourceExperiment, id: &str) -> Result<SourceRun> {
        let home = self.experiment(experiment);
        let folder = home.join(id);
        let meta: RunMeta = meta(&folder.join("meta.yaml"))?;
        let tags = pairs(&folder.join("tags"))?;
        let named = tags.iter().find(|tag| tag.key == "mlflow.runName").map(|tag| tag.value.clone());
        let mut run = SourceRun {
            id: meta.run_id.into_string(),
            name: meta.run_name.map(Text::into_string).or(named).unwrap_or_default(),
            user: meta.user_id.map(Text::into_string).unwrap_or_default(),
            status: status(meta.status.as_ref(), &RunStatus::ALL, RunStatus::word)
                .unwrap_or(RunStatus::Finished),
            deleted: is_deleted(meta.lifecycle_stage.as_deref()),
            started_at: meta.start_time,
            ended_at: meta.end_time,
            artifact_uri: meta.artifact_uri.unwrap_or_else(|| folder.join("artifacts").display().to_string()),
            params: pairs(&folder.join("params"))?,
            tags,
            metrics: files_below(&folder.join("metrics"))?,
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        };
        for link in folders(&folder.join("inputs"))? {
            let link: LinkMeta = self::meta(&link.join("meta.yaml"))?;
            let Some(id) = link.source_id.map(Text::into_string) else { continue };
            if link.source_type.as_deref().is_some_and(|kind| kind != "DATASET") {
                run.model_inputs.push(id);
                continue;
            }
            let file = home.join("datasets").join(&id).join("meta.yaml");
            let dataset: DatasetMeta = self::meta(&file)?;
            run.datasets.push(InputDataset {
                name: dataset.name.into_string(),
                digest: dataset.digest.into_string(),
                source_type: dataset.source_type.unwrap_or_default(),
                source: dataset.source.unwrap_or_default(),
                schema: dataset.schema,
                profile: dataset.profile,
                tags: link
                    .tags
                    .into_iter()
                    .map(|(key, value)| KeyValue { key, value: value.into_string() })
                    .collect(),
            });
        }
        for link in folders(&folder.join("outputs"))? {
            let link: LinkMeta = self::meta(&link.join("meta.yaml"))?;
            if let Some(model_id) = link.destination_id.map(Text::into_string) {
                run.model_outputs.push(ModelOutput { model_id, step: link.step });
            }
        }
        Ok(run)
    }

    async fn history(&self, experiment: &SourceExperiment, run: &str, key: &str) -> Result<Vec<SourcePoint>> {
        let path = self.experiment(experiment).join(run).join("metrics").join(key);
        let text = fs_err::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let mut points = Vec::new();
        for (number, line) in text.lines().enumerate() {
            points.push(point(line).ok_or_else(|| {
                let place = path.display();
                Error::invalid(format!("line {} of `{place}` is not `TIME VALUE STEP`", number + 1))
            })?);
        }
        Ok(points)
    }

    async fn logged_models(&self, experiment: &SourceExperiment) -> Result<Vec<SourceLoggedModel>> {
        let mut models = Vec::new();
        for folder in folders(&self.experiment(experiment).join("models"))? {
            let meta: LoggedModelMeta = meta(&folder.join("meta.yaml"))?;
            let known = super::MODEL_STATUS;
            models.push(SourceLoggedModel {
                id: meta.model_id,
                name: meta.name.map(Text::into_string).unwrap_or_default(),
                model_type: meta.model_type.unwrap_or_default(),
                status: status(meta.status.as_ref(), &known, |word| word).unwrap_or(known[1]).to_owned(),
                source_run: meta.source_run_id.map(Text::into_string),
                artifact_uri: meta
                    .artifact_location
                    .unwrap_or_else(|| folder.join("artifacts").display().to_string()),
                created_at: meta.creation_timestamp.unwrap_or_default(),
                updated_at: meta.last_updated_timestamp.unwrap_or_default(),
                params: pairs(&folder.join("params"))?,
                tags: pairs(&folder.join("tags"))?,
            });
        }
        models.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(models)
    }

    async fn model_points(
        &self,
        experiment: &SourceExperiment,
        model: &str,
    ) -> Result<Vec<SourceModelPoint>> {
        let folder = self.experiment(experiment).join("models").join(model).join("metrics");
        let mut points = Vec::new();
        for key in files_below(&folder)? {
            let path = folder.join(&key);
            let text = fs_err::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            for line in text.lines() {
                let point = point(line).ok_or_else(|| {
                    Error::invalid(format!("a line of `{}` is not `TIME VALUE STEP RUN`", path.display()))
                })?;
                let mut rest = line.split_ascii_whitespace().skip(3).map(str::to_owned);
                let (run, dataset_name) = (rest.next(), rest.next());
                let dataset_digest = rest.next();
                points.push(SourceModelPoint { key: key.clone(), point, run, dataset_name, dataset_digest });
            }
        }
        Ok(points)
    }

    async fn models(&self) -> Result<Vec<SourceModel>> {
        let mut models = Vec::new();
        for folder in folders(&self.root.join("models"))? {
            let file = folder.join("meta.yaml");
            if !file.is_file() {
                continue;
            }
            let meta: ModelMeta = meta(&file)?;
            let mut versions = Vec::new();
            for version in folders(&folder)? {
                let file = version.join("meta.yaml");
                if file.is_file() {
                    versions.extend(read_version(&version, self::meta(&file)?)?);
                }
            }
            versions.sort_by_key(|version: &SourceVersion| version.number);
            let aliases = pairs(&folder.join("aliases"))?;
            models.push(SourceModel {
                name: meta.name.into_string(),
                description: meta.description.map(Text::into_string).unwrap_or_default(),
                created_at: meta.creation_timestamp.unwrap_or_default(),
                tags: pairs(&folder.join("tags"))?,
                aliases: aliases
                    .into_iter()
                    .filter_map(|alias| Some((alias.key, alias.value.trim().parse().ok()?)))
                    .collect(),
                versions,
            });
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    async fn files(&self, uri: &str) -> Result<Option<Vec<SourceFile>>> {
        match self.place_of(uri) {
            Some(folder) => local::files(&folder).map(Some),
            None => Ok(None),
        }
    }

    async fn behind(&self, experiments: &[SourceExperiment]) -> Result<Behind> {
        let mut traces = 0;
        for experiment in experiments {
            traces += folders(&self.experiment(experiment).join("traces"))?.len() as u64;
        }
        // This form of store cannot have datasets of evaluations.
        Ok(Behind { traces, evaluation_datasets: 0 })
    }

    async fn fetch(&self, uri: &str, file: &SourceFile, into: &mut ArtifactWriter) -> Result<()> {
        let folder =
            self.place_of(uri).ok_or_else(|| Error::invalid(format!("`{uri}` is not a folder here")))?;
        local::copy(&folder, file, into).await
    }
}

impl Folder {
    /// Where an artifact folder of this store is now. A store that was moved still says where it was: what it says is
    /// tried first, then the same end of the path below the store as it is now.
    fn place_of(&self, uri: &str) -> Option<PathBuf> {
        let said = local::folder(uri)?;
        if said.is_dir() {
            return Some(said);
        }
        let parts: Vec<_> = said.components().collect();
        (1..parts.len())
            .map(|from| self.root.join(parts[from..].iter().collect::<PathBuf>()))
            .find(|moved| moved.is_dir())
            .or(Some(said))
    }
}

fn read_version(folder: &Path, meta: VersionMeta) -> Result<Option<SourceVersion>> {
    let stage = meta.current_stage.unwrap_or_else(|| "None".to_owned());
    // What is left of a deleted version holds its number and nothing to import.
    if stage == "Deleted_Internal" {
        return Ok(None);
    }
    let Ok(number) = meta.version.into_string().parse() else { return Ok(None) };
    Ok(Some(SourceVersion {
        number,
        created_at: meta.creation_timestamp.unwrap_or_default(),
        description: meta.description.map(Text::into_string).unwrap_or_default(),
        stage,
        source: meta.source.unwrap_or_default(),
        storage: meta.storage_location,
        run: meta.run_id.map(Text::into_string).filter(|run| !run.is_empty()),
        tags: pairs(&folder.join("tags"))?,
    }))
}

/// `TIME VALUE STEP`, without the step in old stores; more may follow for metrics of logged models.
fn point(line: &str) -> Option<SourcePoint> {
    let mut parts = line.split_ascii_whitespace();
    let at = parts.next()?.parse().ok()?;
    // Rust reads `nan`, `inf` and `-inf` as Python writes them.
    let value = parts.next()?.parse().ok()?;
    let step = parts.next().map_or(Some(0), |step| step.parse().ok())?;
    Some(SourcePoint { at, value, step })
}

/// An enum that was stored as its number, from 1, or as its name.
fn status<T: Copy>(stored: Option<&Status>, all: &[T], word: impl Fn(T) -> &'static str) -> Option<T> {
    match stored? {
        Status::Number(number) => all.get(number.checked_sub(1)?).copied(),
        Status::Name(name) => all.iter().copied().find(|known| word(*known) == name),
    }
}

fn is_deleted(stage: Option<&str>) -> bool {
    stage == Some("deleted")
}

fn meta<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = text(path)?;
    serde_saphyr::from_str(&text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default();
        Error::invalid(format!("`{}` is not what MLflow writes there: {reason}", path.display()))
    })
}

fn text(path: &Path) -> Result<String> {
    let file = fs_err::File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut text = String::new();
    file.take(TEXT_LIMIT).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    Ok(text)
}

/// A file for each pair, also in folders below, since keys may hold `/`.
fn pairs(folder: &Path) -> Result<Vec<KeyValue>> {
    let keys = files_below(folder)?;
    keys.into_iter().map(|key| Ok(KeyValue { value: text(&folder.join(&key))?, key })).collect()
}

fn files_below(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Ok(local::files(folder)?.into_iter().map(|file| file.path).collect())
}

/// The folders in a folder, in order; none where it is not there.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != TRASH) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    local::unreadable(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_as_every_version_wrote_them() {
        assert_eq!(point("17 0.5 3"), Some(SourcePoint { at: 17, value: 0.5, step: 3 }));
        assert_eq!(point("17 0.5"), Some(SourcePoint { at: 17, value: 0.5, step: 0 }));
        assert_eq!(point("17 -inf 0 r").unwrap().value, f64::NEG_INFINITY);
        assert!(point("17 nan 0").unwrap().value.is_nan());
        assert_eq!(point("17"), None);
        assert_eq!(point("x 1 1"), None);
    }

    #[test]
    fn statuses_by_number_and_by_name() {
        let all = &RunStatus::ALL;
        let read = |stored: &Status| status(Some(stored), all, RunStatus::word);
        assert_eq!(read(&Status::Number(3)), Some(RunStatus::Finished));
        assert_eq!(read(&Status::Name("KILLED".to_owned())), Some(RunStatus::Killed));
        assert_eq!(read(&Status::Number(0)), None);
    }
}
