//! The checks before the first request: every candidate is loaded, and must be able to answer what the incumbent answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::Digest;
use tidemill_db::Db;
use tidemill_deliver::rollout::Plan;
use tidemill_registry::Error;
use tidemill_serve::gateway::model::Loaded;
use tidemill_serve::gateway::source::Which;

use super::quarantine::quarantined;
use super::step::release_of;
use super::traffic::Names;
use crate::App;

/// How long loading a model may take.
const LOAD: Duration = Duration::from_secs(300);

/// What keeps a rollout from its first request; `hidden` are the inputs whose values are to be kept nowhere. Where there are several
/// candidates, each problem names the one that has it.
pub(super) async fn preflight(
    app: &App,
    plan: &Plan,
    living: &[Digest],
    names: &Names,
    hidden: Result<BTreeSet<String>, String>,
) -> Vec<String> {
    // What waited is compared with what runs by now, which may be one of them, or nothing.
    if plan.contest.is_some()
        && let Err(error) = plan.check()
    {
        return vec![format!("the rollout cannot be: {error}")];
    }
    if app.serving().is_none() {
        return vec!["this server does not serve models".to_owned()];
    }
    let hidden = match hidden {
        Ok(hidden) => hidden,
        Err(why) => return vec![why],
    };
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    for release in living.iter().copied() {
        match load(app, names, release).await {
            Some(Ok(ready)) => loaded.push((release, ready)),
            Some(Err(why)) => problems.push(why),
            None => {}
        }
    }
    // Where the incumbent cannot be loaded, a candidate is all the more welcome.
    let incumbent = match plan.incumbent {
        Some(incumbent) if !loaded.is_empty() => load(app, names, incumbent).await.and_then(Result::ok),
        _ => None,
    };
    problems.extend(too_large(app, loaded.iter().map(|(_, model)| model).chain(&incumbent)));
    for (release, candidate) in loaded {
        let of = plan.prefix(release);
        let found = compare(plan, &candidate, incumbent.as_ref(), &hidden).into_iter();
        problems.extend(found.map(|problem| format!("{of}{problem}")));
    }
    problems
}

/// Why there is no room for models that answer side by side: each request to one would unload another.
fn too_large<'a>(app: &App, models: impl Iterator<Item = &'a Arc<Loaded>>) -> Option<String> {
    let budget = app.serving()?.gateway().models().memory_budget()?;
    let sizes: Vec<u64> = models.map(|model| model.memory).collect();
    let together = sizes.iter().fold(0, |sum: u64, one| sum.saturating_add(*one));
    (sizes.len() > 1 && together > budget).then(|| {
        format!(
            "{} models have to be in memory at once, and occupy {} of the {} that models may occupy; `--model-memory` of the server says \
             how much",
            sizes.len(),
            tidemill_ui::bytes(together),
            tidemill_ui::bytes(budget)
        )
    })
}

/// Why candidates must not run: what waited may have become known as harmful meanwhile.
pub(super) async fn barred(db: &Db, plan: &Plan, living: &[Digest]) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for release in living.iter().copied() {
        let Some(kept) = db.release(release).await? else { continue };
        let of = plan.prefix(release);
        let found = quarantined(db, &release_of(&kept)?, &plan.environment).await?;
        problems.extend(found.map(|why| format!("{of}{why}")));
    }
    Ok(problems)
}

/// A release, loaded; nothing where its model is not known.
async fn load(app: &App, names: &Names, release: Digest) -> Option<Result<Arc<Loaded>, String>> {
    let (model, version) = names.get(&release)?;
    let models = app.serving()?.gateway().models();
    let which = Which::parse(Some(&version.to_string()));
    let deadline = tokio::time::Instant::now() + LOAD;
    let ready = models.ready(model, &which, false, deadline.into_std()).await;
    Some(ready.map_err(|error| format!("{model}@{version}: {error}")))
}

fn compare(
    plan: &Plan,
    candidate: &Loaded,
    incumbent: Option<&Arc<Loaded>>,
    hidden: &BTreeSet<String>,
) -> Vec<String> {
    let candidate = candidate.metadata.load();
    let inputs: Vec<&str> = candidate.inputs.iter().map(|input| input.name.as_str()).collect();
    let mut problems = no_slices(plan, &inputs, |column| hidden.contains(column));
    let Some(incumbent) = incumbent else { return problems };
    let incumbent = incumbent.metadata.load();
    for input in &candidate.inputs {
        match incumbent.inputs.iter().find(|known| known.name == input.name) {
            None => {
                problems.push(format!("it wants the input `{}`, which requests do not have", input.name));
            }
            Some(known) if known.element != input.element => {
                problems.push(format!("its input `{}` is of another type", input.name));
            }
            Some(_) => {}
        }
    }
    for output in &incumbent.outputs {
        if !candidate.outputs.iter().any(|known| known.name == output.name) {
            problems.push(format!("it lacks the output `{}`, which callers get now", output.name));
        }
    }
    problems
}

/// Inputs by which requests cannot be grouped: there is none of the name, or its values are to be kept nowhere.
fn no_slices(plan: &Plan, inputs: &[&str], is_hidden: impl Fn(&str) -> bool) -> Vec<String> {
    let limits = plan.judge.as_ref().and_then(|judge| judge.slices.as_ref());
    let problem = |column: &String| {
        if !inputs.contains(&column.as_str()) {
            let inputs = inputs.join(", ");
            return Some(format!(
                "its judge has slices by `{column}`, which is no input of it; it has {inputs}"
            ));
        }
        let why = "which `records.redact` of the endpoint hides: its values would stand in the log";
        is_hidden(column).then(|| format!("its judge has slices by `{column}`, {why}"))
    };
    limits.into_iter().flat_map(|limits| &limits.by).filter_map(problem).collect()
}
