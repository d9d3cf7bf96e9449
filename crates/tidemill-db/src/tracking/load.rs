//! Whole runs by the numbers of their rows, in a handful of statements however many they are.

use std::collections::HashMap;

use tidemill_core::Timestamp;

use super::runs::{InfoRow, info_from_row, select_info};
use crate::Error;
use crate::backend::{Context, Hand};
use crate::dialect::{self, Rows};
use crate::tracking::{InputDataset, KeyValue, Metric, ModelOutput, Run};

/// The runs whose rows have these numbers, in this order. Numbers without a row are left out.
pub(crate) async fn load(hand: Hand<'_>, ids: &[i64]) -> Result<Vec<Run>, LoadError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = Rows::new(ids.len()).padded().int("wanted", ids.iter().copied());
    assembled(Found::read(hand, &wanted).await?, ids)
}

/// The runs of what was found, in the order of `ids`.
fn assembled(found: Found, ids: &[i64]) -> Result<Vec<Run>, LoadError> {
    let mut runs = HashMap::with_capacity(found.infos.len());
    for row in found.infos {
        let (id, info) = info_from_row(row)?;
        let run = Run {
            info,
            metrics: Vec::new(),
            params: Vec::new(),
            tags: Vec::new(),
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        };
        runs.insert(id, run);
    }
    put_pairs(found.pairs, &mut runs)?;
    each(
        found.params,
        &mut runs,
        |row| row.0,
        |run, (_, key, value)| run.params.push(KeyValue { key, value }),
    );
    each(found.tags, &mut runs, |row| row.0, |run, (_, key, value)| run.tags.push(KeyValue { key, value }));
    put_metrics(found.metrics, &mut runs);
    put_inputs((found.datasets, found.models), &mut runs)?;
    let mut all: Vec<Run> = ids.iter().filter_map(|id| runs.remove(id)).collect();
    for run in &mut all {
        run.params.sort_unstable();
        run.tags.sort_unstable();
        run.metrics.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        run.datasets.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
        run.model_inputs.sort_unstable();
        run.model_outputs.sort_by(|a, b| (a.step, &a.model_id).cmp(&(b.step, &b.model_id)));
    }
    Ok(all)
}

/// Either the driver failed, or what is stored cannot be read.
pub(crate) enum LoadError {
    Driver(sqlx::Error),
    Stored(Error),
}

impl From<sqlx::Error> for LoadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for LoadError {
    fn from(error: Error) -> Self {
        Self::Stored(error)
    }
}

impl LoadError {
    /// Ours, for `map_err`.
    pub(crate) fn sort(ctx: &Context, action: &'static str) -> impl FnOnce(Self) -> Error {
        move |error| match error {
            Self::Driver(error) => ctx.fail(action)(error),
            Self::Stored(error) => error,
        }
    }
}

type Runs = HashMap<i64, Run>;
type PairsRow = (i64, Option<String>, Option<String>);
type PairRow = (i64, String, String);
type LastRow = (i64, String, i64, i64, Option<f64>);
type DatasetRow = (i64, String, String, String, String, String, Option<String>, Option<String>);
type ModelRow = (i64, String, String, i64);

const INFO: &str = select_info!("FROM {rows} JOIN run t ON t.id = r.wanted");
const PAIRS: &str = "SELECT r.wanted,
        (SELECT {pairs} FROM run_param p WHERE p.run_id = r.wanted),
        (SELECT {pairs} FROM run_tag p WHERE p.run_id = r.wanted)
    FROM {rows} WHERE r.wanted IS NOT NULL";
const PARAMS: &str = "SELECT p.run_id, p.key, p.value FROM {rows} JOIN run_param p ON p.run_id = r.wanted";
const TAGS: &str = "SELECT p.run_id, p.key, p.value FROM {rows} JOIN run_tag p ON p.run_id = r.wanted";
const METRICS: &str = "SELECT s.run_id, s.name, s.last_step, s.last_at, s.last_value
    FROM {rows} JOIN series s ON s.run_id = r.wanted";
const DATASETS: &str =
    "SELECT i.run_id, i.tags, d.name, d.digest, d.source_type, d.source, d.schema, d.profile
    FROM {rows} JOIN run_input i ON i.run_id = r.wanted JOIN input_dataset d ON d.id = i.dataset_id";
const MODELS: &str = "SELECT m.run_id, m.direction, m.model_uuid, m.step
    FROM {rows} JOIN run_model m ON m.run_id = r.wanted";

/// What the tables have of some runs.
#[derive(Default)]
struct Found {
    infos: Vec<InfoRow>,
    /// Parameters and tags of a run as texts, or one by one.
    pairs: Vec<PairsRow>,
    params: Vec<PairRow>,
    tags: Vec<PairRow>,
    metrics: Vec<LastRow>,
    datasets: Vec<DatasetRow>,
    models: Vec<ModelRow>,
}

impl Found {
    /// Through sqlx parameters and tags come as one text for each run: a row of its own for each of them would cost far more than
    /// what is in it. Metrics keep theirs: SQLite writes some numbers in digits that are those of another one.
    async fn read(mut hand: Hand<'_>, wanted: &Rows<'_>) -> sqlx::Result<Self> {
        let mut found = Self { infos: hand.reborrow().read_rows(INFO, wanted).await?, ..Self::default() };
        if let Hand::Sqlx(conn) = &hand {
            let pairs = PAIRS.replace("{pairs}", dialect::pairs(conn));
            found.pairs = hand.reborrow().read_rows(&pairs, wanted).await?;
        } else {
            found.params = hand.reborrow().read_rows(PARAMS, wanted).await?;
            found.tags = hand.reborrow().read_rows(TAGS, wanted).await?;
        }
        found.metrics = hand.reborrow().read_rows(METRICS, wanted).await?;
        found.datasets = hand.reborrow().read_rows(DATASETS, wanted).await?;
        found.models = hand.read_rows(MODELS, wanted).await?;
        Ok(found)
    }
}

/// Gives each row to its run. Most rows stand behind others of the same run.
fn each<R>(rows: Vec<R>, runs: &mut Runs, id: impl Fn(&R) -> i64, put: impl Fn(&mut Run, R)) {
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.next() {
        let own = id(&first);
        let Some(run) = runs.get_mut(&own) else { continue };
        put(run, first);
        while let Some(row) = rows.next_if(|row| id(row) == own) {
            put(run, row);
        }
    }
}

fn put_pairs(found: Vec<PairsRow>, runs: &mut Runs) -> Result<(), Error> {
    for (id, params, tags) in found {
        let Some(run) = runs.get_mut(&id) else { continue };
        run.params = pairs_from_text("run_param", "value", params.as_deref().unwrap_or("[]"))?;
        run.tags = pairs_from_text("run_tag", "value", tags.as_deref().unwrap_or("[]"))?;
    }
    Ok(())
}

/// A value that is NaN is stored as NULL.
fn put_metrics(found: Vec<LastRow>, runs: &mut Runs) {
    let put = |run: &mut Run, (_, key, step, at, value): LastRow| {
        run.metrics.push(Metric {
            key,
            value: value.unwrap_or(f64::NAN),
            at: Timestamp::from_millis(at),
            step,
            dataset_name: None,
            dataset_digest: None,
            model_id: None,
            run_id: None,
        });
    };
    each(found, runs, |row| row.0, put);
}

fn put_inputs((datasets, models): (Vec<DatasetRow>, Vec<ModelRow>), runs: &mut Runs) -> Result<(), Error> {
    for (id, tags, name, digest, source_type, source, schema, profile) in datasets {
        let Some(run) = runs.get_mut(&id) else { continue };
        let tags = pairs_from_text("run_input", "tags", &tags)?;
        run.datasets.push(InputDataset { name, digest, source_type, source, schema, profile, tags });
    }
    for (id, direction, model_id, step) in models {
        let Some(run) = runs.get_mut(&id) else { continue };
        if direction == INPUT {
            run.model_inputs.push(model_id);
        } else {
            run.model_outputs.push(ModelOutput { model_id, step });
        }
    }
    Ok(())
}

/// The direction of a logged model that a run read.
pub(crate) const INPUT: &str = "input";
/// The direction of a logged model that a run made.
pub(crate) const OUTPUT: &str = "output";

/// Tags of an input as they are stored: a JSON list of pairs.
pub(crate) fn tags_to_text(tags: &[KeyValue]) -> String {
    let pairs: Vec<(&str, &str)> = tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())).collect();
    serde_json::json!(pairs).to_string()
}

/// What [`tags_to_text`] and [`dialect::pairs`] give.
fn pairs_from_text(table: &'static str, column: &'static str, text: &str) -> Result<Vec<KeyValue>, Error> {
    let pairs: Vec<(String, String)> = serde_json::from_str(text)
        .map_err(|_| Error::value(table, column, text, "a list of pairs as JSON"))?;
    Ok(pairs.into_iter().map(|(key, value)| KeyValue { key, value }).collect())
}
