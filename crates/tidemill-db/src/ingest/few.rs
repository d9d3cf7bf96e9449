//! Groups of a few points and nothing else on SQLite, which is what training loops make: they are written row by row, with statements
//! that never change, where other groups take one for each table and number of rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, TransactionBehavior};
use tidemill_core::RunId;

use super::decide::writable;
use super::group::Answers;
use super::points::{Point, direct};
use super::work::{Answer, Work};
use crate::direct::carried;
use crate::tracking::experiments::parse_stage;
use crate::tracking::{Batch, Metric, Stage};
use crate::{Error, Result, dialect};

/// Points that such a group has at most: on so many others wait no longer than for a group of another kind.
const MOST: usize = 128;

/// A request for points of a run and nothing else.
struct Points<'a> {
    run: RunId,
    metrics: &'a [Metric],
}

/// Whether a group has nothing but a few points.
pub(super) fn is_few(group: &[Work]) -> bool {
    let mut count = 0;
    group.iter().all(|work| {
        count += points_of(work).map_or(MOST + 1, |points| points.metrics.len());
        count <= MOST
    })
}

fn points_of(work: &Work) -> Option<Points<'_>> {
    let Work::Write { run, batch, event: None } = work else { return None };
    let Batch {
        status,
        ended_at,
        name,
        params,
        metrics,
        tags,
        removed_tags,
        datasets,
        model_inputs,
        model_outputs,
    } = batch;
    let only = status.is_none()
        && ended_at.is_none()
        && name.is_none()
        && params.is_empty()
        && tags.is_empty()
        && removed_tags.is_empty()
        && datasets.is_empty()
        && model_inputs.is_empty()
        && model_outputs.is_empty();
    let plain = !metrics.is_empty() && metrics.iter().all(|metric| metric.model_id.is_none());
    (only && plain).then_some(Points { run: *run, metrics })
}

/// Why a group was not written. Nothing of it was.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// Others were at work for longer than one waits.
    Locked,
    /// Whatever it was, another way to write will say it.
    Other,
}

impl From<rusqlite::Error> for Unwritten {
    fn from(error: rusqlite::Error) -> Self {
        let error = carried(error);
        if dialect::is_locked(&error) {
            return Self::Locked;
        }
        tracing::debug!(%error, "a group of points takes the long way");
        Self::Other
    }
}

impl From<Error> for Unwritten {
    fn from(_: Error) -> Self {
        Self::Other
    }
}

/// Writes such a group durably; gives an answer to each request.
pub(super) fn write(c: &mut Connection, group: &[Work]) -> Result<Answers, Unwritten> {
    let tx = c.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut runs = HashMap::new();
    let mut points = Vec::new();
    let mut answers = Vec::with_capacity(group.len());
    for Points { run, metrics } in group.iter().filter_map(points_of) {
        let known = match runs.entry(run) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(read_run(&tx, run)?),
        };
        let answer = writable(run, known.map(|(_, stage)| stage));
        if let (Ok(()), Some((row, _))) = (&answer, known) {
            points.extend(metrics.iter().map(|metric| Point::of(row, metric)));
        }
        answers.push(answer.map(|()| Answer::Done));
    }
    if !points.is_empty() {
        direct::put(&tx, points)?;
        tx.commit()?;
    }
    Ok(answers)
}

/// The row of a run and its stage, where it is there.
fn read_run(c: &Connection, run: RunId) -> Result<Option<(i64, Stage)>, Unwritten> {
    match direct::run(c, &run.to_string())? {
        Some((row, stage)) => Ok(Some((row, parse_stage("run", &stage)?))),
        None => Ok(None),
    }
}
