//! `tidemill release`: a version of a model is to get an environment's requests.

mod demands;
mod judged;
mod plan;

use clap::Args;
use serde_json::json;
use tidemill_core::Name;
use tidemill_core::declare::Objective;
use tidemill_deliver::rollout::{Concurrency, Decides};
use tidemill_project::RequiredTests;
use tidemill_registry::CHAMPION;
use tidemill_server::delivery::{Placed, Required, Version, Wanted, endpoint_name, release_after};

use super::SignIn;
use crate::app::App;
use crate::failure::Failure;
use crate::serving::registered;

/// Makes an immutable release of a version and begins its rollout, which the server (`tidemill up`) takes from stage to
/// stage. `tidemill rollout status` shows how it goes.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The registered model, as in `flights-late`, with a version: `flights-late@3`; its newest version where not given, and
    /// the model of the project file where nothing is named. Up to eight are tried side by side in one rollout, each with the
    /// share of a stage: whoever does harm leaves, and the best of the others goes on
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
    /// The environment
    #[arg(long, value_name = "ENVIRONMENT")]
    to: String,
    /// From which score on the positive class is answered; part of what the release is, and the same for all that are tried
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f64>,
    /// What to do while another rollout of the endpoint is on its way
    #[arg(long, value_name = "WHAT", default_value = "queue")]
    concurrent: Concurrent,
    /// Why the project file asks for less than the rollout before it did: two people agree to that, in place of those who were asked
    /// before
    #[arg(long, value_name = "REASON")]
    change_approvals: Option<String>,
    #[command(flatten)]
    who: SignIn,
}

impl Release {
    /// Who somebody is at a server that works on the project.
    pub(super) fn who(&self) -> &SignIn {
        &self.who
    }
}

/// What to do while another rollout is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Concurrent {
    /// Wait for it
    Queue,
    /// Take its place
    Supersede,
    /// Fail
    Reject,
}

pub(crate) fn run(args: &Release, app: &App<'_>) -> anyhow::Result<()> {
    let declared = declared(app)?;
    environment(declared, &args.to)?;
    let named = |text: &str| {
        let (model, version) = text.split_once('@').unwrap_or((text, ""));
        anyhow::Ok(Version { model: model.to_owned(), version: version_of(app, model, version)? })
    };
    let first = args.models.first().map_or(declared.model.as_str(), String::as_str);
    let Version { model, version } = named(first)?;
    let rivals = args.models.iter().skip(1).map(|text| named(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let concurrency = match args.concurrent {
        Concurrent::Queue => Concurrency::Queue,
        Concurrent::Supersede => Concurrency::Supersede,
        Concurrent::Reject => Concurrency::Reject,
    };
    let mut wanted = wanted(app, &model, version, &args.to, args.threshold, concurrency)?;
    wanted.rivals = rivals;
    wanted.policy_change.clone_from(&args.change_approvals);
    if wanted.policy_change.as_deref().is_some_and(|reason| reason.trim().is_empty()) {
        return Err(Failure::usage("`--change-approvals` needs a reason: it stands in the log").into());
    }
    if app.cause.is_some() {
        // Nobody has looked at what a trigger releases.
        wanted.envelope.clone_from(&wanted.declared_envelope);
    }
    let placed = place(app, &mut wanted)?;
    let console = app.console;
    if console.json() {
        return console.value(&json!({
            "rollout": placed.rollout, "release": placed.release.to_string(), "model": model, "version": version,
            "endpoint": wanted.endpoint, "environment": wanted.environment,
            "incumbent": placed.incumbent.map(|digest| digest.to_string()), "waiting": placed.is_waiting, "held": placed.held,
            "rivals": wanted.rivals.iter().zip(&placed.rivals).map(|(version, release)| {
                json!({"model": version.model, "version": version.version, "release": release.to_string()})
            }).collect::<Vec<_>>(),
        }));
    }
    let rivals = wanted.rivals.iter().map(ToString::to_string);
    let all: Vec<String> = std::iter::once(format!("{model}@{version}")).chain(rivals).collect();
    let state = if placed.is_waiting { "waits for the one before it" } else { "begins" };
    console.line(format!(
        "rollout {} of {} at `{}` in `{}` {state}",
        placed.rollout,
        all.join(", "),
        wanted.endpoint,
        wanted.environment
    ));
    if let Some(held) = &placed.held {
        console.note(format!("it waits for people: {held}"));
    }
    if placed.incumbent.is_none() && !placed.is_waiting {
        console.note("nothing ran there before, so there is nothing to compare with: it gets all requests");
    }
    Ok(())
}

/// Makes the release that is wanted and begins its rollout; what watches the endpoint is declared with it.
pub(crate) fn place(app: &App<'_>, wanted: &mut Wanted) -> anyhow::Result<Placed> {
    describe(app, wanted)?;
    crate::monitors::make_references(app)?;
    let (db, clock) = (app.db()?, app.clock.as_ref());
    let placed = app.block(release_after(db, clock, &app.actor, app.cause, wanted))?;
    let watched = crate::monitors::declaration(&app.project, &wanted.endpoint);
    app.block(tidemill_server::monitoring::declare(db, clock, &app.actor, &watched))?;
    Ok(placed)
}

fn declared<'a>(app: &'a App<'_>) -> anyhow::Result<&'a tidemill_project::Release> {
    app.project.release.as_ref().ok_or_else(|| {
        Failure::usage("the project declares no release").hint("add the section `release:`").into()
    })
}

/// The place, name and content of an environment.
fn environment<'a>(
    declared: &'a tidemill_project::Release,
    to: &str,
) -> anyhow::Result<(usize, &'a Name, &'a tidemill_project::Environment)> {
    let mut all = declared.environments.iter().enumerate();
    let found = all.find(|(_, (name, _))| name.as_str() == to);
    found.map(|(at, (name, environment))| (at, name, environment)).ok_or_else(|| {
        let names: Vec<&str> = declared.environments.keys().map(|name| name.as_str()).collect();
        let hint = tidemill_core::did_you_mean(to, names.iter().copied())
            .unwrap_or_else(|| format!("the project file declares {}", names.join(", ")));
        Failure::usage(format!("there is no environment `{to}`")).hint(hint).into()
    })
}

/// A release of a version to an environment, as the project file says.
pub(crate) fn wanted(
    app: &App<'_>,
    model: &str,
    version: u64,
    to: &str,
    threshold: Option<f64>,
    concurrency: Concurrency,
) -> anyhow::Result<Wanted> {
    let planned = planned(app, to)?;
    Ok(Wanted { model: model.to_owned(), version, threshold, concurrency, ..planned })
}

/// Adds what the files of the versions say. Of files that cannot be read here nothing is said; the checks before the first request read them again, and refuse
/// those that are not right.
pub(crate) fn describe(app: &App<'_>, wanted: &mut Wanted) -> anyhow::Result<()> {
    let source = registered(app, "release")?;
    let first = Version { model: wanted.model.clone(), version: wanted.version };
    for version in std::iter::once(first).chain(wanted.rivals.clone()) {
        match app.block(source.describe(&version.model, &version.version.to_string())) {
            Ok(described) => wanted.described.push((version, described)),
            Err(error) => {
                tracing::debug!(%error, model.version = %version, "the files say nothing of a version");
            }
        }
    }
    Ok(())
}

/// What the project file says of an environment, for no version yet.
pub(crate) fn planned(app: &App<'_>, to: &str) -> anyhow::Result<Wanted> {
    let declared = declared(app)?;
    let (position, name, environment) = environment(declared, to)?;
    let planned = plan::plan(environment, app.project.objective.as_ref());
    let endpoint = declared.endpoint.as_ref().unwrap_or(&declared.model);
    let is_last = position + 1 == declared.environments.len();
    let required = required(app);
    Ok(Wanted {
        model: declared.model.to_string(),
        version: 0,
        threshold: None,
        commit: None,
        endpoint: endpoint_name(endpoint.as_str(), name.as_str(), is_last),
        environment: name.to_string(),
        stages: planned.stages,
        judge: planned.judge,
        measures: planned.measures,
        decides: decides(declared, app.project.objective.as_ref()),
        power: planned.power,
        windows: planned.windows,
        holdout: planned.holdout,
        routes: planned.routes,
        rivals: Vec::new(),
        described: Vec::new(),
        winner: planned.winner,
        alias: (declared.champion_follows() == Some(name)).then(|| CHAMPION.to_owned()),
        demands: demands::demands(&app.project, &required),
        required,
        declared_envelope: environment.envelope.as_ref().or(declared.envelope.as_ref()).map(plan::envelope),
        envelope: None,
        policy_change: None,
        concurrency: Concurrency::Queue,
    })
}

/// From which score on somebody acts on answers; nobody where no class is the one to act on.
fn decides(declared: &tidemill_project::Release, objective: Option<&Objective>) -> Option<Decides> {
    let objective = objective.filter(|objective| objective.task.positive.is_some())?;
    let always = declared.decision == Some(tidemill_project::TellDecision::Always);
    Some(Decides { threshold: Some(judged::threshold(objective)), thresholds: Vec::new(), always })
}

/// What a version must have passed: what the project asks for, or else all that it declares.
fn required(app: &App<'_>) -> Required {
    let project = &app.project;
    let tested: Vec<String> = project
        .data
        .iter()
        .filter(|(_, data)| !data.expect.is_empty())
        .map(|(name, _)| name.to_string())
        .collect();
    let asked = project.release.as_ref().and_then(|release| release.require.as_ref());
    let asks = |tests| asked.is_none_or(|asked| asked.contains(&tests));
    Required {
        model: asks(RequiredTests::ModelTests) && (asked.is_some() || !project.tests.is_empty()),
        data: asks(RequiredTests::DataTests).then_some(tested),
        declared: project.tests.iter().map(|test| test.name().to_owned()).collect(),
    }
}

/// The number of a version; the newest of the model where none is given.
fn version_of(app: &App<'_>, model: &str, version: &str) -> anyhow::Result<u64> {
    if !version.is_empty() {
        return version.parse().map_err(|_| {
            Failure::usage(format!("`{version}` is no version of a model; expected a number")).into()
        });
    }
    let db = app.db()?;
    let found = app.block(db.registered_model(model))?;
    // The newest of all is among the newest of each stage.
    let newest = found.and_then(|found| found.latest.iter().map(|version| version.version).max());
    newest.ok_or_else(|| {
        Failure::new(format!("there is no registered model `{model}` with a version"))
            .hint("`tidemill run` registers what it trains where the project says so")
            .into()
    })
}
