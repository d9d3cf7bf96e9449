//! The inputs and outputs of a plan's runs: datasets and logged models.

use std::collections::{BTreeMap, HashMap};

use super::decide::Plan;
use super::state::State;
use crate::backend::Hand;
use crate::dialect::Rows;
use crate::tracking::InputDataset;
use crate::tracking::load::{INPUT, OUTPUT, tags_to_text};

/// Writes datasets that their experiments do not have yet, and which run read which.
pub(super) async fn put_datasets(mut hand: Hand<'_>, state: &State, plan: &Plan<'_>) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO run_input ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT DO NOTHING";
    if plan.datasets.is_empty() {
        return Ok(());
    }
    let mut described: BTreeMap<Key<'_>, &InputDataset> = BTreeMap::new();
    let mut edges = BTreeMap::new();
    for (run, dataset) in &plan.datasets {
        let known = state.runs.get(run).ok_or(sqlx::Error::RowNotFound)?;
        let key = (known.info.experiment, dataset.name.as_str(), dataset.digest.as_str());
        described.entry(key).or_insert(dataset);
        edges.entry((state.row(*run)?, key)).or_insert_with(|| tags_to_text(&dataset.tags));
    }
    insert_datasets(hand.reborrow(), &described).await?;
    let ids = read_ids(hand.reborrow(), &described).await?;
    let mut rows = Vec::with_capacity(edges.len());
    for ((run, key), tags) in &edges {
        rows.push((*run, *ids.get(key).ok_or(sqlx::Error::RowNotFound)?, tags.as_str()));
    }
    let rows = Rows::new(rows.len())
        .int("run_id", rows.iter().map(|row| row.0))
        .int("dataset_id", rows.iter().map(|row| row.1))
        .text("tags", rows.iter().map(|row| row.2));
    hand.write_rows(SQL, &rows).await.map(drop)
}

/// Experiment, name and digest.
type Key<'a> = (i64, &'a str, &'a str);

/// The first description stays.
async fn insert_datasets(hand: Hand<'_>, described: &BTreeMap<Key<'_>, &InputDataset>) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO input_dataset ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT DO NOTHING";
    let rows = with_key(described)
        .text("source_type", described.values().map(|dataset| dataset.source_type.as_str()))
        .text("source", described.values().map(|dataset| dataset.source.as_str()))
        .opt_text("schema", described.values().map(|dataset| dataset.schema.as_deref()))
        .opt_text("profile", described.values().map(|dataset| dataset.profile.as_deref()));
    hand.write_rows(SQL, &rows).await.map(drop)
}

async fn read_ids<'a>(
    hand: Hand<'_>,
    described: &BTreeMap<Key<'a>, &InputDataset>,
) -> sqlx::Result<HashMap<Key<'a>, i64>> {
    const SQL: &str = "SELECT r.place, d.id FROM {rows} JOIN input_dataset d
        ON d.experiment_id = r.experiment_id AND d.name = r.name AND d.digest = r.digest";
    let rows = with_key(described).int("place", 0..described.len() as i64);
    let found: Vec<(i64, i64)> = hand.read_rows(SQL, &rows).await?;
    let keys: Vec<Key<'a>> = described.keys().copied().collect();
    Ok(found.into_iter().filter_map(|(place, id)| Some((*keys.get(place as usize)?, id))).collect())
}

fn with_key<'a>(described: &BTreeMap<Key<'a>, &InputDataset>) -> Rows<'a> {
    Rows::new(described.len())
        .int("experiment_id", described.keys().map(|key| key.0))
        .text("name", described.keys().map(|key| key.1))
        .text("digest", described.keys().map(|key| key.2))
}

/// Writes which logged models the runs read and made.
pub(super) async fn put_models(hand: Hand<'_>, state: &State, plan: &Plan<'_>) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO run_model ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (run_id, direction, model_uuid) DO UPDATE SET step = excluded.step";
    let mut edges = Vec::with_capacity(plan.model_inputs.len() + plan.model_outputs.len());
    for (run, model) in &plan.model_inputs {
        edges.push((state.row(*run)?, INPUT, *model, 0));
    }
    for ((run, model), step) in &plan.model_outputs {
        edges.push((state.row(*run)?, OUTPUT, *model, *step));
    }
    if edges.is_empty() {
        return Ok(());
    }
    let rows = Rows::new(edges.len())
        .int("run_id", edges.iter().map(|edge| edge.0))
        .text("direction", edges.iter().map(|edge| edge.1))
        .text("model_uuid", edges.iter().map(|edge| edge.2))
        .int("step", edges.iter().map(|edge| edge.3));
    hand.write_rows(SQL, &rows).await.map(drop)
}
