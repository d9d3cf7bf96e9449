//! The replay: flights that depart, are asked about and land, and what people and triggers do meanwhile.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use tidemill_core::declare::Costs;
use tidemill_core::{Actor, EventKind, Progress as _, Timestamp, Unit};
use tidemill_db::EventFilter;
use tidemill_db::delivery::{Rollout, RolloutFilter};
use tidemill_db::monitoring::AlertFilter;
use tidemill_deliver::outcome::PAIRED_COST;
use tidemill_deliver::rollout::Concurrency;
use tidemill_registry::Registry;
use tidemill_server::delivery::{release_after, state_of};
use tokio_util::sync::CancellationToken;

use super::flights::Flights;
use super::report::{Alarm, Ended, Envelope, Told};
use super::tally::Policy;
use super::trainer::{Trained, Trainer, train};
use super::world::{FIRST, MODEL, World};
use super::{DAY, date, month_begin, name};
use crate::command::release as released;
use crate::command::up::Stepped;
use crate::failure::Failure;

/// Requests that wait for an answer at the same time.
const AT_ONCE: usize = 8;
/// Days into its month at which the harmful release comes.
const HARM: u32 = 3;
/// So many days a candidate has for its proof before the next one takes its place; before that the next one waits.
const PATIENCE: i64 = 14;
/// The delay with which the flight itself arrives in the place of that of its airport two hours before: a join on the wrong key. On the
/// rows of its training such a model looks better than any other.
const MISJOINED: &str = "least(f.arr_delay, 60)";
/// Alerts that are told.
const ALERTS: usize = 1_000;

/// A version that was released, and why.
struct Sent {
    rollout: u64,
    version: u64,
    origin: Origin,
    at: Timestamp,
    /// The event that it is a consequence of, where a trigger released it.
    cause: Option<u64>,
}

/// How a version came about.
#[derive(Clone)]
struct Origin {
    /// It learned from the ninety days before.
    until: Timestamp,
    why: Why,
}

#[derive(Clone)]
enum Why {
    First,
    /// Somebody mis-joined a feature.
    Harm,
    /// A trigger acted on the alert of this monitor.
    Alert(String),
}

/// The replay while it goes on.
pub(super) struct Replay<'a> {
    world: &'a World<'a>,
    registry: Registry,
    flights: &'a Flights,
    url: String,
    server: Stepped,
    trainer: Arc<Trainer>,
    stop: CancellationToken,
    client: reqwest::Client,
    costs: Costs,
    threshold: f64,
    asked: u64,
    shadowed: u64,
    /// Whether a candidate is shown copies.
    is_shadowed: bool,
    failed: u64,
    /// Outcomes that were sent.
    told: u64,
    /// Flights in the air: when they land, and which.
    landing: Vec<(Timestamp, usize)>,
    sent: Vec<Sent>,
    policies: [Policy; 4],
    /// What the models say of each flight that the others would have.
    never: Vec<f64>,
    monthly: Vec<f64>,
    blind: Vec<f64>,
}

impl<'a> Replay<'a> {
    /// With the release of the model that was just trained: its version, and its scores.
    pub(super) fn begin(
        world: &'a World<'a>,
        registry: Registry,
        flights: &'a Flights,
        server: Stepped,
        trainer: Arc<Trainer>,
        (costs, threshold): (Costs, f64),
        (first, never): (u64, Vec<f64>),
    ) -> anyhow::Result<Self> {
        let months = flights.months(FIRST);
        let mut replay = Self {
            world,
            registry,
            flights,
            url: server.url(),
            server,
            trainer,
            stop: CancellationToken::new(),
            client: reqwest::Client::builder().no_proxy().build()?,
            costs,
            threshold,
            asked: 0,
            shadowed: 0,
            is_shadowed: false,
            failed: 0,
            told: 0,
            landing: Vec::new(),
            sent: Vec::new(),
            policies: [
                Policy::new("Tidemill", months),
                Policy::new("never retrain", months),
                Policy::new("retrain monthly, swap blindly", months),
                Policy::new("retrain as Tidemill, swap blindly", months),
            ],
            monthly: never.clone(),
            blind: never.clone(),
            never,
        };
        let app = world.app;
        let origin = Origin { until: month_begin(FIRST), why: Why::First };
        replay.send(first, origin, Concurrency::Queue, None)?;
        let watched = crate::monitors::declaration(&app.project, MODEL);
        let declared =
            tidemill_server::monitoring::declare(app.db()?, app.clock.as_ref(), &app.actor, &watched);
        app.block(declared).map_err(said)?;
        Ok(replay)
    }

    /// One month, hour by hour.
    pub(super) fn month(&mut self, month: usize, is_harmful: bool) -> anyhow::Result<()> {
        let rows = self.flights.between(month_begin(month), month_begin(month + 1));
        let title = format!("{}, hour by hour", name(month));
        self.world.say(&title);
        self.world.bar.begin(&title, Some(rows.len() as u64), Unit::Rows);
        let (mut at, mut day, mut days) = (rows.start, None, 0);
        while at < rows.end {
            self.world.go_on()?;
            let hour = self.flights.hours[at];
            let today = hour.millis().div_euclid(DAY);
            if day.replace(today).is_some_and(|before| before != today) {
                days += 1;
                self.world.clock.set(Timestamp::from_millis(today * DAY));
                let mut is_other = self.look()?;
                if is_harmful && days == HARM {
                    self.harm()?;
                    is_other = true;
                }
                if is_other {
                    self.world.bar.begin(&title, Some((rows.end - at) as u64), Unit::Rows);
                }
            }
            self.world.clock.set(hour);
            let departing =
                at..at + self.flights.hours[at..rows.end].iter().take_while(|one| **one == hour).count();
            let answers = self.world.app.block(self.ask(departing.clone()))?;
            for (row, score) in departing.clone().zip(answers) {
                self.landing.push((self.flights.known[row], row));
                let late = self.flights.late[row];
                let place = month - FIRST;
                // Whoever gets no answer rings nobody.
                let scores = [score.unwrap_or(0.0), self.never[row], self.monthly[row], self.blind[row]];
                for (policy, score) in scores.into_iter().enumerate() {
                    self.policies[policy].months[place].take(&self.costs, self.threshold, score, late);
                }
            }
            self.world.bar.advance(departing.len() as u64);
            at = departing.end;
        }
        self.world.clock.set(month_begin(month + 1));
        self.look().map(drop)
    }

    /// Asks about flights; a score for each that was answered.
    async fn ask(&mut self, rows: Range<usize>) -> anyhow::Result<Vec<Option<f64>>> {
        let url = format!("{}/v2/models/{MODEL}/infer", self.url);
        let (client, flights) = (&self.client, self.flights);
        let asked = rows.len() as u64;
        let answers: Vec<Option<f64>> = stream::iter(rows)
            .map(|row| {
                let request = client.post(&url).header("content-type", "application/json");
                let request = request.body(flights.request(row));
                async move {
                    let answer = request.send().await.ok()?.error_for_status().ok()?;
                    let answer: serde_json::Value = answer.json().await.ok()?;
                    let outputs = answer["outputs"].as_array()?;
                    let scores = outputs.iter().find(|output| output["name"] == "probabilities")?;
                    scores["data"].as_array()?.last()?.as_f64()
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let failed = answers.iter().filter(|answer| answer.is_none()).count() as u64;
        self.asked += asked;
        self.failed += failed;
        if self.is_shadowed {
            self.shadowed += asked;
        }
        Ok(answers)
    }

    /// Lets the server take everything on. Nobody else moves rollouts here, so whether a candidate is shown copies is known until the
    /// next time.
    fn step(&mut self) -> anyhow::Result<()> {
        let app = self.world.app;
        app.block(self.server.step(MODEL, self.asked + self.shadowed))?;
        let live = self.live()?;
        self.is_shadowed = live.iter().any(|rollout| rollout.phase == "shadow" && !rollout.is_waiting);
        Ok(())
    }

    /// Tells what has landed, and lets the server look at everything; gives whether something was trained.
    fn look(&mut self) -> anyhow::Result<bool> {
        let now = self.world.app.clock.now();
        let (landed, flying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.landing).into_iter().partition(|(at, _)| *at <= now);
        self.landing = flying;
        let app = self.world.app;
        if !landed.is_empty() {
            let lines: String = landed
                .iter()
                .map(|(at, row)| {
                    let (id, late) = (self.flights.ids.value(*row), u8::from(self.flights.late[*row]));
                    format!(
                        "{}\n",
                        serde_json::json!({"request_id": id, "time": at.to_string(), "late": late})
                    )
                })
                .collect();
            let url = format!("{}/api/v1/endpoints/{MODEL}/outcomes", self.url);
            let sent = self.client.post(url).header("content-type", "application/jsonl").body(lines).send();
            let answer = app.block(async { sent.await?.error_for_status()?.text().await });
            answer.context("the server did not take outcomes")?;
            self.told += landed.len() as u64;
        }
        self.step()?;
        app.block(self.server.watch(&self.stop))?;
        let trained = self.trainer.trained();
        let is_any = !trained.is_empty();
        for one in trained {
            self.retrained(one)?;
        }
        Ok(is_any)
    }

    /// A trigger had a model trained. It is released, as a program of the project would do after the training.
    fn retrained(&mut self, Trained { cause, watch, version }: Trained) -> anyhow::Result<()> {
        let now = self.world.app.clock.now();
        self.world.say(&format!("{}: an alert of `{watch}`, and a retraining by its trigger", date(now)));
        let later = self.flights.from(now);
        let fresh = self.world.score(self.flights, &later)?;
        self.blind[later].copy_from_slice(&fresh);
        let is_new = |sent: &Sent| now.since(sent.at).as_millis() < (PATIENCE * DAY).unsigned_abs().into();
        let is_early = self.under_way()?.into_iter().any(is_new);
        let concurrency = if is_early { Concurrency::Queue } else { Concurrency::Supersede };
        self.send(version, Origin { until: now, why: Why::Alert(watch) }, concurrency, Some(cause))
    }

    /// Whoever trains by the calendar has other answers from now on.
    pub(super) fn swap(&mut self, rows: Range<usize>, scores: &[f64]) {
        self.monthly[rows].copy_from_slice(scores);
    }

    /// Rollouts that are on their way.
    fn live(&self) -> anyhow::Result<Vec<Rollout>> {
        let filter =
            RolloutFilter { endpoint: Some(MODEL.to_owned()), is_live: true, ..RolloutFilter::default() };
        Ok(self.world.app.block(self.registry.db().rollouts(&filter, 10))?)
    }

    /// What was sent and is on its way still, oldest first.
    fn under_way(&self) -> anyhow::Result<Vec<&Sent>> {
        let live = self.live()?;
        Ok(self.sent.iter().filter(|sent| live.iter().any(|live| live.id == sent.rollout)).collect())
    }

    /// A version of somebody who was in a hurry: the join has the wrong key. The candidate that it pushes aside waits for it.
    fn harm(&mut self) -> anyhow::Result<()> {
        let (app, until) = (self.world.app, self.world.app.clock.now());
        let pushed = self.under_way()?.last().map(|sent| (sent.version, sent.origin.clone(), sent.cause));
        self.world.say(&format!("{}: a release with a mis-joined feature", date(until)));
        let wrong = [format!("features.earlier={MISJOINED}")];
        let version = train(app, &["train"], &wrong, until, self.world.share)?;
        self.send(version, Origin { until, why: Why::Harm }, Concurrency::Supersede, None)?;
        if let Some((version, origin, cause)) = pushed {
            self.send(version, origin, Concurrency::Queue, cause)?;
        }
        Ok(())
    }

    /// Releases a version, as a consequence of the event `cause`.
    fn send(
        &mut self,
        version: u64,
        origin: Origin,
        concurrency: Concurrency,
        cause: Option<u64>,
    ) -> anyhow::Result<()> {
        let app = self.world.app;
        let mut wanted = released::wanted(app, MODEL, version, "prod", None, concurrency)?;
        released::describe(app, &mut wanted)?;
        if cause.is_some() {
            // Nobody has looked at what a trigger releases.
            wanted.envelope.clone_from(&wanted.declared_envelope);
        }
        let actor = if cause.is_some() { Actor::system("trigger") } else { app.actor.clone() };
        let placed = release_after(app.db()?, app.clock.as_ref(), &actor, cause, &wanted);
        let placed = app.block(placed).map_err(said)?;
        let at = app.clock.now();
        self.sent.push(Sent { rollout: placed.rollout, version, origin, at, cause });
        self.step()
    }

    /// The end of the year: what came of everything, the server, and who trains, as long as it runs.
    pub(super) fn end(self) -> anyhow::Result<(Told, Stepped, Arc<Trainer>)> {
        Ok((self.tell()?, self.server, self.trainer))
    }

    /// The alerts that fired, with what they said then.
    fn alerts(&self) -> anyhow::Result<Vec<Alarm>> {
        let (app, db) = (self.world.app, self.registry.db());
        let filter = AlertFilter { endpoint: Some(MODEL.to_owned()), ..AlertFilter::default() };
        let stored = app.block(db.alerts(&filter, ALERTS))?;
        let fired = EventFilter { kind: Some("alert.firing".to_owned()), ..EventFilter::default() };
        let alarm = |event: tidemill_core::Event| match event.kind {
            EventKind::AlertFiring { alert, watch, until, why, .. } => {
                let ended =
                    stored.iter().find(|stored| stored.id == alert).and_then(|stored| stored.ended_at);
                Some(Alarm { monitor: watch, fired: date(until), why, ended: ended.map(date) })
            }
            _ => None,
        };
        let mut events = app.block(db.events(&fired))?;
        events.sort_unstable_by_key(|event| event.seq);
        Ok(events.into_iter().filter_map(alarm).collect())
    }

    /// What came of everything.
    fn tell(&self) -> anyhow::Result<Told> {
        let app = self.world.app;
        let mut ended = Vec::new();
        for sent in &self.sent {
            let rollout =
                app.block(self.registry.db().rollout(sent.rollout))?.context("a rollout is gone")?;
            let judge =
                state_of(&rollout).map_err(said)?.judge().map(|judge| judge.view()).unwrap_or_default();
            let judged = judge.into_iter().find(|metric| metric.metric == PAIRED_COST);
            // What waited for another rollout was looked at once more when it began; the newest word counts.
            let gates = app.block(self.registry.db().gate_results(sent.rollout))?;
            let gate = gates.into_iter().rfind(|gate| gate.gate == "envelope");
            ended.push(Ended {
                version: sent.version,
                trained_until: date(sent.origin.until),
                why: match &sent.origin.why {
                    Why::First => "the first".to_owned(),
                    Why::Harm => "mis-joined by somebody".to_owned(),
                    Why::Alert(watch) => format!("alert of {watch}"),
                },
                is_harmful: matches!(sent.origin.why, Why::Harm),
                began: date(sent.at),
                phase: if rollout.is_waiting { "waiting".to_owned() } else { rollout.phase.clone() },
                ended: rollout.is_over.then(|| date(rollout.updated_at)),
                compared: judged.as_ref().map_or(0, |metric| metric.candidate),
                dearer: judged.and_then(|metric| metric.harm),
                envelope: gate.map(|gate| Envelope { inside: gate.passed, why: gate.detail }),
            });
        }
        let alerts = self.alerts()?;
        Ok(Told {
            alerts,
            currency: self.costs.currency.clone().unwrap_or_default(),
            asked: self.asked,
            failed: self.failed,
            outcomes: self.told,
            rollouts: ended,
            policies: self.policies.to_vec(),
            first: FIRST,
        })
    }
}

pub(super) fn said(error: tidemill_registry::Error) -> anyhow::Error {
    Failure::new(error.to_string()).into()
}
