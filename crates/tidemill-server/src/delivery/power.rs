//! The gate of time: whether a plan can decide in the time that it has, by what recent requests were like.
//!
//! Reading a week of requests and playing a few hundred rollouts takes seconds, so it happens beside the driver's rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_core::Timestamp;
use tidemill_db::Db;
use tidemill_db::delivery::GateResult;
use tidemill_deliver::rollout::Plan;
use tidemill_deliver::simulate::{Adequacy, Otherwise, Power, Scene, adequacy};
use tidemill_serve::record::Reader;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::recent::{Asked, recent};
use crate::App;

/// How far back is looked.
const SINCE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What a gate found, and whether it stops the rollout.
pub(super) struct Said {
    pub(super) result: GateResult,
    pub(super) problem: Option<String>,
}

/// Plans that are being looked at, by rollout.
#[derive(Default)]
pub(super) struct Powers {
    running: BTreeMap<u64, Looking>,
}

/// A plan that is being looked at. Reading and playing block threads of their own, so they end when they are told to, as soon as this is
/// dropped.
struct Looking {
    handle: JoinHandle<Result<Adequacy, String>>,
    _stop: DropGuard,
}

impl Powers {
    /// Forgets rollouts that are over.
    pub(super) fn keep(&mut self, is_live: impl Fn(u64) -> bool) {
        self.running.retain(|rollout, _| is_live(*rollout));
    }

    /// What is known of a rollout by now; none where it is still being found out, and is to be asked for again.
    pub(super) async fn of(&mut self, app: &App, rollout: u64, plan: &Plan, power: Power) -> Option<Said> {
        let now = app.registry().clock().now();
        let Some((reader, _)) = app.serving().and_then(|serving| serving.records()) else {
            let why = "this server keeps no log of requests, so nothing is known of them".to_owned();
            return Some(said(power, Err(why), now));
        };
        let running = self.running.entry(rollout).or_insert_with(|| {
            let stop = CancellationToken::new();
            let (db, reader) = (app.registry().db().clone(), reader.clone());
            let handle = tokio::spawn(look(db, reader, plan.clone(), power, now, stop.clone()));
            Looking { handle, _stop: stop.drop_guard() }
        });
        if !running.handle.is_finished() {
            return None;
        }
        let Looking { handle, _stop } = self.running.remove(&rollout)?;
        let found = handle.await.unwrap_or_else(|error| Err(error.to_string()));
        Some(said(power, found, now))
    }
}

async fn look(
    db: Db,
    reader: Reader,
    plan: Plan,
    power: Power,
    now: Timestamp,
    stop: CancellationToken,
) -> Result<Adequacy, String> {
    let Some(judge) = plan.judge.clone() else { return Err("nothing decides in this plan".to_owned()) };
    let asked = Asked {
        endpoint: &plan.endpoint,
        measures: plan.measures.as_ref(),
        incumbent: plan.incumbent,
        slices: judge.slices.as_ref(),
        until: now,
        since: SINCE,
    };
    let goes_on = move || !stop.is_cancelled();
    let seen = recent(&db, &reader, &asked, goes_on.clone()).await.map_err(|error| error.to_string())?;
    let scene = Scene {
        stages: plan.stages,
        sources: seen.known.sources(&judge),
        slices: seen.slices,
        judge,
        candidates: plan.contest.map_or(1, |contest| contest.candidates.len()),
        pace: seen.pace,
        round: Duration::from_secs(1),
        horizon: power.decide_within,
    };
    tokio::task::spawn_blocking(move || adequacy(&scene, power, &goes_on).map_err(|error| error.to_string()))
        .await
        .map_err(|error| error.to_string())?
}

fn said(power: Power, found: Result<Adequacy, String>, at: Timestamp) -> Said {
    let (is_enough, words) = match found {
        Ok(found) => (found.is_enough, found.words),
        Err(why) => (false, format!("it cannot be told whether this plan can decide in time: {why}")),
    };
    let refuses = !is_enough && power.otherwise == Otherwise::Refuse;
    let detail = if is_enough || refuses { words.clone() } else { format!("warning: {words}") };
    let result = GateResult { gate: "power".to_owned(), passed: !refuses, detail, evidence: None, at };
    Said { result, problem: refuses.then_some(words) }
}
