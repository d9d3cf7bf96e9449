//! Registering the model of a run as a new version of the model that the project releases. Whether anybody gets it is for releases.
//!
//! It is registered once: a version says which content it is of, so a run that finds it registered leaves it at that, and a run after
//! one that was killed in between makes good for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tidemill_core::declare::{Action, Out, Step};
use tidemill_core::{Digest, Facts, Flips, Quiet, RunId, StepState, canonical_json, did_you_mean};
use tidemill_db::models::ModelVersion;
use tidemill_db::search::{Condition, Field, Op, Operand, RunSearch};
use tidemill_db::tracking::{KeyValue, Stage};
use tidemill_pipeline::{Lock, Selection};
use tidemill_registry::{Code, LoggedModelSearch, Registry, VersionRequest};
use tidemill_store::Entry;

use super::{Done, experiment, metric_values};
use crate::app::{App, LOCK_FILE};
use crate::cli::Run;
use crate::command::why::data;
use crate::failure::Failure;
use crate::model_test::{Outcome, report, trained};
use crate::output::plural;
use crate::step::train::file;
use crate::tracking::{self, Made};

/// The tag of a version that names what the step wrote. The digest of its files is another: they say by which run they were made.
const CONTENT: &str = "tidemill.content";
/// The file that a folder is served by where it does not describe itself.
const MLMODEL: &str = "MLmodel";
/// The most files that are no dataset which are told apart.
const FILES: usize = 200;
/// The most characters of a parameter that are kept.
const LONGEST: usize = 250;

/// What the registry made of the model of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Registered {
    /// It is a new version.
    New {
        /// The registered model.
        model: String,
        /// The version.
        version: u64,
    },
    /// The newest version is of the same content.
    Known {
        /// The registered model.
        model: String,
        /// The version.
        version: u64,
    },
    /// It did not get a version.
    Refused {
        /// The registered model.
        model: String,
        /// Why.
        why: String,
    },
}

/// The registered model and the step whose model becomes its version; `None` where this run is to register nothing.
pub(super) fn step<'a>(
    args: &Run,
    app: &'a App<'_>,
    steps: &'a [Step],
) -> anyhow::Result<Option<(&'a str, &'a Step)>> {
    let Some(release) = app.project.release.as_ref().filter(|_| !args.no_register) else { return Ok(None) };
    let model = release.model.as_str();
    if let Some(name) = &release.step {
        let found = steps.iter().find(|step| step.name == *name);
        return found.map(|step| Some((model, step))).ok_or_else(|| {
            let hint = did_you_mean(name, steps.iter().map(|step| step.name.as_str()));
            Failure::usage(format!("`release: step:` names `{name}`, and there is no such step"))
                .hint_maybe(hint)
                .into()
        });
    }
    let Some((step, _)) = trained(steps) else { return Ok(None) };
    let trainings: Vec<&str> = steps
        .iter()
        .filter(|step| matches!(step.action, Action::Train(_)))
        .map(|step| step.name.as_str())
        .collect();
    if trainings.len() > 1 && step.name != "train" {
        return Err(Failure::usage(format!(
            "{} steps train, and nothing says whose model is `{model}`: {}",
            trainings.len(),
            trainings.join(", ")
        ))
        .hint(format!("add `step: {}` below `release:` in tidemill.yaml", trainings[0]))
        .into());
    }
    Ok(Some((model, step)))
}

/// Registers what a step wrote, where its tests have passed and the newest version is not the same; the steps of the run are done.
pub(super) fn register(
    args: &Run,
    app: &App<'_>,
    model: &str,
    step: &Step,
    done: &Done,
) -> anyhow::Result<Option<Registered>> {
    let refused = |why: String| Ok(Some(Registered::Refused { model: model.to_owned(), why }));
    let Some((key, has_run)) = taken_part(step, done) else { return Ok(None) };
    let failed = done.evidence.as_ref().map_or(0, |evidence| evidence.count(Outcome::Failed));
    if failed > 0 {
        return refused(format!("{} of the model failed", plural(failed, "test")));
    }
    if args.no_tests && !app.project.tests.is_empty() {
        return refused("its tests were not run".to_owned());
    }
    let store = app.store()?;
    let registry = Registry::new(app.db()?.clone(), store.clone(), Arc::clone(&app.clock));
    // Collection must not take what is in the store but has no name yet.
    let _hold = store.hold()?;
    let out = output(app, step)?;
    let content = store.add(&app.root.join(&out.path), Some(app.stat()?), &Quiet)?;
    let tested = done.evidence.as_ref().and_then(|evidence| evidence.content);
    if tested.is_some_and(|tested| tested != content.digest) {
        return refused(format!("what step `{}` wrote is not what was tested", step.name));
    }
    let newest = app.block(app.db()?.model_versions_before(model, None, 1))?.into_iter().next();
    let known = |version: &ModelVersion| {
        Ok(Some(Registered::Known { model: model.to_owned(), version: version.version }))
    };
    let is_same = |tag: &KeyValue| tag.key == CONTENT && tag.value == content.digest.to_string();
    if let Some(newest) = newest.as_ref().filter(|newest| newest.tags.iter().any(is_same)) {
        return known(newest);
    }
    let Some(experiment) = experiment(app, &registry)? else {
        return refused(format!("the experiment `{}` is deleted", app.project.project));
    };
    let report = done.report.as_ref().filter(|_| has_run).map(|report| report.run);
    let made_by = match report {
        Some(run) => Some(run),
        None => made_by(app, key, &out.path, &content.digest)?,
    };
    let tracked = made_by.map(|run| tracked(app, experiment.id, run, &step.name)).transpose()?.flatten();
    let run = tracked.or(made_by);
    let logged = tracked.map(|run| logged(app, &registry, experiment.id, run)).transpose()?.flatten();
    // A client may have registered what the run has logged.
    let is_of = |newest: &&ModelVersion| logged.is_some() && newest.logged_model == logged;
    if let Some(newest) = newest.as_ref().filter(is_of) {
        return known(newest);
    }
    let logged = match logged {
        Some(logged) => logged,
        None => {
            let folder = app.root.join(&out.path);
            let is_trained = matches!(step.action, Action::Train(_));
            let signature = is_trained.then(|| tracking::signature(&folder)).transpose()?;
            let made = Made {
                experiment: experiment.id,
                run,
                step: &step.name,
                files: files(app, &content)?,
                signature: signature.as_ref(),
                params: &[],
            };
            app.block(tracking::log_model(&registry, &app.actor, made))?
        }
    };
    let request = VersionRequest {
        model: model.to_owned(),
        source: format!("models:/{logged}"),
        run: run.map(|run| run.to_string()),
        logged_model: Some(logged),
        tags: vec![
            KeyValue { key: CONTENT.to_owned(), value: content.digest.to_string() },
            KeyValue { key: "tidemill.step".to_owned(), value: step.name.clone() },
        ],
        cause: app.cause,
        facts: Some(Box::new(facts(app, step, (out, content.digest), done)?)),
        ..VersionRequest::default()
    };
    let version = app.block(async {
        match registry.create_model(&app.actor, model, &[], None).await {
            Ok(_) => {}
            Err(error) if error.code == Code::ResourceAlreadyExists => {}
            Err(error) => return Err(error),
        }
        registry.create_version(&app.actor, request).await
    });
    let version = version
        .map_err(|error| Failure::new(format!("the model cannot be registered as `{model}`: {error}")))?;
    Ok(Some(Registered::New { model: model.to_owned(), version: version.version }))
}

/// The cache key of a step that took part in the run, and whether its body ran; `None` where it did not take part.
fn taken_part(step: &Step, done: &Done) -> Option<(Option<Digest>, bool)> {
    match &done.report {
        Some(report) => {
            let found = report.steps.iter().find(|found| found.step == step.name)?;
            let is_done = matches!(found.state, StepState::Ran | StepState::Restored | StepState::Unchanged);
            is_done.then_some((found.key, found.state == StepState::Ran))
        }
        None => done.plan.get(&step.name).map(|planned| (planned.key, false)),
    }
}

/// The output of a step that is a model.
pub(super) fn output<'s>(app: &App<'_>, step: &'s Step) -> anyhow::Result<&'s Out> {
    let is_model = |out: &&Out| {
        let path = app.root.join(&out.path);
        let is_folder = || [file::ONNX, MLMODEL].iter().any(|name| path.join(name).is_file());
        (is_onnx(&out.path) && path.is_file()) || is_folder()
    };
    let mut found = step.outs.iter().filter(is_model);
    match (found.next(), found.next()) {
        (Some(out), None) => Ok(out),
        (None, _) => Err(Failure::new(format!("step `{}`, which is released, wrote no model", step.name))
            .hint(
                "one of its `outs` must be a `.onnx` file, or a folder with `model.onnx` or `MLmodel` in it",
            )
            .into()),
        (Some(one), Some(other)) => Err(Failure::new(format!(
            "step `{}`, which is released, wrote several models: `{}` and `{}`",
            step.name, one.path, other.path
        ))
        .hint("let one step write one model, and name it below `release:`")
        .into()),
    }
}

fn is_onnx(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// The files of a model, which are in the store, under the names by which they are loaded.
fn files(app: &App<'_>, content: &Entry) -> anyhow::Result<Vec<(PathBuf, Entry)>> {
    if content.is_tree() {
        return Ok(app.store()?.files(content)?);
    }
    Ok(vec![(PathBuf::from(file::ONNX), *content)])
}

/// The run that made a content, where the cache knows.
fn made_by(
    app: &App<'_>,
    key: Option<Digest>,
    path: &str,
    content: &Digest,
) -> anyhow::Result<Option<RunId>> {
    let Some(key) = key else { return Ok(None) };
    let found =
        crate::journal::lookup(app.db()?, app.store()?, app.runtime().handle(), &[key])?.pop().flatten();
    Ok(found.filter(|found| found.outs.get(path).is_some_and(|out| out.digest == *content)).map(|f| f.run))
}

/// The tracked run of a step.
fn tracked(app: &App<'_>, experiment: i64, run: RunId, step: &str) -> anyhow::Result<Option<RunId>> {
    let is = |tag: &str, value: String| Condition {
        field: Field::Tag(tag.to_owned()),
        op: Op::Eq,
        value: Operand::Text(value),
    };
    let search = RunSearch {
        experiments: vec![experiment],
        stages: vec![Stage::Active],
        conditions: vec![is("tidemill.run", run.to_string()), is("tidemill.step", step.to_owned())],
        order: Vec::new(),
        limit: 1,
        after: None,
    };
    Ok(app.block(app.db()?.search_runs(&search))?.items.first().map(|run| run.info.id))
}

/// The model that a step's run has logged, with all its files.
fn logged(app: &App<'_>, registry: &Registry, experiment: i64, run: RunId) -> anyhow::Result<Option<String>> {
    let search = LoggedModelSearch {
        experiments: vec![experiment.to_string()],
        filter: format!("source_run_id = '{run}' AND status = 'READY'"),
        limit: Some(1),
        ..LoggedModelSearch::default()
    };
    Ok(app.block(registry.search_logged_models(&search))?.items.into_iter().next().map(|model| model.id))
}

/// How the model was made, for those who decide on its release.
fn facts(app: &App<'_>, step: &Step, (out, content): (&Out, Digest), done: &Done) -> anyhow::Result<Facts> {
    let mut params = tracking::leaves(&serde_json::json!(step.params));
    let mut metrics: BTreeMap<String, f64> = BTreeMap::new();
    if matches!(step.action, Action::Train(_)) {
        let report = report(&app.root.join(&out.path))?;
        params.extend(tracking::params(&report));
        metrics.extend(tracking::metrics(&report, &[]).into_iter().map(|value| (value.key, value.value)));
    }
    if let Some(cost) = metrics.get("cost_per_decision").copied() {
        // As tests and envelopes call it.
        metrics.insert("cost".to_owned(), cost);
    }
    let written = metric_values(&app.root, std::slice::from_ref(step));
    metrics.extend(written.into_iter().map(|(_, name, value)| (name, value)));
    metrics.retain(|_, value| value.is_finite());
    let results = done.evidence.iter().flat_map(|evidence| &evidence.results);
    let share = results.filter_map(|result| result.figures.get("lost_share").copied()).reduce(f64::max);
    Ok(Facts {
        step: step.name.clone(),
        content: Some(content),
        data: data(app, step, done)?,
        params: params
            .into_iter()
            .map(|param| (param.key, param.value.chars().take(LONGEST).collect()))
            .collect(),
        metrics,
        flips: share.zip(done.champion).map(|(share, against)| Flips { share, against }),
        commit: app.committed.as_ref().map(|of| of.commit.clone()),
        authors: app.committed.as_ref().map_or_else(Vec::new, |of| of.authors.clone()),
    })
}

/// What the step and those before it have read that none of them wrote.
fn data(app: &App<'_>, step: &Step, done: &Done) -> anyhow::Result<BTreeMap<String, Digest>> {
    let mut lock = match &done.report {
        Some(report) => report.lock.clone(),
        None => Lock::parse(LOCK_FILE, &fs_err::read(app.root.join(LOCK_FILE))?)?,
    };
    let needed = done.dag.select(&Selection { steps: vec![step.name.clone()], downstream: false })?;
    let is_needed = |name: &String| done.dag.position(name).is_some_and(|at| needed.contains(&at));
    lock.steps.retain(|name, _| is_needed(name));
    let (mut found, mut others) = (BTreeMap::new(), BTreeMap::new());
    for source in data::read(app, &lock) {
        if source.is_dataset {
            found.insert(source.name, Digest::of(&canonical_json(&source.files)?));
        } else {
            others.extend(source.files.into_iter().map(|(path, (digest, _))| (path, digest)));
        }
    }
    if others.len() > FILES {
        others = BTreeMap::from([("other files".to_owned(), Digest::of(&canonical_json(&others)?))]);
    }
    found.extend(others);
    Ok(found)
}
