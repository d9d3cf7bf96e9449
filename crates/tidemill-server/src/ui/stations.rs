//! The places along the river: data, pipeline, tests, registry and environments, of everything or of one project.

use tidemill_core::{Digest, Outcome, RunState};
use tidemill_db::delivery::Rollout;
use tidemill_registry::Error;
use tidemill_serve::ModelState;
use tidemill_ui::chart::Station;
use tidemill_ui::{Cell, Tone, count, href};

use super::ask::Ask;
use super::evidence::{self, Tests};
use super::pipeline::last_of_each;
use super::projects::Scope;
use super::rollout::{names, rollout_link, title};
use super::words::pipeline_badge;
use super::{delivery, expectations, monitoring, serving};

/// Something that waits for somebody.
#[derive(Clone)]
pub(super) struct Blocked {
    pub(super) what: Cell,
    pub(super) why: String,
}

/// The places along the river, and what waits for somebody.
pub(super) async fn look(
    ask: &Ask,
    scope: &Scope,
    rollouts: &[Rollout],
) -> Result<(Vec<Station>, Vec<Blocked>), Error> {
    // What costs money now stands above everything else.
    let mut blocked = monitoring::firing(ask, &|endpoint| scope.has_endpoint(endpoint)).await?;
    let stations = vec![
        data_station(ask, scope, &mut blocked).await?,
        pipeline_station(ask, scope, &mut blocked).await?,
        tests_station(ask, scope.tests.as_ref(), &mut blocked),
        registry_station(ask, scope).await?,
        environment_station(ask, scope, rollouts, &mut blocked).await?,
    ];
    Ok((stations, blocked))
}

async fn data_station(ask: &Ask, scope: &Scope, blocked: &mut Vec<Blocked>) -> Result<Station, Error> {
    let mut datasets = ask.app.registry().db().datasets().await?;
    datasets.retain(|dataset| scope.has_dataset(dataset.name.as_str()));
    let mut checks = expectations::newest(ask).await?;
    checks.retain(|name, _| scope.has_dataset(name));
    let broken: Vec<_> = checks.iter().filter(|(_, checked)| checked.failed > 0).collect();
    for (name, checked) in &broken {
        blocked.push(Blocked {
            what: Cell::link(expectations::place(name), format!("data {name}")),
            why: format!("{} expectations do not hold", checked.failed),
        });
    }
    let newest = datasets.iter().max_by_key(|dataset| dataset.updated_at);
    let mut lines: Vec<String> =
        newest.map(|dataset| format!("{} v{} newest", dataset.name, dataset.latest)).into_iter().collect();
    let hold: u64 = checks.values().map(|checked| checked.passed).sum();
    if !checks.is_empty() {
        lines.push(format!("{hold} expectations hold"));
    }
    let versions: u64 = datasets.iter().map(|dataset| dataset.latest).sum();
    let (figure, unit) = if datasets.is_empty() && !checks.is_empty() {
        (count(checks.len() as u64), "datasets read")
    } else {
        (count(versions), "versions")
    };
    let (tone, state) = if !broken.is_empty() {
        (Tone::Bad, "expectations broken")
    } else if datasets.is_empty() && checks.is_empty() {
        (Tone::Plain, "nothing yet")
    } else {
        (Tone::Good, "as expected")
    };
    Ok(Station {
        name: "Data".into(),
        figure,
        unit: unit.into(),
        lines,
        tone,
        state: state.into(),
        href: "/data".into(),
        moving: false,
    })
}

async fn pipeline_station(ask: &Ask, scope: &Scope, blocked: &mut Vec<Blocked>) -> Result<Station, Error> {
    let mut station = Station {
        name: "Pipeline".into(),
        figure: "0".into(),
        unit: "runs".into(),
        lines: Vec::new(),
        tone: Tone::Plain,
        state: "not run yet".into(),
        href: "/pipelines".into(),
        moving: false,
    };
    let Some(last) = &scope.last else { return Ok(station) };
    let steps = last_of_each(ask.app.registry().db().step_runs(last.id).await?);
    let total = evidence::plan(&ask.app, last.plan).await?.map_or(steps.len(), |plan| plan.steps.len());
    let ran = steps.values().filter(|step| step.state == tidemill_core::StepState::Ran).count();
    let badge = pipeline_badge(last.state);
    station.figure = count(total as u64);
    station.unit = "steps".into();
    station.tone = badge.tone;
    station.state = format!("last run {}", badge.text);
    station.moving = last.state == RunState::Running;
    station.lines = vec![
        format!("{ran} ran, {} up to date", total.saturating_sub(ran)),
        tidemill_ui::ago(last.started_at, ask.now),
    ];
    let failed: Vec<_> =
        steps.values().filter(|step| step.state == tidemill_core::StepState::Failed).collect();
    if let Some(step) = failed.first() {
        station.lines[0] = format!("{} failed", step.step);
    }
    for step in failed {
        let exit = step.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
        let address = href(&["pipelines", &last.id.to_string()], &[("step", &step.step)]);
        blocked.push(Blocked {
            what: Cell::link(address, format!("step {}", step.step)),
            why: format!("it failed{exit}; its log says how"),
        });
    }
    if last.state == RunState::Interrupted {
        blocked.push(Blocked {
            what: Cell::link(href(&["pipelines", &last.id.to_string()], &[]), "the last run"),
            why: "its process ended early; `tidemill run` goes on where it stopped".into(),
        });
    }
    Ok(station)
}

fn tests_station(ask: &Ask, tests: Option<&Tests>, blocked: &mut Vec<Blocked>) -> Station {
    let mut station = Station {
        name: "Tests".into(),
        figure: "0".into(),
        unit: "tests".into(),
        lines: Vec::new(),
        tone: Tone::Plain,
        state: "none judged yet".into(),
        href: "/pipelines".into(),
        moving: false,
    };
    let Some(tests) = tests else { return station };
    let run = tests.run.to_string();
    station.href = href(&["pipelines", &run], &[]) + "#tests";
    let open = tests.results.iter().filter(|result| result.outcome == Outcome::NotJudged).count();
    let total = (tests.passed + tests.failed).max(tests.results.len() as u64);
    station.figure = format!("{}/{total}", tests.passed);
    station.unit = "passed".into();
    (station.tone, station.state) = match (tests.failed, open) {
        (0, 0) => (Tone::Good, "all hold".into()),
        (0, open) => (Tone::Warn, format!("{open} not judged")),
        (failed, _) => (Tone::Bad, format!("{failed} failed")),
    };
    if !tests.step.is_empty() {
        station.lines.push(format!("of step {}", tests.step));
    }
    station.lines.push(tidemill_ui::ago(tests.at, ask.now));
    for result in tests.results.iter().filter(|result| result.outcome != Outcome::Passed) {
        blocked.push(Blocked {
            what: Cell::link(station.href.clone(), format!("test {}", result.test)),
            why: result.message.clone(),
        });
    }
    station
}

async fn registry_station(ask: &Ask, scope: &Scope) -> Result<Station, Error> {
    let mut found = ask.app.registry().search_models("", &[], Some(1000), None).await?;
    found.items.retain(|model| scope.has_model(&model.name));
    let versions: usize =
        found.items.iter().filter_map(|model| model.latest.iter().map(|v| v.version as usize).max()).sum();
    let aliases = found.items.iter().flat_map(|model| {
        model.aliases.iter().map(move |alias| format!("{} v{} {}", model.name, alias.version, alias.alias))
    });
    let lines: Vec<String> = aliases.take(3).collect();
    let (tone, state) = match (found.items.len(), lines.len()) {
        (0, _) => (Tone::Plain, "no model yet".to_owned()),
        (1, 0) => (Tone::Warn, "1 model, no alias".to_owned()),
        (models, 0) => (Tone::Warn, format!("{models} models, no alias")),
        (1, _) => (Tone::Good, "1 model".to_owned()),
        (models, _) => (Tone::Good, format!("{models} models")),
    };
    Ok(Station {
        name: "Registry".into(),
        figure: count(versions as u64),
        unit: "versions".into(),
        lines,
        tone,
        state,
        href: "/models".into(),
        moving: false,
    })
}

/// What environments run and what is on its way to them; without any, what is served.
async fn environment_station(
    ask: &Ask,
    scope: &Scope,
    live: &[Rollout],
    blocked: &mut Vec<Blocked>,
) -> Result<Station, Error> {
    let serving = serving_station(ask, scope, blocked).await?;
    let mut environments = ask.app.registry().db().environments().await?;
    let candidates = live.iter().map(|rollout| rollout.made.candidate);
    let names = names(ask, environments.iter().map(|one| one.release).chain(candidates)).await?;
    let is_own = |release: &Digest| {
        scope.is_whole() || names.get(release).is_some_and(|known| scope.has_model(&known.model))
    };
    environments.retain(|one| is_own(&one.release));
    let live: Vec<Rollout> = live.iter().filter(|one| is_own(&one.made.candidate)).cloned().collect();
    let undecided = delivery::undecided(&live, ask.now)?;
    let waits = undecided.len();
    blocked.extend(undecided.into_iter().map(|(rollout, why)| Blocked {
        what: Cell::Link(rollout_link(rollout.id)),
        why: format!("it waits {why}"),
    }));
    if environments.is_empty() && live.is_empty() {
        return Ok(serving);
    }
    let runs = environments.iter().map(|one| format!("{}: {}", one.name, title(&names, one.release)));
    // The challenger, by name.
    let coming = live.iter().map(|rollout| {
        let phase = if rollout.is_waiting { "waits" } else { rollout.phase.as_str() };
        format!("{}, {phase}", title(&names, rollout.made.candidate))
    });
    let lines = runs.take(2).chain(coming).take(3).collect();
    let (tone, state) = match (waits, live.len()) {
        (0, 0) => (serving.tone, serving.state),
        (0, 1) => (Tone::Busy, "1 rollout goes on".to_owned()),
        (0, many) => (Tone::Busy, format!("{many} rollouts go on")),
        (1, _) => (Tone::Warn, "1 rollout waits".to_owned()),
        (many, _) => (Tone::Warn, format!("{many} rollouts wait")),
    };
    Ok(Station {
        name: "Environments".into(),
        figure: count(environments.len() as u64),
        unit: if environments.len() == 1 { "environment" } else { "environments" }.into(),
        lines,
        tone,
        state,
        href: "/delivery".into(),
        moving: serving.moving || waits < live.len(),
    })
}

async fn serving_station(ask: &Ask, scope: &Scope, blocked: &mut Vec<Blocked>) -> Result<Station, Error> {
    let mut endpoints = ask.app.registry().db().endpoints_after(None, 1000).await?;
    endpoints.retain(|endpoint| scope.has_endpoint(&endpoint.name));
    let totals = serving::totals(ask);
    let own = totals.iter().filter(|(labels, _)| scope.has_endpoint(&labels.endpoint));
    let (requests, errors) = serving::answered(own);
    let statuses = ask.app.serving().map(|serving| serving.gateway().models().statuses());
    let mut statuses = statuses.unwrap_or_default();
    statuses.retain(|status| scope.has_model(&status.model));
    let mut failed = 0;
    for status in &statuses {
        if let ModelState::Failed(why) = &status.state {
            failed += 1;
            let what = format!("model {} {}", status.model, status.version);
            blocked.push(Blocked { what: Cell::link("/serving", what), why: why.clone() });
        }
    }
    let ready = statuses.iter().filter(|status| matches!(status.state, ModelState::Ready)).count();
    let loading = statuses.iter().any(|status| matches!(status.state, ModelState::Loading));
    let (tone, state) = if failed > 0 {
        (Tone::Bad, format!("{failed} models cannot be loaded"))
    } else if endpoints.is_empty() {
        (Tone::Plain, "no endpoint yet".to_owned())
    } else if errors > 0 {
        (Tone::Warn, format!("{errors} errors"))
    } else {
        (Tone::Good, format!("{ready} models ready"))
    };
    let mut lines = vec![format!("{} requests answered", count(requests.saturating_sub(errors)))];
    lines.extend(endpoints.iter().take(2).map(|endpoint| endpoint.name.clone()));
    Ok(Station {
        name: "Serving".into(),
        figure: count(endpoints.len() as u64),
        unit: if endpoints.len() == 1 { "endpoint" } else { "endpoints" }.into(),
        lines,
        tone,
        state,
        href: "/serving".into(),
        moving: loading,
    })
}
