//! The world around the product: flights that depart, land and are asked about, and a calendar.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use tidemill_core::declare::Costs;
use tidemill_core::{Progress as _, Timestamp, Unit};
use tidemill_db::delivery::RolloutFilter;
use tidemill_deliver::outcome::PAIRED_COST;
use tidemill_deliver::rollout::Concurrency;
use tidemill_registry::{LoggedModelSearch, Registry, VersionRequest};
use tidemill_server::delivery::{release, state_of};
use tidemill_train::metric::calibrated_threshold;

use super::clock::Replayed;
use super::flights::{Flights, scores};
use super::month_begin;
use super::report::{Ended, Told};
use super::tally::Policy;
use crate::app::App;
use crate::cli::{Global, Run};
use crate::command::up::Stepped;
use crate::command::{predict, release as released, run};
use crate::failure::Failure;
use crate::home::Home;
use crate::output::{Bar, Console};

const MODEL: &str = "flights-late";
/// Requests that wait for an answer at the same time.
const AT_ONCE: usize = 8;
/// The month before the replay.
const FIRST: usize = 4;
/// The delay with which the flight itself arrives in the place of that of its airport two hours before: a join on the wrong key. On the
/// rows of its training such a model looks better than any other.
const MISJOINED: &str = "least(f.arr_delay, 60)";

/// What the replay needs.
pub(super) struct World<'a> {
    pub(super) app: &'a App<'a>,
    pub(super) quiet: &'a Global,
    pub(super) clock: &'a Arc<Replayed>,
    pub(super) console: &'a Console,
    pub(super) bar: &'a Bar,
    pub(super) share: u32,
}

/// A version that was released, and why.
struct Sent {
    rollout: u64,
    version: u64,
    month: usize,
    is_harmful: bool,
    at: Timestamp,
}

impl World<'_> {
    /// The year.
    pub(super) fn run(&self, months: usize) -> anyhow::Result<(Told, Stepped)> {
        let app = self.app;
        let objective = app.project.objective.as_ref().context("the project names no objective")?;
        let costs = objective.costs.clone().context("the objective names no costs")?;
        let threshold = calibrated_threshold(&costs).context("the costs give no threshold")?;
        let registry = Registry::new(app.db()?.clone(), app.store()?.clone(), Arc::clone(&app.clock));
        let end = FIRST + months;
        self.say("training on January to March");
        let to = date(end);
        self.train(
            &["replay", "train"],
            &[format!("replay.to={to}"), format!("replay.share={}", self.share)],
            4,
        )?;
        let flights = Flights::read(&app.root.join("replay.parquet"), &app.root.join("model"))?;
        let all = 0..flights.late.len();
        let never = self.score(&flights, &all)?;
        let home = Home {
            dir: app.inside(""),
            store: app.inside("store"),
            database: crate::app::utf8(&app.inside("tidemill.db"))?.to_owned(),
            project: Some(app.root.clone()),
            named_database: None,
            records: None,
            watched: None,
            about: None,
        };
        let server = app.block(Stepped::start(registry.clone(), &home))?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        app.block(registry.create_model(&app.actor, MODEL, &[], None)).map_err(said)?;
        let mut replay = Replay {
            world: self,
            registry,
            flights: &flights,
            url: server.url(),
            server,
            client,
            costs,
            threshold,
            asked: 0,
            shadowed: 0,
            failed: 0,
            told: 0,
            landing: Vec::new(),
            sent: Vec::new(),
            policies: [
                Policy::new("Tidemill", months),
                Policy::new("never retrain", months),
                Policy::new("retrain monthly, swap blindly", months),
            ],
            blind: never.clone(),
            never,
        };
        replay.release(FIRST, false, Concurrency::Queue)?;
        for month in FIRST..end {
            if month > FIRST {
                self.say(&format!("retraining for {}", name(month)));
                self.train(&["train"], &[], month)?;
                let rows = flights.between(month_begin(month), month_begin(month + 1));
                let fresh = self.score(&flights, &rows)?;
                replay.blind[rows].copy_from_slice(&fresh);
                replay.release(month, false, Concurrency::Supersede)?;
            }
            replay.month(month, month == FIRST + months / 2)?;
        }
        let told = replay.tell()?;
        Ok((told, replay.server))
    }

    fn say(&self, what: &str) {
        if !self.console.shows_progress() {
            self.console.note(what);
        }
        self.bar.begin(what, None, Unit::Items);
    }

    /// Runs steps of the pipeline for a training on the three months before `month`.
    fn train(&self, steps: &[&str], params: &[String], month: usize) -> anyhow::Result<()> {
        let mut params = params.to_vec();
        params.extend([
            format!("features.from={}", date(month - 3)),
            format!("features.to={}", date(month)),
            format!("features.share={}", self.share),
        ]);
        let args = Run {
            steps: steps.iter().map(|step| (*step).to_owned()).collect(),
            downstream: false,
            dry_run: false,
            force: false,
            jobs: None,
            params,
            sweep: Vec::new(),
            keep_going: false,
            wait: false,
            no_tests: true,
        };
        let resolved = self.app.resolve(&args.params)?;
        let done = run::once(&args, self.app, &resolved)?;
        self.go_on()?;
        if !done.good() {
            return Err(Failure::new("the pipeline of the demo failed")
                .hint("`tidemill demo --dir DIR` keeps its folder; look at `tidemill status -C DIR`")
                .into());
        }
        Ok(())
    }

    /// What the model that was just trained says of flights.
    fn score(&self, flights: &Flights, rows: &Range<usize>) -> anyhow::Result<Vec<f64>> {
        let folder = self.app.inside("tmp");
        fs_err::create_dir_all(&folder)?;
        let (input, output) = (folder.join("demo-rows.parquet"), folder.join("demo-scores.parquet"));
        flights.write(rows, &input)?;
        let task = predict::Predict {
            model: crate::app::utf8(&self.app.root.join("model"))?.to_owned(),
            input,
            output: output.clone(),
            keep: Some(vec!["known_after".to_owned()]),
            columns: None,
            jobs: None,
            python: None,
            onnxruntime: None,
        };
        predict::score(&task, self.quiet, self.app.console, &self.app.cancel)?;
        scores(&output)
    }

    fn go_on(&self) -> anyhow::Result<()> {
        if self.app.cancel.is_cancelled() { Err(Failure::cancelled().into()) } else { Ok(()) }
    }
}

/// The replay while it goes on.
struct Replay<'a> {
    world: &'a World<'a>,
    registry: Registry,
    flights: &'a Flights,
    url: String,
    server: Stepped,
    client: reqwest::Client,
    costs: Costs,
    threshold: f64,
    asked: u64,
    shadowed: u64,
    failed: u64,
    /// Outcomes that were sent.
    told: u64,
    /// Flights in the air: when they land, and which.
    landing: Vec<(Timestamp, usize)>,
    sent: Vec<Sent>,
    policies: [Policy; 3],
    blind: Vec<f64>,
    never: Vec<f64>,
}

impl Replay<'_> {
    /// One month, hour by hour.
    fn month(&mut self, month: usize, is_harmful: bool) -> anyhow::Result<()> {
        let rows = self.flights.between(month_begin(month), month_begin(month + 1));
        self.world.say(&format!("{}, hour by hour", name(month)));
        self.world.bar.begin(&format!("{}, hour by hour", name(month)), Some(rows.len() as u64), Unit::Rows);
        let (mut at, mut day, mut days) = (rows.start, None, 0);
        while at < rows.end {
            self.world.go_on()?;
            let hour = self.flights.hours[at];
            let today = hour.millis().div_euclid(DAY);
            if day.replace(today).is_some_and(|before| before != today) {
                days += 1;
                self.world.clock.set(Timestamp::from_millis(today * DAY));
                self.look()?;
                if is_harmful && days == HARM {
                    self.harm(month)?;
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
                for (policy, score) in [(0, score), (1, Some(self.never[row])), (2, Some(self.blind[row]))] {
                    // Whoever gets no answer rings nobody.
                    let score = score.unwrap_or(0.0);
                    self.policies[policy].months[place].take(&self.costs, self.threshold, score, late);
                }
            }
            self.world.bar.advance(departing.len() as u64);
            at = departing.end;
        }
        self.world.clock.set(month_begin(month + 1));
        self.look()
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
        if self.is_shadowed().await? {
            self.shadowed += asked;
        }
        Ok(answers)
    }

    /// Whether a candidate is shown copies now.
    async fn is_shadowed(&self) -> anyhow::Result<bool> {
        let rollouts = self.registry.db().rollouts(&live(), 10).await?;
        Ok(rollouts.iter().any(|rollout| rollout.phase == "shadow" && !rollout.is_waiting))
    }

    /// Tells what has landed, and lets the server look at everything.
    fn look(&mut self) -> anyhow::Result<()> {
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
        app.block(self.server.step(MODEL, self.asked + self.shadowed))
    }

    /// A version of somebody who was in a hurry: the join has the wrong key. The candidate that it pushes aside waits for it.
    fn harm(&mut self, month: usize) -> anyhow::Result<()> {
        let live = self.world.app.block(self.registry.db().rollouts(&live(), 10))?;
        let pushed = self.sent.iter().rev().find(|sent| live.iter().any(|live| live.id == sent.rollout));
        let pushed = pushed.map(|sent| (sent.version, sent.month));
        self.world.say("a release with a mis-joined feature");
        self.world.train(&["train"], &[format!("features.earlier={MISJOINED}")], month)?;
        self.release(month, true, Concurrency::Supersede)?;
        if let Some((version, month)) = pushed {
            self.begin(version, month, false, Concurrency::Queue)?;
        }
        Ok(())
    }

    /// Registers the model that was just trained and releases it.
    fn release(&mut self, month: usize, is_harmful: bool, concurrency: Concurrency) -> anyhow::Result<()> {
        let app = self.world.app;
        let version = app.block(async {
            let experiment = self.registry.experiment_by_name(app.project.project.as_str()).await?;
            let search = LoggedModelSearch {
                experiments: vec![experiment.id.to_string()],
                limit: Some(1),
                ..LoggedModelSearch::default()
            };
            let found = self.registry.search_logged_models(&search).await?;
            let Some(model) = found.items.into_iter().next() else { return Ok(None) };
            let request = VersionRequest {
                model: MODEL.to_owned(),
                source: format!("models:/{}", model.id),
                run: model.source_run.clone(),
                logged_model: Some(model.id.clone()),
                ..VersionRequest::default()
            };
            self.registry.create_version(&app.actor, request).await.map(|version| Some(version.version))
        });
        let version = version.map_err(said)?.context("the training left no model")?;
        self.begin(version, month, is_harmful, concurrency)
    }

    fn begin(
        &mut self,
        version: u64,
        month: usize,
        is_harmful: bool,
        concurrency: Concurrency,
    ) -> anyhow::Result<()> {
        let app = self.world.app;
        let wanted = released::wanted(app, MODEL, version, "prod", None, concurrency)?;
        let placed = app.block(release(app.db()?, app.clock.as_ref(), &app.actor, &wanted)).map_err(said)?;
        let at = app.clock.now();
        self.sent.push(Sent { rollout: placed.rollout, version, month, is_harmful, at });
        app.block(self.server.step(MODEL, self.asked + self.shadowed))
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
            ended.push(Ended {
                version: sent.version,
                trained_for: name(sent.month),
                is_harmful: sent.is_harmful,
                began: day(sent.at),
                phase: if rollout.is_waiting { "waiting".to_owned() } else { rollout.phase.clone() },
                ended: rollout.is_over.then(|| day(rollout.updated_at)),
                compared: judged.as_ref().map_or(0, |metric| metric.candidate),
                dearer: judged.and_then(|metric| metric.harm),
            });
        }
        Ok(Told {
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

const DAY: i64 = 86_400_000;
/// Days into its month at which the harmful release comes.
const HARM: u32 = 3;

fn live() -> RolloutFilter {
    RolloutFilter { endpoint: Some(MODEL.to_owned()), is_live: true, ..RolloutFilter::default() }
}

fn said(error: tidemill_registry::Error) -> anyhow::Error {
    Failure::new(error.to_string()).into()
}

/// `2013-05-01`.
fn date(month: usize) -> String {
    day(month_begin(month))
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// The name of a month.
pub(super) fn name(month: usize) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    NAMES[(month - 1) % 12]
}
