//! `tidemill rollout approve|proceed|abort|rollback|drop`: what people do to a rollout. And `replay`, which changes nothing.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};
use tidemill_core::{EventKind, Timestamp};
use tidemill_db::EventFilter;
use tidemill_db::delivery::Rollout;
use tidemill_deliver::rollout::{Input, State, replay as fold};
use tidemill_server::delivery::{Action, act, plan_of, state_of};

use super::status::find;
use crate::app::{App, identity};
use crate::command::signed_in::{Server, SignIn, server};
use crate::failure::{Exit, Failure, Said};

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The rollout's number
    rollout: u64,
    /// Approve only if this is what waits: `inputs` of `tidemill rollout status --json`
    #[arg(long, value_name = "DIGEST")]
    inputs: Option<String>,
    #[command(flatten)]
    who: SignIn,
}

/// Letting a stage pass is an agreement, too.
#[derive(Debug, Args)]
pub(crate) struct Proceed {
    #[command(flatten)]
    of: Reasoned,
    #[command(flatten)]
    who: SignIn,
}

#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// The rollout's number
    rollout: u64,
    /// Why; stands in the log
    #[arg(long, short, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Drop {
    /// The rollout's number
    rollout: u64,
    /// Which candidate, as in `flights-late@3`
    candidate: String,
    /// Why; stands in the log
    #[arg(long, short, value_name = "TEXT")]
    reason: String,
    /// It did harm: put its release into quarantine
    #[arg(long)]
    harm: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The rollout's number
    rollout: u64,
}

pub(super) fn approve(args: &Approve, app: &App<'_>) -> anyhow::Result<()> {
    let inputs = args
        .inputs
        .as_deref()
        .map(|text| {
            text.parse().map_err(|error: tidemill_core::DigestError| Failure::usage(error.to_string()))
        })
        .transpose()?;
    if let Some(server) = server(app, &args.who)? {
        let body = json!({"action": "approve", "inputs": args.inputs});
        return performed(args.rollout, &server, &body, app);
    }
    perform(args.rollout, &Action::Approve { inputs }, app)
}

pub(super) fn proceed(args: &Proceed, app: &App<'_>) -> anyhow::Result<()> {
    let Proceed { of, who } = args;
    if let Some(server) = server(app, who)? {
        let body = json!({"action": "proceed", "reason": of.reason});
        return performed(of.rollout, &server, &body, app);
    }
    perform(of.rollout, &Action::Proceed { why: of.reason.clone() }, app)
}

pub(super) fn abort(args: &Reasoned, app: &App<'_>) -> anyhow::Result<()> {
    perform(args.rollout, &Action::Abort { why: args.reason.clone() }, app)
}

pub(super) fn rollback(args: &Reasoned, app: &App<'_>) -> anyhow::Result<()> {
    perform(args.rollout, &Action::Rollback { why: args.reason.clone() }, app)
}

/// Takes one of several candidates out; the others go on.
pub(super) fn drop(args: &Drop, app: &App<'_>) -> anyhow::Result<()> {
    let (candidate, why) = (args.candidate.clone(), args.reason.clone());
    perform(args.rollout, &Action::Drop { candidate, why, harm: args.harm }, app)
}

fn perform(id: u64, action: &Action, app: &App<'_>) -> anyhow::Result<()> {
    let by = (&app.actor, identity());
    let state = app.block(act(app.db()?, app.clock.as_ref(), by, id, action))?;
    say(id, state.phase.name(), app)
}

/// The same at a server, under the name that it has checked.
fn performed(id: u64, server: &Server, body: &Value, app: &App<'_>) -> anyhow::Result<()> {
    let said = server.post(app, &format!("/api/v1/rollouts/{id}/actions"), body)?;
    say(id, said["data"]["phase"].as_str().unwrap_or("as the server says"), app)
}

fn say(id: u64, phase: &str, app: &App<'_>) -> anyhow::Result<()> {
    if app.console.json() {
        return app.console.value(&json!({"rollout": id, "phase": phase}));
    }
    app.console.line(format!("rollout {id}: {phase}"));
    Ok(())
}

/// Computes every step anew from the log and compares the end with what is stored.
pub(super) fn replay(args: &Replay, app: &App<'_>) -> anyhow::Result<()> {
    const MOST: usize = 10_000_000;
    let rollout = find(app, args.rollout)?;
    let (plan, stored) = (plan_of(&rollout)?, state_of(&rollout)?);
    let inputs = app.block(app.db()?.rollout_inputs(rollout.id, 0, MOST))?;
    let mut log: Vec<(Timestamp, Input)> = Vec::with_capacity(inputs.len());
    for input in &inputs {
        let read = serde_json::from_str(&input.body).map_err(|error| {
            Failure::new(format!("input {} of rollout {} cannot be read: {error}", input.number, rollout.id))
        })?;
        log.push((input.at, read));
    }
    let replayed: State = fold(&plan, began(app, &rollout)?, &log)?;
    let is_same = serde_json::to_string(&replayed)? == serde_json::to_string(&stored)?;
    let differs = difference(&serde_json::to_value(&stored)?, &serde_json::to_value(&replayed)?, "");
    if app.console.json() {
        app.console.value(&json!({
            "rollout": rollout.id, "inputs": log.len(), "phase": replayed.phase.name(), "identical": is_same,
            "difference": differs,
        }))?;
    } else {
        let verdict = if is_same { "the same, byte for byte" } else { "another state than the stored one" };
        app.console.line(format!("{} inputs lead to {}: {verdict}", log.len(), replayed.phase.name()));
        if let Some(differs) = differs {
            app.console.line(format!("  first difference: {differs}"));
        }
    }
    if is_same { Ok(()) } else { Err(Said(Exit::Failed).into()) }
}

/// When a rollout began: when it was made, or when it had waited for another one to end.
fn began(app: &App<'_>, rollout: &Rollout) -> anyhow::Result<Timestamp> {
    let filter = EventFilter {
        kind: Some("rollout.moved".to_owned()),
        subject: Some(format!("rollout:{}", rollout.id)),
        limit: Some(1),
        ..EventFilter::default()
    };
    let first = app.block(app.db()?.events(&filter))?.into_iter().next();
    let waited = first
        .filter(|event| matches!(&event.kind, EventKind::RolloutMoved { from, .. } if from == "waiting"));
    Ok(waited.map_or(rollout.made.at, |event| event.at))
}

/// The first place at which two states are different, with both values.
fn difference(stored: &Value, replayed: &Value, place: &str) -> Option<String> {
    match (stored, replayed) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            // A member that is missing counts as null.
            keys.into_iter()
                .find_map(|key| difference(&stored[key], &replayed[key], &format!("{place}/{key}")))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(at, (one, other))| difference(one, other, &format!("{place}/{at}"))),
        (one, other) if one == other => None,
        (one, other) => Some(format!("{place}: stored {}, replayed {}", short(one), short(other))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 200 { text } else { text.chars().take(200).chain(['…']).collect() }
}
