//! How the judges of rollouts came to where they are: the inputs of a rollout folded once, and gone on with from there.

use std::sync::Mutex;

use tidemill_core::{Digest, Timestamp};
use tidemill_db::delivery::Rollout;
use tidemill_deliver::judge::{Cone, Look};
use tidemill_deliver::rollout::{Input, LookAt, Plan};
use tidemill_registry::{Code, Error};

use super::ask::Ask;

/// Inputs of one statement.
const STRIDE: usize = 500;
/// Inputs that one page reads; the next look at it goes on from there.
const MOST: usize = 40_000;
/// Rollouts that are remembered.
const KEPT: usize = 32;

/// What was folded so far, the one that was looked at last at the end.
#[derive(Default)]
pub(crate) struct Cones(Mutex<Vec<Known>>);

#[derive(Clone)]
struct Known {
    rollout: u64,
    /// A rollout that waited gets another plan when it begins.
    plan: Digest,
    inputs: u64,
    cones: Vec<(Digest, Cone)>,
}

/// The cones of a rollout's candidates in the order of the plan, and whether inputs are left that they do not have.
pub(super) struct Folded {
    pub(super) cones: Vec<(Digest, Cone)>,
    pub(super) is_whole: bool,
}

impl Cones {
    /// What was folded of this plan so far. It stays for others who look meanwhile.
    fn find(&self, rollout: u64, plan: Digest) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.iter().find(|known| known.rollout == rollout && known.plan == plan).cloned()
    }

    /// Of two who looked at the same time, the one who folded more stays.
    fn put(&self, new: Known) {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = known.iter().position(|known| known.rollout == new.rollout);
        let before = at.map(|at| known.remove(at));
        let before = before.filter(|before| before.plan == new.plan && before.inputs > new.inputs);
        known.push(before.unwrap_or(new));
        let more = known.len().saturating_sub(KEPT);
        known.drain(..more);
    }
}

/// The cones of a rollout; none where it has no judge. What they were at each of `moments` is kept.
pub(super) async fn fold(
    ask: &Ask,
    rollout: &Rollout,
    plan: &Plan,
    moments: &[Timestamp],
) -> Result<Option<Folded>, Error> {
    let Some(spec) = plan.judge_of_each() else { return Ok(None) };
    let (cones, digest) = (ask.app.cones(), Digest::of(rollout.made.plan.as_bytes()));
    let mut known = match cones.find(rollout.id, digest) {
        Some(known) => known,
        None => {
            let cone = Cone::new(spec).map_err(|error| internal(&error.to_string()))?;
            let all = plan.candidates().into_iter().map(|release| (release, cone.clone())).collect();
            Known { rollout: rollout.id, plan: digest, inputs: 0, cones: all }
        }
    };
    for _ in 0..MOST / STRIDE {
        let inputs = ask.app.registry().db().rollout_inputs(rollout.id, known.inputs, STRIDE).await?;
        let is_last = inputs.len() < STRIDE;
        for input in inputs {
            known.inputs = input.number;
            let read: Input = serde_json::from_str(&input.body).map_err(|error| {
                internal(&format!("input {} of rollout {} cannot be read: {error}", input.number, rollout.id))
            })?;
            for (of, look) in looks_of(read, plan.candidate) {
                if let Some((_, cone)) = known.cones.iter_mut().find(|(release, _)| *release == of) {
                    cone.look(input.at, &look, moments.contains(&input.at));
                }
            }
        }
        if is_last {
            break;
        }
    }
    let folded = Folded { cones: known.cones.clone(), is_whole: known.inputs >= rollout.inputs };
    cones.put(known);
    Ok(Some(folded))
}

/// The looks of an input, with whom they are about.
fn looks_of(input: Input, candidate: Digest) -> Vec<(Digest, Look)> {
    let own = |looks: Vec<Look>| looks.into_iter().map(move |look| (candidate, look));
    let named = |looks: Vec<LookAt>| looks.into_iter().map(|one| (one.candidate, one.look));
    match input {
        Input::Look { look, .. } => vec![(candidate, look)],
        Input::Looks { looks, .. } => named(looks).collect(),
        Input::Outcomes { looks, of_each, .. } | Input::Kpis { looks, of_each, .. } => {
            own(looks).chain(named(of_each)).collect()
        }
        _ => Vec::new(),
    }
}

fn internal(why: &str) -> Error {
    Error::new(Code::InternalError, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_look_at_the_same_time_do_not_take_from_each_other() {
        let (cones, plan) = (Cones::default(), Digest::of(b"plan"));
        let known = |rollout, plan, inputs| Known { rollout, plan, inputs, cones: Vec::new() };
        let inputs = |rollout, plan| cones.find(rollout, plan).map(|known| known.inputs);
        cones.put(known(1, plan, 500));
        assert_eq!((inputs(1, plan), inputs(1, plan), inputs(2, plan)), (Some(500), Some(500), None));
        cones.put(known(1, plan, 900));
        cones.put(known(1, plan, 600));
        assert_eq!(inputs(1, plan), Some(900));
        // Another plan is another story, however long it is.
        let other = Digest::of(b"other");
        cones.put(known(1, other, 10));
        assert_eq!((inputs(1, plan), inputs(1, other)), (None, Some(10)));
        (2..=KEPT as u64 + 1).for_each(|rollout| cones.put(known(rollout, plan, 1)));
        assert_eq!((inputs(1, other), inputs(2, plan)), (None, Some(1)));
    }
}
