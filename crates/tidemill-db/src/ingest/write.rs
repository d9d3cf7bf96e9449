//! The rows of a plan as statements, one for each table. Points and inputs have files of their own.

use tidemill_core::RunId;

use super::decide::Plan;
use super::state::{KnownRun, State};
use super::{inputs, points};
use crate::StepRun;
use crate::backend::Hand;
use crate::cache::put_results;
use crate::dialect::Rows;
use crate::runs::{parse, put_steps};
use crate::tracking::load::LoadError;

/// Writes all but the events. New runs get the numbers of their rows.
pub(super) async fn write(mut hand: Hand<'_>, state: &mut State, plan: &Plan<'_>) -> Result<(), LoadError> {
    insert_runs(hand.reborrow(), state, &plan.new_runs).await?;
    update_runs(hand.reborrow(), state, plan).await?;
    insert_params(hand.reborrow(), state, plan).await?;
    put_tags(hand.reborrow(), state, plan).await?;
    points::put(hand.reborrow(), state, plan).await?;
    points::put_of_models(hand.reborrow(), state, plan).await?;
    inputs::put_datasets(hand.reborrow(), state, plan).await?;
    inputs::put_models(hand.reborrow(), state, plan).await?;
    if !plan.steps.is_empty() {
        let steps: Vec<&StepRun> = plan.steps.values().copied().collect();
        put_steps(hand.reborrow(), &steps).await?;
    }
    if !plan.results.is_empty() {
        let results: Vec<_> = plan.results.values().copied().collect();
        put_results(hand, &results).await?;
    }
    Ok(())
}

/// New runs come with an event, so the log's head is locked: their numbers rise as they are committed (see `search::runs::lacking`).
async fn insert_runs(hand: Hand<'_>, state: &mut State, new: &[RunId]) -> Result<(), LoadError> {
    const SQL: &str = "INSERT INTO run ({columns}) SELECT {columns} FROM {rows} WHERE r.uuid IS NOT NULL
        RETURNING id, uuid";
    if new.is_empty() {
        return Ok(());
    }
    let infos: Vec<_> = new.iter().filter_map(|run| state.runs.get(run)).map(|run| &run.info).collect();
    let uuids: Vec<String> = infos.iter().map(|info| info.id.to_string()).collect();
    let rows = Rows::new(infos.len())
        .padded()
        .text("uuid", uuids.iter().map(String::as_str))
        .int("experiment_id", infos.iter().map(|info| info.experiment))
        .text("name", infos.iter().map(|info| info.name.as_str()))
        .text("user_name", infos.iter().map(|info| info.user.as_str()))
        .text("status", infos.iter().map(|info| info.status.word()))
        .text("stage", infos.iter().map(|info| info.stage.word()))
        .text("artifact_uri", infos.iter().map(|info| info.artifact_uri.as_str()))
        .opt_int("started_at", infos.iter().map(|info| info.started_at.map(|at| at.millis())))
        .opt_int("ended_at", infos.iter().map(|info| info.ended_at.map(|at| at.millis())));
    let written: Vec<(i64, String)> = hand.read_rows(SQL, &rows).await?;
    for (row, uuid) in written {
        let run: RunId = parse("run", "uuid", &uuid, "a run id")?;
        if let Some(known) = state.runs.get_mut(&run) {
            known.row = Some(row);
        }
    }
    Ok(())
}

async fn update_runs(hand: Hand<'_>, state: &State, plan: &Plan<'_>) -> sqlx::Result<()> {
    const SQL: &str = "UPDATE run SET name = r.name, status = r.status, ended_at = r.ended_at FROM {rows}
        WHERE run.id = r.id";
    let changed: Vec<(i64, &KnownRun)> = plan
        .changed_runs
        .iter()
        .filter_map(|run| state.runs.get(run))
        .filter_map(|known| Some((known.row?, known)))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let infos = || changed.iter().map(|(_, known)| &known.info);
    let rows = Rows::new(changed.len())
        .padded()
        .int("id", changed.iter().map(|(row, _)| *row))
        .text("name", infos().map(|info| info.name.as_str()))
        .text("status", infos().map(|info| info.status.word()))
        .opt_int("ended_at", infos().map(|info| info.ended_at.map(|at| at.millis())));
    hand.write_rows(SQL, &rows).await.map(drop)
}

async fn insert_params(hand: Hand<'_>, state: &State, plan: &Plan<'_>) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO run_param ({columns}) SELECT {columns} FROM {rows}
        WHERE r.run_id IS NOT NULL";
    if plan.params.is_empty() {
        return Ok(());
    }
    let mut params = Vec::with_capacity(plan.params.len());
    for (run, param) in &plan.params {
        params.push((state.row(*run)?, param.key.as_str(), param.value.as_str()));
    }
    params.sort_unstable();
    let rows = Rows::new(params.len())
        .padded()
        .int("run_id", params.iter().map(|(row, _, _)| *row))
        .text("key", params.iter().map(|(_, key, _)| *key))
        .text("value", params.iter().map(|(_, _, value)| *value));
    hand.write_rows(SQL, &rows).await.map(drop)
}

async fn put_tags(mut hand: Hand<'_>, state: &State, plan: &Plan<'_>) -> sqlx::Result<()> {
    const PUT: &str =
        "INSERT INTO run_tag ({columns}) SELECT {columns} FROM {rows} WHERE r.run_id IS NOT NULL
        ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value";
    const REMOVE: &str = "DELETE FROM run_tag WHERE (run_id, key) IN (SELECT {columns} FROM {rows})";
    let (mut put, mut removed) = (Vec::with_capacity(plan.tags.len()), Vec::new());
    for ((run, key), value) in &plan.tags {
        let row = state.row(*run)?;
        match value {
            Some(value) => put.push((row, *key, *value)),
            None => removed.push((row, *key)),
        }
    }
    if !put.is_empty() {
        put.sort_unstable();
        let rows = Rows::new(put.len())
            .padded()
            .int("run_id", put.iter().map(|(row, _, _)| *row))
            .text("key", put.iter().map(|(_, key, _)| *key))
            .text("value", put.iter().map(|(_, _, value)| *value));
        hand.reborrow().write_rows(PUT, &rows).await?;
    }
    if !removed.is_empty() {
        let rows = Rows::new(removed.len())
            .int("run_id", removed.iter().map(|(row, _)| *row))
            .text("key", removed.iter().map(|(_, key)| *key));
        hand.write_rows(REMOVE, &rows).await?;
    }
    Ok(())
}
