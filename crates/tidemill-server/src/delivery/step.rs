//! One step of a stored rollout: decided by the engine, written with its events.

use serde::de::DeserializeOwned;
use tidemill_core::{Actor, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::Tx;
use tidemill_db::delivery::{self as stored, Advance, Rollout};
use tidemill_deliver::release::Release;
use tidemill_deliver::rollout::{Input, Outcome, Plan, State, decide, permit};
use tidemill_registry::{Code, Error};

/// The plan of a stored rollout.
///
/// # Errors
///
/// Where it cannot be read.
pub fn plan_of(rollout: &Rollout) -> Result<Plan, Error> {
    read("plan", rollout.id, &rollout.made.plan)
}

/// The state of a stored rollout.
///
/// # Errors
///
/// Where it cannot be read.
pub fn state_of(rollout: &Rollout) -> Result<State, Error> {
    read("state", rollout.id, &rollout.state)
}

/// What a stored release is.
pub(super) fn release_of(stored: &stored::Release) -> Result<Release, Error> {
    serde_json::from_str(&stored.body)
        .map_err(|error| internal(&format!("release {} cannot be read: {error}", stored.digest)))
}

fn read<T: DeserializeOwned>(what: &str, id: u64, text: &str) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|error| internal(&format!("the {what} of rollout {id} cannot be read: {error}")))
}

pub(super) fn write<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| internal(&error.to_string()))
}

pub(super) fn internal(why: &str) -> Error {
    Error::new(Code::InternalError, why)
}

/// A step that was written in a transaction which is still to be committed.
pub(super) struct Taken {
    pub(super) outcome: Outcome,
    /// The rollout as it is stored with the step.
    pub(super) rollout: Rollout,
    pub(super) events: Vec<NewEvent>,
}

/// Takes a rollout one step on. What a person may not do is refused, and nothing is written.
pub(super) async fn take(
    tx: &mut Tx,
    rollout: &Rollout,
    input: &Input,
    actor: &Actor,
    at: Timestamp,
) -> Result<Taken, Error> {
    let (plan, state) = (plan_of(rollout)?, state_of(rollout)?);
    take_from(tx, rollout, (&plan, &state), input, actor, at).await
}

/// [`take`] for those who have read the plan and the state of the stored rollout already.
pub(super) async fn take_from(
    tx: &mut Tx,
    rollout: &Rollout,
    (plan, state): (&Plan, &State),
    input: &Input,
    actor: &Actor,
    at: Timestamp,
) -> Result<Taken, Error> {
    permit(plan, state, input).map_err(|denied| Error::new(Code::InvalidState, denied.to_string()))?;
    let outcome = decide(plan, state, input, at);
    let text = write(&outcome.state)?;
    let evidence = Digest::of(text.as_bytes());
    let transitions: Vec<stored::RolloutTransition> = outcome
        .transitions
        .iter()
        .map(|transition| stored::RolloutTransition {
            at,
            from: transition.from.name().to_owned(),
            to: transition.to.name().to_owned(),
            stage: transition.stage as u64,
            why: transition.why.clone(),
        })
        .collect();
    let mut events: Vec<NewEvent> = transitions
        .iter()
        .map(|transition| EventKind::RolloutMoved {
            rollout: rollout.id,
            from: transition.from.clone(),
            to: transition.to.clone(),
            stage: transition.stage,
            why: transition.why.clone(),
            evidence: Some(evidence),
        })
        .map(|kind| NewEvent { at, actor: actor.clone(), kind, cause: None })
        .collect();
    if let Input::Approve { approval } = input {
        let kept = stored::Approval {
            by: approval.by.clone(),
            role: approval.role.clone(),
            inputs: approval.inputs,
            at: approval.at,
        };
        tx.add_approval(rollout.id, &kept).await?;
        let kind = EventKind::RolloutApproved {
            rollout: rollout.id,
            role: kept.role,
            inputs: kept.inputs,
            identity: approval.identity,
        };
        events.insert(0, NewEvent { at, actor: actor.clone(), kind, cause: None });
    }
    let step = Advance {
        inputs: rollout.inputs,
        at,
        input: write(input)?,
        phase: outcome.state.phase.name().to_owned(),
        is_over: outcome.state.phase.is_over() && outcome.state.due.is_empty(),
        state: text,
        transitions,
    };
    if !tx.advance_rollout(rollout.id, &step).await? {
        let why = format!("rollout {} went on in between; look at it again", rollout.id);
        return Err(Error::new(Code::ResourceConflict, why));
    }
    let Advance { at, state, phase, is_over, .. } = step;
    let rollout =
        Rollout { inputs: rollout.inputs + 1, state, phase, is_over, updated_at: at, ..rollout.clone() };
    Ok(Taken { outcome, rollout, events })
}
