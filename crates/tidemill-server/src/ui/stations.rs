//! The places along the river: data, pipeline, tests, registry and environments, of everything or of one project.

use tidemill_core::{Digest, Outcome, RunState};
use tidemill_db::delivery::Rollout;
use tidemill_serve::ModelState;
use tidemill_ui::chart::Station;
use tidemill_ui::{Cell, Tone, count, href};

use super::ask::Ask;
use super::evidence::Tests;
use super::projects::Scope;
use super::rivers::Shared;
use super::rollout::{rollout_link, title};
use super::words::pipeline_badge;
use super::{expectations, serving};

/// Something that waits for somebody.
#[derive(Clone)]
pub(super) struct Blocked {
    pub(super) what: Cell,
    pub(super) why: String,
}

/// The places along the river, and what waits for somebody.
pub(super) fn look(ask: &Ask, scope: &Scope, shared: &Shared) -> (Vec<Station>, Vec<Blocked>) {
    // What costs money now stands above everything else.
    let firing = shared.firing.iter().filter(|(endpoint, _)| scope.has_endpoint(endpoint));
    let mut blocked: Vec<Blocked> = firing.map(|(_, one)| one.clone()).collect();
    let stations = vec![
        data_station(scope, shared, &mut blocked),
        pipeline_station(ask, scope, &mut blocked),
        tests_station(ask, scope.tests.as_ref(), &mut blocked),
        registry_station(scope, shared),
        environment_station(scope, shared, &mut blocked),
    ];
    (stations, blocked)
}

fn data_station(scope: &Scope, shared: &Shared, blocked: &mut Vec<Blocked>) -> Station {
    let datasets: Vec<_> =
        shared.datasets.iter().filter(|dataset| scope.has_dataset(dataset.name.as_str())).collect();
    let checks: Vec<_> = shared.checks.iter().filter(|(name, _)| scope.has_dataset(name)).collect();
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
    let hold: u64 = checks.iter().map(|(_, checked)| checked.passed).sum();
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
    Station {
        name: "Data".into(),
        figure,
        unit: unit.into(),
        lines,
        tone,
        state: state.into(),
        href: "/data".into(),
        moving: false,
    }
}

fn pipeline_station(ask: &Ask, scope: &Scope, blocked: &mut Vec<Blocked>) -> Station {
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
    let Some(last) = &scope.last else { return station };
    let steps = &scope.steps;
    let total = scope.planned.as_ref().map_or(steps.len(), |plan| plan.steps);
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
    station
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

fn registry_station(scope: &Scope, shared: &Shared) -> Station {
    let models: Vec<_> = shared.models.iter().filter(|model| scope.has_model(&model.name)).collect();
    let versions: usize =
        models.iter().filter_map(|model| model.latest.iter().map(|v| v.version as usize).max()).sum();
    let mut aliases: Vec<_> =
        models.iter().flat_map(|model| model.aliases.iter().map(move |alias| (model, alias))).collect();
    // Who decides now, and who may next, before what else versions are called.
    let rank = |alias: &str| (alias != "champion", alias != "challenger");
    aliases.sort_by_key(|(_, alias)| rank(&alias.alias));
    let lines = aliases.iter().take(3).map(|(model, alias)| {
        let of = if models.len() > 1 { format!(" of {}", model.name) } else { String::new() };
        format!("{} v{}{of}", alias.alias, alias.version)
    });
    let lines: Vec<String> = lines.collect();
    let (tone, state) = match (models.len(), lines.len()) {
        (0, _) => (Tone::Plain, "no model yet".to_owned()),
        (1, 0) => (Tone::Warn, "1 model, no alias".to_owned()),
        (models, 0) => (Tone::Warn, format!("{models} models, no alias")),
        (1, _) => (Tone::Good, "1 model".to_owned()),
        (models, _) => (Tone::Good, format!("{models} models")),
    };
    Station {
        name: "Registry".into(),
        figure: count(versions as u64),
        unit: "versions".into(),
        lines,
        tone,
        state,
        href: "/models".into(),
        moving: false,
    }
}

/// What environments run and what is on its way to them; without any, what is served.
fn environment_station(scope: &Scope, shared: &Shared, blocked: &mut Vec<Blocked>) -> Station {
    let serving = serving_station(scope, shared, blocked);
    let names = &shared.names;
    let is_own = |release: &Digest| {
        scope.is_whole() || names.get(release).is_some_and(|known| scope.has_model(&known.model))
    };
    let environments: Vec<_> = shared.environments.iter().filter(|one| is_own(&one.release)).collect();
    let live: Vec<&Rollout> = shared.rollouts.iter().filter(|one| is_own(&one.made.candidate)).collect();
    let mut waits = 0;
    for rollout in &live {
        if let Some(why) = shared.undecided.get(&rollout.id) {
            waits += 1;
            blocked
                .push(Blocked { what: Cell::Link(rollout_link(rollout.id)), why: format!("it waits {why}") });
        }
    }
    if environments.is_empty() && live.is_empty() {
        return serving;
    }
    let runs = environments.iter().map(|one| format!("{}: {}", one.name, title(names, one.release)));
    let coming = live.iter().map(|rollout| {
        let phase = if rollout.is_waiting { "waits" } else { rollout.phase.as_str() };
        // Where one model is released, its name stands at what the environment runs.
        let version = names.get(&rollout.made.candidate).filter(|known| {
            environments
                .iter()
                .all(|one| names.get(&one.release).is_some_and(|runs| runs.model == known.model))
        });
        match version.filter(|_| !environments.is_empty()) {
            Some(known) => format!("challenger: v{}, {phase}", known.version),
            None => format!("{}, {phase}", title(names, rollout.made.candidate)),
        }
    });
    let lines = runs.take(2).chain(coming).take(3).collect();
    let (tone, state) = match (waits, live.len()) {
        (0, 0) => (serving.tone, serving.state),
        (0, 1) => (Tone::Busy, "1 rollout goes on".to_owned()),
        (0, many) => (Tone::Busy, format!("{many} rollouts go on")),
        (1, _) => (Tone::Warn, "1 rollout waits".to_owned()),
        (many, _) => (Tone::Warn, format!("{many} rollouts wait")),
    };
    Station {
        name: "Environments".into(),
        figure: count(environments.len() as u64),
        unit: if environments.len() == 1 { "environment" } else { "environments" }.into(),
        lines,
        tone,
        state,
        href: "/delivery".into(),
        moving: serving.moving || waits < live.len(),
    }
}

fn serving_station(scope: &Scope, shared: &Shared, blocked: &mut Vec<Blocked>) -> Station {
    let endpoints: Vec<&String> =
        shared.endpoints.iter().map(|(name, _)| name).filter(|name| scope.has_endpoint(name)).collect();
    let own = shared.totals.iter().filter(|(labels, _)| scope.has_endpoint(&labels.endpoint));
    let (requests, errors) = serving::answered(own);
    let statuses: Vec<_> = shared.loaded.iter().filter(|(model, ..)| scope.has_model(model)).collect();
    let mut failed = 0;
    for (model, version, state) in &statuses {
        if let ModelState::Failed(why) = state {
            failed += 1;
            let what = format!("model {model} {version}");
            blocked.push(Blocked { what: Cell::link("/serving", what), why: why.clone() });
        }
    }
    let ready = statuses.iter().filter(|(.., state)| matches!(state, ModelState::Ready)).count();
    let loading = statuses.iter().any(|(.., state)| matches!(state, ModelState::Loading));
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
    lines.extend(endpoints.iter().take(2).map(|endpoint| (*endpoint).clone()));
    Station {
        name: "Serving".into(),
        figure: count(endpoints.len() as u64),
        unit: if endpoints.len() == 1 { "endpoint" } else { "endpoints" }.into(),
        lines,
        tone,
        state,
        href: "/serving".into(),
        moving: loading,
    }
}
