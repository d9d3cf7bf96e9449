//! Outcomes whose time has come, as an input of a rollout.
//!
//! Labels and business numbers may have a delay each; then each goes on by itself.
//! A request enters the judge when the declared delay has passed, with what was joined with it by then. How far requests were taken up
//! is part of the rollout's state and is written together with what the judge saw, so each enters once, whenever the server is killed.

use std::time::Duration;

use tidemill_core::{Digest, Timestamp};
use tidemill_deliver::judge::{Judge, Look, Traffic as Under};
use tidemill_deliver::outcome::{Answer, Epoch, Label, Measures, Row, observations};
use tidemill_deliver::rollout::{Input, LookAt, Matured, Plan, Ripened, State};
use tidemill_registry::Error;
use tidemill_serve::record::Reader;
use tidemill_serve::record::outcome::{Answered, Joined, Known, Stretch, joined};

use super::step::internal;
use super::traffic::arm_name;
use crate::App;

/// Outcomes that are held in memory at once.
const MOST: usize = 20_000;
/// Where nothing became due, so much is passed over at once, so that what comes later is late and not early.
const EMPTY: Duration = Duration::from_secs(60);

/// Outcomes that are taken up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All of them: they have one time.
    All,
    /// Labels and whatever else has the time of labels.
    Labels,
    /// Business numbers, which have a time of their own.
    Kpis,
}

/// What became due since the last time: outcomes, and business numbers where these have a time of their own.
pub(super) async fn mature(
    app: &App,
    plan: &Plan,
    state: &State,
    now: Timestamp,
) -> Result<Vec<Input>, Error> {
    let Some(measures) = &plan.measures else { return Ok(Vec::new()) };
    let parts: &[Part] =
        if measures.kpi_delay.is_some() { &[Part::Labels, Part::Kpis] } else { &[Part::All] };
    let mut inputs = Vec::new();
    for part in parts {
        inputs.extend(due(app, plan, state, *part, now).await?);
    }
    Ok(inputs)
}

async fn due(
    app: &App,
    plan: &Plan,
    state: &State,
    part: Part,
    now: Timestamp,
) -> Result<Option<Input>, Error> {
    let (Some(measures), Some(matured), Some(incumbent)) = (&plan.measures, state.matured(), plan.incumbent)
    else {
        return Ok(None);
    };
    let Some((reader, settle)) = app.serving().and_then(|serving| serving.records()) else {
        return Ok(None);
    };
    let labels = Ripened { until: matured.until, outcomes: matured.outcomes, late: matured.late };
    let (known, delay, name) = match part {
        Part::All => (labels, measures.delay, None),
        Part::Labels => (labels, measures.delay, Some(measures.label.as_str())),
        Part::Kpis => {
            // A rollout that began before the plan could say so has no place for it.
            let (Some(known), Some(delay)) = (matured.kpi, measures.kpi_delay) else { return Ok(None) };
            (known, delay, measures.kpi.as_deref())
        }
    };
    let ripe = back(now, delay + settle);
    if ripe <= known.until {
        return Ok(None);
    }
    let stretch = read(app, reader, plan, (known.until, ripe), name).await?;
    // A page that was full of other outcomes is passed over; else what comes late would be early.
    let is_short = stretch.until.since(known.until) < EMPTY.max(delay / 4);
    if stretch.outcomes == 0 && stretch.until >= ripe && is_short {
        return Ok(None);
    }
    let of = |release: Digest| {
        looks((release, state.judge_of(release)), (measures, part), matured, incumbent, &stretch.rows)
    };
    let (mut looks, mut of_each) = (Vec::new(), Vec::new());
    if plan.contest.is_none() {
        looks = of(plan.candidate);
    } else {
        for candidate in state.living(plan) {
            of_each.extend(of(candidate).into_iter().map(|look| LookAt { candidate, requests: 0, look }));
        }
    }
    let db = app.registry().db();
    let (began, end) = (next(matured.began), next(stretch.until));
    let joined = db.count_matched_outcomes(&plan.endpoint, name, began, end).await?;
    let late = joined.saturating_sub(known.outcomes + stretch.outcomes);
    let (until, outcomes) = (stretch.until, stretch.outcomes);
    Ok(Some(match part {
        Part::All | Part::Labels => Input::Outcomes { until, outcomes, late, looks, of_each },
        Part::Kpis => Input::Kpis { until, outcomes, late, looks, of_each },
    }))
}

async fn read(
    app: &App,
    reader: &Reader,
    plan: &Plan,
    between: (Timestamp, Timestamp),
    name: Option<&str>,
) -> Result<Stretch, Error> {
    let db = app.registry().db();
    let slices = plan.judge.as_ref().and_then(|judge| judge.slices.as_ref());
    let inputs = slices.map_or(&[][..], |slices| &slices.by);
    joined(db, reader, &plan.endpoint, between, (inputs, name), MOST)
        .await
        .map_err(|error| internal(&format!("outcomes of `{}` cannot be judged: {error}", plan.endpoint)))
}

/// One look for each table of traffic; requests of the moments in between say nothing.
fn looks(
    (candidate, judge): (Digest, Option<&Judge>),
    (measures, part): (&Measures, Part),
    matured: &Matured,
    incumbent: Digest,
    rows: &[Joined],
) -> Vec<Look> {
    let arms = [arm_name(candidate), arm_name(incumbent)];
    let of_epoch = |epoch: &Epoch| {
        let rows: Vec<Row> = rows
            .iter()
            .filter(|row| epoch.holds(row.at))
            .map(|row| about(part, row_of(row, measures, &arms)))
            .collect();
        let observations = observations(measures, epoch, candidate, incumbent, &rows, judge);
        let stratum = u32::try_from(epoch.revision).unwrap_or(u32::MAX);
        (!observations.is_empty()).then(|| Look {
            traffic: Under { stratum, share: epoch.share() },
            assigned: None,
            observations,
        })
    };
    matured.epochs.iter().filter_map(of_epoch).collect()
}

/// What a row says of outcomes that are taken up together.
fn about(part: Part, row: Row) -> Row {
    match part {
        Part::All => row,
        Part::Labels => Row { kpi: None, ..row },
        Part::Kpis => Row { label: None, ..row },
    }
}

fn row_of(joined: &Joined, measures: &Measures, [candidate, incumbent]: &[String; 2]) -> Row {
    let answer = |arm: &str| {
        let of = |answered: &Answered| Answer {
            score: answered.score,
            class: answered.class.clone(),
            decision: answered.decision,
        };
        joined.answers.iter().find(|answered| answered.arm == arm).map(of)
    };
    let (label, kpi) = known_of(joined, measures);
    let slices = joined.inputs.clone();
    Row { candidate: answer(candidate), incumbent: answer(incumbent), label, kpi, slices }
}

/// What became known of a row: the label and the business number.
pub(super) fn known_of(joined: &Joined, measures: &Measures) -> (Option<Label>, Option<f64>) {
    let outcome =
        |wanted: &str| joined.outcomes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let label = outcome(&measures.label).map(|value| match value {
        Known::Number(number) => Label::Number(*number),
        Known::Text(text) => Label::Text(text.clone()),
    });
    let kpi = measures.kpi.as_deref().and_then(outcome).and_then(|value| match value {
        Known::Number(number) => Some(*number),
        Known::Text(_) => None,
    });
    (label, kpi)
}

fn next(at: Timestamp) -> Timestamp {
    at.plus(Duration::from_millis(1))
}

pub(super) fn back(at: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.millis().saturating_sub(by))
}
