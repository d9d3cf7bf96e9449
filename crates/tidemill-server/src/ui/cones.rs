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
    fn take(&self, rollout: u64, plan: Digest) -> Option<Known> {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = known.iter().position(|known| known.rollout == rollout)?;
        Some(known.remove(at)).filter(|known| known.plan == plan)
    }

    /// Two who looked at the same time folded the same; either may stay.
    fn put(&self, new: Known) {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|known| known.rollout != new.rollout);
        known.push(new);
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
    let mut known = match cones.take(rollout.id, digest) {
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
        Input::Outcomes { looks, of_each, .. } => own(looks).chain(named(of_each)).collect(),
        _ => Vec::new(),
    }
}

fn internal(why: &str) -> Error {
    Error::new(Code::InternalError, why)
}
