//! How the judges of rollouts came to where they are: the inputs of a rollout folded once, and gone on with from there.

use std::sync::Mutex;

use tidemill_core::{Digest, Timestamp};
use tidemill_db::delivery::Rollout;
use tidemill_deliver::judge::Cone;
use tidemill_deliver::rollout::{Input, Plan};
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
    cone: Cone,
}

/// A rollout's cone, and whether inputs are left that it does not have.
pub(super) struct Folded {
    pub(super) cone: Cone,
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

/// The cone of a rollout; none where it has no judge. What it was at each of `moments` is kept.
pub(super) async fn fold(
    ask: &Ask,
    rollout: &Rollout,
    plan: &Plan,
    moments: &[Timestamp],
) -> Result<Option<Folded>, Error> {
    let Some(spec) = &plan.judge else { return Ok(None) };
    let (cones, digest) = (ask.app.cones(), Digest::of(rollout.made.plan.as_bytes()));
    let mut known = match cones.take(rollout.id, digest) {
        Some(known) => known,
        None => {
            let cone = Cone::new(spec.clone()).map_err(|error| internal(&error.to_string()))?;
            Known { rollout: rollout.id, plan: digest, inputs: 0, cone }
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
            let looks = match read {
                Input::Look { look, .. } => vec![look],
                Input::Outcomes { looks, .. } => looks,
                _ => Vec::new(),
            };
            for look in looks {
                known.cone.look(input.at, &look, moments.contains(&input.at));
            }
        }
        if is_last {
            break;
        }
    }
    let folded = Folded { cone: known.cone.clone(), is_whole: known.inputs >= rollout.inputs };
    cones.put(known);
    Ok(Some(folded))
}

fn internal(why: &str) -> Error {
    Error::new(Code::InternalError, why)
}
