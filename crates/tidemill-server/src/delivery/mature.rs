//! Outcomes whose time has come, as an input of a rollout.
//!
//! A request enters the judge when the declared delay has passed, with what was joined with it by then. How far requests were taken up
//! is part of the rollout's state and is written together with what the judge saw, so each enters once, whenever the server is killed.

use std::time::Duration;

use tidemill_core::{Digest, Timestamp};
use tidemill_deliver::judge::{Judge, Look, Traffic as Under};
use tidemill_deliver::outcome::{Answer, Epoch, Label, Measures, Row, observations};
use tidemill_deliver::rollout::{Input, LookAt, Matured, Plan, State};
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

/// What became due since the last time; nothing where nothing did.
pub(super) async fn mature(
    app: &App,
    plan: &Plan,
    state: &State,
    now: Timestamp,
) -> Result<Option<Input>, Error> {
    let (Some(measures), Some(matured), Some(incumbent)) = (&plan.measures, state.matured(), plan.incumbent)
    else {
        return Ok(None);
    };
    let Some((reader, settle)) = app.serving().and_then(|serving| serving.records()) else {
        return Ok(None);
    };
    let ripe = back(now, measures.delay + settle);
    if ripe <= matured.until {
        return Ok(None);
    }
    let stretch = read(app, reader, plan, matured, ripe).await?;
    if stretch.outcomes == 0 && stretch.until.since(matured.until) < EMPTY.max(measures.delay / 4) {
        return Ok(None);
    }
    let of = |release: Digest| {
        looks((release, state.judge_of(release)), measures, matured, incumbent, &stretch.rows)
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
    let joined = db.count_matched_outcomes(&plan.endpoint, next(matured.began), next(stretch.until)).await?;
    let late = joined.saturating_sub(matured.outcomes + stretch.outcomes);
    Ok(Some(Input::Outcomes { until: stretch.until, outcomes: stretch.outcomes, late, looks, of_each }))
}

async fn read(
    app: &App,
    reader: &Reader,
    plan: &Plan,
    matured: &Matured,
    ripe: Timestamp,
) -> Result<Stretch, Error> {
    let db = app.registry().db();
    let slices = plan.judge.as_ref().and_then(|judge| judge.slices.as_ref());
    let inputs = slices.map_or(&[][..], |slices| &slices.by);
    joined(db, reader, &plan.endpoint, (matured.until, ripe), inputs, MOST)
        .await
        .map_err(|error| internal(&format!("outcomes of `{}` cannot be judged: {error}", plan.endpoint)))
}

/// One look for each table of traffic; requests of the moments in between say nothing.
fn looks(
    (candidate, judge): (Digest, Option<&Judge>),
    measures: &Measures,
    matured: &Matured,
    incumbent: Digest,
    rows: &[Joined],
) -> Vec<Look> {
    let arms = [arm_name(candidate), arm_name(incumbent)];
    let of_epoch = |epoch: &Epoch| {
        let rows: Vec<Row> =
            rows.iter().filter(|row| epoch.holds(row.at)).map(|row| row_of(row, measures, &arms)).collect();
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

fn row_of(joined: &Joined, measures: &Measures, [candidate, incumbent]: &[String; 2]) -> Row {
    let answer = |arm: &str| {
        let of = |answered: &Answered| Answer { score: answered.score, class: answered.class.clone() };
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
