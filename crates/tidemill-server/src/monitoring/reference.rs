//! What windows are compared with: what is known of a version of a model from its training.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use serde::Deserialize;
use tidemill_core::Timestamp;
use tidemill_core::declare::Objective;
use tidemill_data::profile::ProfileBuilder;
use tidemill_data::{Profile, ProfileOptions, Table};
use tidemill_monitor::{Calibration, Reference as Against};
use tidemill_registry::Registry;
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::SourceError;
use tidemill_serve::record::answers::{plain, positive, texts};

use super::PROFILE_FILE;
use super::rows::{LABEL, SCORE};
use crate::RegistrySource;

/// What is known of a version from its training. What its folder does not hold is not there.
#[derive(Debug, Default)]
pub(super) struct Reference {
    /// `late@3`.
    pub(super) name: String,
    /// Of the rows that it learned from.
    pub(super) inputs: Option<Profile>,
    /// Of its answers on the rows that it was tested on.
    pub(super) predictions: Option<Profile>,
    /// How much it uses each column.
    pub(super) importance: BTreeMap<String, f64>,
    /// From scores to probabilities.
    pub(super) calibration: Option<Calibration>,
    /// Mean cost of a decision on the rows that it was tested on.
    pub(super) cost_per_decision: Option<f64>,
    /// The latest time of the rows that it learned from.
    pub(super) learned_until: Option<Timestamp>,
    /// When the version was made.
    pub(super) made_at: Option<Timestamp>,
}

/// What is used of a training's report.
#[derive(Debug, Default, Deserialize)]
struct Report {
    #[serde(default)]
    importance: Vec<Importance>,
    #[serde(default)]
    decision: Option<Decision>,
}

#[derive(Debug, Deserialize)]
struct Importance {
    column: String,
    mean: f64,
}

#[derive(Debug, Deserialize)]
struct Decision {
    #[serde(default)]
    cost: Option<Cost>,
}

#[derive(Debug, Deserialize)]
struct Cost {
    model: f64,
}

/// Reads references, and remembers them: a version never changes.
pub(super) struct References {
    registry: Registry,
    source: RegistrySource,
    /// The one that was asked for last stands last.
    known: VecDeque<(Key, Arc<Reference>)>,
    /// Profiles of versions of datasets, by what monitors call them.
    datasets: VecDeque<(String, Arc<Profile>)>,
}

/// Model, version, and the objective: what is right and which column holds times is the project's to say.
type Key = (String, String, Option<Objective>);

/// How many versions are remembered.
const REMEMBERED: usize = 16;

impl References {
    pub(super) fn new(registry: &Registry, scratch: std::path::PathBuf) -> Self {
        let source = RegistrySource::new(registry.clone(), Vec::new(), scratch, ServingSettings::default());
        Self { registry: registry.clone(), source, known: VecDeque::new(), datasets: VecDeque::new() }
    }

    /// What is known of a version. A file that cannot be read is said in the log, and counts as absent.
    pub(super) async fn of(
        &mut self,
        (model, version): &(String, String),
        objective: Option<&Objective>,
    ) -> Arc<Reference> {
        let key = (model.clone(), version.clone(), objective.cloned());
        if let Some(at) = self.known.iter().position(|(known, _)| *known == key)
            && let Some(found) = self.known.remove(at)
        {
            let known = Arc::clone(&found.1);
            self.known.push_back(found);
            return known;
        }
        let read = match self.read(model, version, objective).await {
            Ok(read) => Arc::new(read),
            Err(error) => {
                tracing::warn!(model.name = model, model.version = version, %error, "what is known of a model cannot be read");
                return Arc::new(Reference { name: format!("{model}@{version}"), ..Reference::default() });
            }
        };
        if self.known.len() >= REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back((key, Arc::clone(&read)));
        read
    }

    /// The profile of a version of a dataset, which never changes.
    ///
    /// # Errors
    ///
    /// Says why there is none, and what to do.
    pub(super) async fn dataset(&mut self, against: &Against) -> Result<Arc<Profile>, String> {
        let text = against.as_str();
        if let Some((_, known)) = self.datasets.iter().find(|(known, _)| known == text) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(self.profile_of(against).await?);
        if self.datasets.len() >= REMEMBERED {
            self.datasets.pop_front();
        }
        self.datasets.push_back((text.to_owned(), Arc::clone(&found)));
        Ok(found)
    }

    async fn profile_of(&self, against: &Against) -> Result<Profile, String> {
        let text = against.as_str();
        let (name, version) = against
            .version()
            .ok_or_else(|| format!("`{text}` is no version of a dataset, such as `flights@3`"))?;
        let unreadable =
            |error: &dyn std::fmt::Display| format!("the profile of `{text}` cannot be read: {error}");
        let db = self.registry.db();
        let found = db.dataset_version(&name, Some(version)).await.map_err(|error| unreadable(&error))?;
        let content = found.map(|found| found.content).ok_or_else(|| {
            format!("there is no `{text}` to compare with: `tidemill data ls {name}` lists versions, `tidemill data add {name} PATH` stores one")
        })?;
        let kept = db.profiles_of(&[content]).await.map_err(|error| unreadable(&error))?;
        let Some((_, digest)) = kept.first().copied() else {
            return Err(format!("`{text}` has no profile yet: `tidemill data profile {text}` makes it"));
        };
        let store = self.registry.store().clone();
        let read = tokio::task::spawn_blocking(move || {
            let bytes = store.get(&digest).map_err(|error| error.to_string())?;
            Profile::from_bytes(&bytes).map_err(|error| error.to_string())
        });
        let read = read.await.map_err(|error| unreadable(&error))?;
        read.map_err(|error| {
            let why = unreadable(&error);
            format!("{why}; `tidemill data profile {text}` makes it anew")
        })
    }

    async fn read(
        &self,
        model: &str,
        version: &str,
        objective: Option<&Objective>,
    ) -> Result<Reference, SourceError> {
        let number = version.parse().ok();
        let stored = match number {
            Some(number) => self.registry.db().model_version(model, number).await.ok().flatten(),
            None => None,
        };
        let mut reference = Reference {
            name: format!("{model}@{version}"),
            made_at: stored.map(|stored| stored.created_at),
            ..Reference::default()
        };
        if let Some(bytes) = self.source.file(model, version, PROFILE_FILE).await? {
            let profile =
                Profile::from_bytes(&bytes).map_err(|error| SourceError::Broken(error.to_string()))?;
            let time = objective.and_then(|objective| objective.time.as_deref());
            reference.learned_until = learned_until(&profile, time);
            reference.inputs = Some(profile);
        }
        if let Some(bytes) = self.source.file(model, version, "report.json").await? {
            // A report of another tool is none of ours.
            let report: Report = serde_json::from_slice(&bytes).unwrap_or_default();
            reference.importance =
                report.importance.into_iter().map(|it| (it.column, it.mean.max(0.0))).collect();
            reference.cost_per_decision =
                report.decision.and_then(|decision| decision.cost).map(|cost| cost.model);
        }
        if let Some(bytes) = self.source.file(model, version, "predictions.parquet").await? {
            let wanted = positive(objective.and_then(|objective| objective.task.positive.as_ref()));
            let read = tokio::task::spawn_blocking(move || tested(&bytes, &wanted)).await;
            let cut_off = |_| SourceError::Unavailable("reading the model was cut off".to_owned());
            let (profile, calibration) =
                read.map_err(cut_off)?.map_err(|error| SourceError::Broken(error.to_string()))?;
            (reference.predictions, reference.calibration) = (profile, calibration);
        }
        Ok(reference)
    }
}

/// The answers on the rows that a model was tested on: their profile, and what makes probabilities of scores.
fn tested(
    parquet: &[u8],
    wanted: &str,
) -> Result<(Option<Profile>, Option<Calibration>), tidemill_data::Error> {
    let unusable = |error: std::io::Error| tidemill_data::Error::Unusable(error.to_string());
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().map_err(unusable)?;
    fs_err::write(file.path(), parquet).map_err(unusable)?;
    let table = Table::open(&[file.path().to_owned()], None)?;
    let (mut builder, mut scores, mut truth) = (None::<ProfileBuilder>, Vec::new(), Vec::new());
    for batch in table.batches(None)? {
        let batch = batch?;
        let score = batch.column_by_name("probability").or_else(|| batch.column_by_name("prediction"));
        let score = score.and_then(|score| score.as_primitive_opt::<Float64Type>());
        let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
        if let Some(score) = score {
            fields.push(Field::new(SCORE, DataType::Float64, true));
            columns.push(Arc::new(score.clone()));
        }
        if let Some(label) = batch.column_by_name("label") {
            let labels = texts(label);
            fields.push(Field::new(LABEL, DataType::Utf8, true));
            columns
                .push(Arc::new(labels.iter().map(Option::as_deref).collect::<arrow::array::StringArray>()));
            // More classes have a probability each, and no one score.
            if let (Some(target), Some(score)) = (batch.column_by_name("target"), score) {
                for (row, target) in
                    texts(target).into_iter().enumerate().filter(|(row, _)| score.is_valid(*row))
                {
                    scores.push(score.value(row));
                    truth.push(target.as_deref() == Some(wanted));
                }
            }
        }
        if fields.is_empty() {
            return Ok((None, None));
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| tidemill_data::Error::Unusable(error.to_string()))?;
        let builder = match &mut builder {
            Some(builder) => builder,
            none => none.insert(ProfileBuilder::new(rows.schema_ref(), &ProfileOptions::columns())?),
        };
        builder.update(&rows)?;
    }
    let profile = builder.map(ProfileBuilder::finish).transpose()?;
    Ok((profile, Calibration::fit(&scores, &truth)))
}

/// The latest time in the profile of a training's rows: of the column that the project names, else of the first that holds times.
fn learned_until(profile: &Profile, time: Option<&str>) -> Option<Timestamp> {
    let of = |name: &str| {
        let stats = profile.describe_column(name)?;
        let is_time = ["Timestamp", "Date"].iter().any(|kind| stats.data_type.starts_with(kind));
        moment(&plain(&stats.max.filter(|_| is_time)?.to_string()))
    };
    time.and_then(of).or_else(|| {
        let names: Vec<String> = profile.columns().map(str::to_owned).collect();
        names.iter().find_map(|name| of(name))
    })
}

/// A time as profiles show it: a day, with a time of day, with a zone or without, which is UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_matches('"').replacen(' ', "T", 1);
    let text = if text.len() == 10 { format!("{text}T00:00:00") } else { text };
    Timestamp::parse(&text).or_else(|| Timestamp::parse(&format!("{text}Z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_profiles_show_them() {
        for (text, expected) in [
            ("2013-03-31", Some("2013-03-31T00:00:00Z")),
            ("2013-03-31 23:00:00", Some("2013-03-31T23:00:00Z")),
            ("\"2013-03-31T23:00:00Z\"", Some("2013-03-31T23:00:00Z")),
            ("soon", None),
        ] {
            assert_eq!(moment(text).map(|at| at.to_string()).as_deref(), expected, "{text}");
        }
    }
}
