//! The checks before the first request: every candidate is loaded, and must be able to answer what the incumbent answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::Digest;
use tidemill_db::Db;
use tidemill_deliver::rollout::Plan;
use tidemill_registry::Error;
use tidemill_runtime::{Dim, Slot};
use tidemill_serve::gateway::model::Loaded;
use tidemill_serve::gateway::source::Which;

use super::headroom::headroom;
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
    let candidates: Vec<(Digest, &Loaded)> =
        loaded.iter().map(|(release, model)| (*release, &**model)).collect();
    problems.extend(headroom(app, plan, &candidates, incumbent.as_deref()).await);
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
    // Of a matrix its columns, as the signature names them: that is what callers send.
    let wants = Interface::of(candidate);
    let inputs: Vec<&str> = wants.inputs.iter().map(|input| input.name.as_str()).collect();
    let mut problems = no_slices(plan, &inputs, |column| hidden.contains(column));
    problems.extend(incumbent.into_iter().flat_map(|incumbent| wants.differs(&Interface::of(incumbent))));
    problems
}

/// What callers see of a model.
struct Interface<'a> {
    inputs: &'a [Slot],
    outputs: Vec<Slot>,
    /// Whether the inputs are the columns of one matrix, which may also be sent as a whole.
    is_matrix: bool,
}

impl<'a> Interface<'a> {
    fn of(model: &'a Loaded) -> Self {
        let outputs = model.metadata.load().outputs.clone();
        Self { inputs: &model.plan.inputs, outputs, is_matrix: model.plan.is_matrix() }
    }

    /// Why a caller of the model `now` would notice that this one answers.
    fn differs(&self, now: &Interface<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        for input in self.inputs {
            let name = &input.name;
            match now.inputs.iter().find(|known| known.name == *name) {
                // What a call may leave out, callers need not have.
                None if input.optional => {}
                None => problems.push(format!("it wants the input `{name}`, which requests do not have")),
                Some(known) if known.element != input.element => {
                    problems.push(format!("its input `{name}` is of another type"));
                }
                Some(known) if !takes(&input.shape, &known.shape) => {
                    problems.push(format!("its input `{name}` is of another shape"));
                }
                Some(_) => {}
            }
        }
        let names = |inputs: &[Slot]| inputs.iter().map(|input| input.name.clone()).collect::<Vec<_>>();
        let (own, known) = (names(self.inputs), names(now.inputs));
        let is_reordered = || {
            let [mut own, mut known] = [own.clone(), known.clone()];
            own.sort_unstable();
            known.sort_unstable();
            own == known
        };
        if self.is_matrix && now.is_matrix && own != known && is_reordered() {
            problems.push(format!(
                "the columns of its matrix are in another order, which callers who send it as a whole would not notice: {}, not {}",
                own.join(", "),
                known.join(", ")
            ));
        }
        for output in &now.outputs {
            let name = &output.name;
            match self.outputs.iter().find(|known| known.name == *name) {
                None => problems.push(format!("it lacks the output `{name}`, which callers get now")),
                Some(own) if own.element != output.element => {
                    problems.push(format!("its output `{name}` is of another type"));
                }
                Some(own) if !takes(&output.shape, &own.shape) => {
                    problems.push(format!("its output `{name}` is of another shape"));
                }
                Some(_) => {}
            }
        }
        problems
    }
}

/// Whether whoever takes `wanted` takes everything that is of the shape `given`.
fn takes(wanted: &[Dim], given: &[Dim]) -> bool {
    let fits = |(wanted, given): (&Dim, &Dim)| match (wanted, given) {
        (Dim::Fixed(wanted), Dim::Fixed(given)) => wanted == given,
        (Dim::Fixed(_), Dim::Any(_)) => false,
        (Dim::Any(_), _) => true,
    };
    wanted.len() == given.len() && wanted.iter().zip(given).all(fits)
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

#[cfg(test)]
mod tests {
    use tidemill_runtime::ElementType;

    use super::*;

    fn slot(name: &str, element: ElementType, width: Option<usize>) -> Slot {
        let shape = vec![Dim::Any(None), width.map_or(Dim::Any(None), Dim::Fixed)];
        Slot { name: name.to_owned(), element, shape, optional: false }
    }

    #[test]
    fn what_callers_would_notice() {
        const F: ElementType = ElementType::F32;
        let (a, b, y) = (slot("a", F, Some(1)), slot("b", F, Some(1)), slot("y", F, Some(2)));
        let inputs = [a.clone(), b.clone()];
        let of = |inputs: &'static [Slot], output: Slot, is_matrix| Interface {
            inputs,
            outputs: vec![output],
            is_matrix,
        };
        let kept = |inputs: &[Slot]| -> &'static [Slot] { Vec::leak(inputs.to_vec()) };
        let now = of(kept(&inputs), y.clone(), true);
        let said = |inputs: &[Slot], output: Slot| of(kept(inputs), output, true).differs(&now);
        assert_eq!(said(&inputs, y.clone()), Vec::<String>::new());
        assert_eq!(said(&inputs[..1], y.clone()), Vec::<String>::new(), "what it does not want is left over");
        let reordered = said(&[b.clone(), a.clone()], y.clone());
        assert!(
            reordered.len() == 1 && reordered[0].ends_with("would not notice: b, a, not a, b"),
            "{reordered:?}"
        );
        let by_name = of(kept(&[b.clone(), a.clone()]), y.clone(), false);
        assert_eq!(
            by_name.differs(&now),
            Vec::<String>::new(),
            "columns that are sent by name have no order"
        );
        let other = slot("c", F, Some(1));
        assert_eq!(
            said(&[a.clone(), other.clone()], y.clone()),
            ["it wants the input `c`, which requests do not have"]
        );
        let optional = Slot { optional: true, ..other };
        assert_eq!(said(&[a.clone(), b.clone(), optional], y.clone()), Vec::<String>::new());
        let text = slot("b", ElementType::Bytes, Some(1));
        assert_eq!(said(&[a.clone(), text], y.clone()), ["its input `b` is of another type"]);
        let wide = slot("b", F, Some(3));
        assert_eq!(said(&[a.clone(), wide], y.clone()), ["its input `b` is of another shape"]);
        assert_eq!(said(&[a, slot("b", F, None)], y), Vec::<String>::new(), "it takes more");
        assert_eq!(
            said(&inputs, slot("y", ElementType::F64, Some(2))),
            ["its output `y` is of another type"]
        );
        assert_eq!(said(&inputs, slot("y", F, Some(3))), ["its output `y` is of another shape"]);
        assert_eq!(said(&inputs, slot("y", F, None)), ["its output `y` is of another shape"]);
        assert_eq!(said(&inputs, slot("z", F, Some(2))), ["it lacks the output `y`, which callers get now"]);
    }
}
