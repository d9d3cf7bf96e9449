//! `tidemill rollout simulate`: what the plan of an environment will do on traffic like that of the last days.

mod assume;
mod candidates;
mod print;

use std::time::Duration;

use clap::Args;
use tidemill_core::{Progress as _, Unit};
use tidemill_deliver::judge::{ERRORS, Metric, REFUSALS, Slice, Spec};
use tidemill_deliver::outcome::Measures;
use tidemill_deliver::release::Release;
use tidemill_deliver::rollout::Stage;
use tidemill_deliver::simulate::{Column, Known, Pace, Scene, SimulateError, Source, Summary, simulate};
use tidemill_project::{Period, Share};
use tidemill_serve::record::Reader;
use tidemill_server::delivery::{Asked, Recent, recent};

use self::assume::Assumption;
use self::candidates::{Candidate, Wanted};
use crate::app::App;
use crate::failure::Failure;

/// Plays the rollout of an environment many times, with its own judge, on requests drawn anew from those of the last days:
/// how often a healthy candidate is rolled back, how often a harmful one passes, and how long it takes. Changes nothing,
/// and needs no server; with `--traffic` and `--assume` it needs no requests either.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The environment; the last one of the project file where not given
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Option<String>,
    /// Draw from requests of so long
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: Period,
    /// Reckon with so many requests instead: `120/h`, `2/s`, `3000/d`
    #[arg(long, value_name = "RATE", value_parser = assume::traffic)]
    traffic: Option<f64>,
    /// Reckon with these figures instead of what was seen: `errors=0.02` and `latency=0.05` (parts of requests that fail or
    /// are slow), `cost=8.5` or `cost=8.5:30` (mean, and standard deviation), `quality=…`, `kpi=…`, `outcomes=0.8` (outcomes
    /// per request), `disagreement=0.1` (part of requests that a candidate answers differently)
    #[arg(long, value_name = "NAME=FIGURE,…", value_delimiter = ',', value_parser = assume::assumption)]
    assume: Vec<Assumption>,
    /// Play this harm instead of a list of them: `errors=2x`, `latency=5%` (of the incumbent's), `cost=0.5` (in the metric's
    /// own unit), `errors=3x@origin=LGA` (in one slice alone); may be given several times
    #[arg(long, value_name = "METRIC=AMOUNT", value_parser = candidates::wanted)]
    harm: Vec<Wanted>,
    /// Reckon with so many requests of a slice instead of what was seen of its input: `origin=LGA:30%`; may be given several times
    #[arg(long, value_name = "INPUT=VALUE:SHARE", value_parser = candidates::part)]
    slice: Vec<(Slice, f64)>,
    /// Give the candidate this share in every canary stage instead of its own
    #[arg(long, value_name = "SHARE")]
    share: Option<Share>,
    /// Play one of so many candidates that are tried at the same time: its judge has its part of the error budget, and the
    /// others take requests from the incumbent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=8))]
    candidates: u64,
    /// Rollouts of each candidate
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..=100_000))]
    repetitions: u64,
    /// The same seed gives the same figures
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Give a rollout up after so long
    #[arg(long, value_name = "TIME", default_value = "30d")]
    horizon: Period,
}

/// Everything that was played, and what came of it.
struct Played {
    environment: String,
    endpoint: String,
    scene: Scene,
    known: Known,
    recent: Option<Recent>,
    results: Vec<(Candidate, Summary)>,
}

pub(super) fn run(args: &Simulate, app: &App<'_>) -> anyhow::Result<()> {
    let plan = Plan::of(args, app)?;
    let is_known = args.traffic.is_some() && assume::covers(&args.assume, &plan.judge);
    let recent = if is_known { None } else { Some(read(args, app, &plan)?) };
    let mut known = recent.as_ref().map_or_else(Known::default, |recent| recent.known.clone());
    known.delay = plan.measures.as_ref().map_or(0.0, |measures| measures.delay.as_secs_f64() / 3_600.0);
    known.kpi_delay =
        plan.measures.as_ref().and_then(|measures| Some(measures.kpi_delay?.as_secs_f64() / 3_600.0));
    for assumption in &args.assume {
        assumption.apply(&mut known, &plan.judge)?;
    }
    let pace = match (args.traffic, &recent) {
        (Some(an_hour), _) => Pace::constant(an_hour),
        (None, Some(recent)) => recent.pace.clone(),
        (None, None) => Pace::constant(0.0),
    };
    let sources = known.sources(&plan.judge);
    refuse_unknown(&plan, &sources, &pace)?;
    let (round, horizon) = (Duration::from_secs(1), args.horizon.0);
    let candidates = usize::try_from(args.candidates)?;
    let slices = spread(args, &plan.judge, recent.as_ref())?;
    let (stages, judge) = (plan.stages, plan.judge);
    let scene = Scene { stages, judge, candidates, sources, slices, pace, round, horizon };
    let candidates = candidates::all(&args.harm, &scene)?;
    let results = play(args, app, &scene, candidates)?;
    let (environment, endpoint) = (plan.environment, plan.endpoint);
    let played = Played { environment, endpoint, scene, known, recent, results };
    if app.console.json() { print::json(args, &played, app) } else { print::people(&played, app) }
}

/// What is declared of an environment.
struct Plan {
    environment: String,
    endpoint: String,
    stages: Vec<Stage>,
    judge: Spec,
    measures: Option<Measures>,
}

impl Plan {
    fn of(args: &Simulate, app: &App<'_>) -> anyhow::Result<Self> {
        let release = app.project.release.as_ref();
        let last = release.and_then(|release| release.environments.keys().last()).map(ToString::to_string);
        let environment = args.to.clone().or(last).unwrap_or_default();
        let wanted = crate::command::release::planned(app, &environment)?;
        let (mut stages, judge) = (wanted.stages, wanted.judge);
        let judge = judge.ok_or_else(|| {
            Failure::usage(format!("nothing decides in `{environment}`, so there is nothing to simulate"))
                .hint("add `rollout:` with `stages:` and `judge:` to the environment")
        })?;
        if let Some(Share(share)) = args.share {
            let wanted = (share * 10_000.0).round() as u32;
            if !(1..10_000).contains(&wanted) {
                return Err(Failure::usage("`--share` must be more than 0% and less than 100%").into());
            }
            for stage in &mut stages {
                if let Stage::Canary { share, .. } = stage {
                    *share = wanted;
                }
            }
        }
        let most = |stage: &Stage| match stage {
            Stage::Canary { share, .. } => u64::from(*share) * args.candidates,
            Stage::Shadow { .. } | Stage::Gate { .. } | Stage::Full { .. } => 0,
        };
        if let Some(sum) = stages.iter().map(most).max().filter(|sum| *sum >= 10_000) {
            let message = format!(
                "{} candidates get {} % of the requests together, which leaves the incumbent nothing",
                args.candidates,
                sum as f64 / 100.0
            );
            return Err(Failure::usage(message).hint("try fewer, or a smaller `--share`").into());
        }
        if !stages.iter().any(|stage| matches!(stage, Stage::Shadow { .. } | Stage::Canary { .. })) {
            return Err(Failure::usage(format!("`{environment}` has no stage that compares anything"))
                .hint("add a `shadow` or a `canary` to `stages:`")
                .into());
        }
        Ok(Self { environment, endpoint: wanted.endpoint, stages, judge, measures: wanted.measures })
    }
}

fn read(args: &Simulate, app: &App<'_>, plan: &Plan) -> anyhow::Result<Recent> {
    let (db, home) = (app.db()?, app.inside(""));
    let reader = Reader::of_home(db.clone(), app.store()?.clone(), &home);
    let runs = app.block(db.environments())?;
    let incumbent = runs
        .iter()
        .find(|found| found.name == plan.environment && found.endpoint == plan.endpoint)
        .map(|found| found.release);
    // What it costs depends on from which score on the release that runs acts.
    let mut measures = plan.measures.clone();
    if let (Some(measures), Some(incumbent)) = (&mut measures, incumbent)
        && let Some(stored) = app.block(db.release(incumbent))?
    {
        let release: Release = serde_json::from_str(&stored.body)
            .map_err(|error| Failure::new(format!("release {incumbent} cannot be read: {error}")))?;
        measures.thresholds.extend(release.threshold.map(|threshold| (incumbent, threshold)));
    }
    let bar = app.bar();
    bar.begin("reading requests", None, Unit::Items);
    let asked = Asked {
        endpoint: &plan.endpoint,
        measures: measures.as_ref(),
        incumbent,
        slices: plan.judge.slices.as_ref(),
        until: app.clock.now(),
        since: args.since.0,
    };
    let cancel = app.cancel.clone();
    let found = app.block(recent(db, &reader, &asked, move || !cancel.is_cancelled()))?;
    if app.cancel.is_cancelled() { Err(Failure::cancelled().into()) } else { Ok(found) }
}

/// How requests are spread over the values of the inputs that the judge has slices by: as somebody says, or as it was seen.
fn spread(args: &Simulate, judge: &Spec, recent: Option<&Recent>) -> anyhow::Result<Vec<Column>> {
    let by = judge.slices.as_ref().map_or(&[][..], |slices| &slices.by);
    if let Some((slice, _)) = args.slice.iter().find(|(slice, _)| !by.contains(&slice.column)) {
        let known =
            if by.is_empty() { "it has none".to_owned() } else { format!("they are by {}", by.join(", ")) };
        return Err(Failure::usage(format!("the judge has no slices by `{}`: {known}", slice.column))
            .hint("add it to `slices:` of the judge")
            .into());
    }
    let mut columns = Vec::new();
    for name in by {
        let said: Vec<(Option<String>, f64)> = args
            .slice
            .iter()
            .filter(|(slice, _)| slice.column == *name)
            .map(|(slice, share)| (slice.value.clone(), *share))
            .collect();
        let sum: f64 = said.iter().map(|(_, share)| share).sum();
        if sum > 1.0 + 1e-9 {
            let message = format!("values of `{name}` are {:.0} % of requests together", 100.0 * sum);
            return Err(Failure::usage(message).hint("say 100 % or less; the rest are other values").into());
        }
        if said.is_empty() {
            let seen = recent.and_then(|recent| recent.slices.iter().find(|column| column.name == *name));
            columns.extend(seen.cloned());
            continue;
        }
        let rest = (1.0 - sum).max(0.0);
        let values = said.into_iter().chain((rest > 1e-9).then_some((None, rest)));
        columns.push(Column { name: name.clone(), values: values.collect() });
    }
    Ok(columns)
}

/// A metric that needs proof and of which nothing is known would only say that nothing is ever decided.
fn refuse_unknown(plan: &Plan, sources: &[Option<Source>], pace: &Pace) -> anyhow::Result<()> {
    // Refusals are only looked for, and are no harm where a candidate takes what the incumbent takes.
    let is_unknown =
        |(metric, source): &(&Metric, &Option<Source>)| source.is_none() && metric.name != REFUSALS;
    let unknown = plan.judge.metrics.iter().zip(sources).find(is_unknown);
    let endpoint = &plan.endpoint;
    if let Some((metric, _)) = unknown {
        let name = candidates::base(&metric.name);
        let figure = if name == ERRORS { "0.01" } else { "MEAN:DEVIATION" };
        return Err(Failure::new(format!("nothing is known of `{name}`: there are no such requests of `{endpoint}`"))
            .hint(format!("look further back with `--since`, or say what to expect: `--traffic 120/h --assume {name}={figure}`"))
            .into());
    }
    if pace.mean() <= 0.0 {
        return Err(Failure::new(format!("there are no requests of `{endpoint}` to draw from"))
            .hint("look further back with `--since`, or say what to expect: `--traffic 120/h`")
            .into());
    }
    Ok(())
}

fn play(
    args: &Simulate,
    app: &App<'_>,
    scene: &Scene,
    candidates: Vec<Candidate>,
) -> anyhow::Result<Vec<(Candidate, Summary)>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let bar = app.bar();
    bar.begin("playing rollouts", Some(args.repetitions * candidates.len() as u64), Unit::Items);
    let goes_on = || {
        bar.advance(1);
        !bar.cancelled()
    };
    let mut results = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let runs = simulate(scene, &candidate.harms, (args.seed, args.repetitions), threads, &goes_on);
        let runs = runs.map_err(|error| match error {
            SimulateError::Stopped => anyhow::Error::from(Failure::cancelled()),
            other => Failure::usage(other.to_string()).into(),
        })?;
        results.push((candidate, Summary::of(&scene.judge, &runs)));
    }
    Ok(results)
}
