//! Changes of endpoints: checked, made ready, recorded with an event, then in effect.

use tidemill_core::{Actor, ActorKind, Digest, EventKind, Name, NewEvent};
use tidemill_db::Tx;
use tidemill_db::delivery::RolloutFilter;
use tidemill_db::endpoints::Endpoint;
use tidemill_registry::{Code, Error, Registry};
use tidemill_serve::InferError;
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::led::{apart, drawn, led_name};
use tidemill_serve::gateway::route::Rule;

use crate::delivery::{arm_name, plan_of};

/// Rollouts of one endpoint that are looked at.
const MOST_LIVE: usize = 1_000;

/// A change that was made.
#[derive(Debug)]
pub struct Change {
    /// The declaration as it is stored.
    pub spec: EndpointSpec,
    /// Its revision.
    pub revision: u64,
}

/// Why a change was not made.
#[derive(Debug)]
pub struct Refusal {
    /// What stands against it.
    pub error: Error,
    /// What to do next.
    pub hint: &'static str,
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { error: error.into(), hint: "`/api/v1/endpoints/{name}` shows an endpoint as it is" }
    }
}

/// Declares an endpoint. Its models are loaded first, so that no request waits for them, and a declaration that cannot
/// work is refused. With `expected` only that revision is replaced; 0 stands for an endpoint that is not there. Without
/// a gateway the servers that follow the registry's log load them. What answers at an endpoint that releases go to is changed by rollouts
/// alone: past their gates, approvals and freezes there is no other way.
///
/// # Errors
///
/// Where the declaration cannot be, is not the expected one's successor, or a model of it cannot answer; where somebody else than a rollout
/// changes the arms of an endpoint that releases go to.
pub async fn put(
    registry: &Registry,
    gateway: Option<&Gateway>,
    actor: &Actor,
    name: &str,
    spec: EndpointSpec,
    expected: Option<u64>,
) -> Result<Change, Refusal> {
    let name = Name::new(name).map_err(|error| Error::invalid(error.to_string()))?;
    // The request is as the document says; what it asks for contradicts itself.
    let wrong = |why: String| Error::new(Code::ResourceConflict, format!("the declaration cannot be: {why}"));
    // Looked at before anything is loaded for it.
    spec.clone().settle(None).map_err(wrong)?;
    if let Some(gateway) = gateway {
        gateway.prepare(&spec).await.map_err(|error| not_ready(&error))?;
    }
    let (db, at) = (registry.db(), registry.clock().now());
    let mut tx = db.begin().await?;
    let before = tx.endpoint(name.as_str()).await?;
    let revision = before.as_ref().map_or(0, |before| before.revision);
    if expected.is_some_and(|expected| expected != revision) {
        let message =
            format!("endpoint `{name}` is at revision {revision}, not at the one that was to be replaced");
        let hint = "look at it again, then send the change with that revision";
        return Err(Refusal { error: Error::new(Code::ResourceConflict, message), hint });
    }
    let before = before.as_ref().map(read).transpose()?;
    let is_released = tx.is_released_to(name.as_str()).await?;
    // What rules lead is no part of what a rollout compares.
    let spec = if is_released { apart(spec) } else { spec };
    let spec = spec.settle(before.as_ref()).map_err(wrong)?;
    let stays = |before: &EndpointSpec| drawn(&before.arms).eq(drawn(&spec.arms));
    if actor.kind != ActorKind::System && is_released && !before.as_ref().is_some_and(stays) {
        let message = format!("releases say which models answer at `{name}`, so its arms stay as they are");
        let hint = "`tidemill release` changes them, `tidemill rollout abort` and `rollback` take that back; everything else \
            of the endpoint can be declared here";
        return Err(Refusal { error: Error::new(Code::ResourceConflict, message), hint });
    }
    if actor.kind != ActorKind::System
        && is_released
        && let Some(why) = led_to_candidate(&mut tx, name.as_str(), before.as_ref(), &spec).await?
    {
        let hint = "declare it as one of the `routes` of the rollout in the project file, where it is a part of what people agree to";
        return Err(Refusal { error: Error::new(Code::ResourceConflict, why), hint });
    }
    let text = serde_json::to_string(&spec).map_err(|error| internal(&error.to_string()))?;
    let revision = tx.put_endpoint(name.as_str(), &text, actor, at).await?;
    let kind = EventKind::EndpointSet {
        endpoint: name.to_string(),
        revision,
        spec: Digest::of(text.as_bytes()),
        arms: words(&spec),
        records: spec.records.words(),
    };
    tx.commit(vec![NewEvent { at, actor: actor.clone(), kind, cause: None }]).await?;
    if let Some(gateway) = gateway {
        gateway.set_endpoint(name.as_str(), revision, spec.clone()).map_err(|why| internal(&why))?;
    }
    Ok(Change { spec, revision })
}

/// Why a declaration's rules cannot be: a new one leads requests to a release that is being rolled out, past its shares, its approvals,
/// freezes and its judge.
async fn led_to_candidate(
    tx: &mut Tx,
    name: &str,
    before: Option<&EndpointSpec>,
    spec: &EndpointSpec,
) -> Result<Option<String>, Error> {
    let known = before.map_or(&[][..], |before| &before.rules);
    let new: Vec<&Rule> = spec.rules.iter().filter(|rule| !known.contains(rule)).collect();
    if new.is_empty() {
        return Ok(None);
    }
    let filter = RolloutFilter { endpoint: Some(name.to_owned()), is_live: true, ..RolloutFilter::default() };
    for rollout in tx.rollouts(&filter, MOST_LIVE).await? {
        for candidate in plan_of(&rollout)?.candidates() {
            let led = led_name(&arm_name(candidate));
            if new.iter().any(|rule| rule.arm == led) {
                return Ok(Some(format!(
                    "rollout {} decides which requests of `{name}` go to release {}, so no rule that is set by hand leads there",
                    rollout.id,
                    candidate.short()
                )));
            }
        }
    }
    Ok(None)
}

/// Deletes an endpoint; `false` where there is none. Where releases go to it, it stays: without it requests would find a model of the same name,
/// by whatever its alias points at.
///
/// # Errors
///
/// What the database refuses; where somebody else than a rollout deletes an endpoint that releases go to.
pub async fn delete(
    registry: &Registry,
    gateway: Option<&Gateway>,
    actor: &Actor,
    name: &str,
) -> Result<bool, Refusal> {
    let (db, at) = (registry.db(), registry.clock().now());
    let mut tx = db.begin().await?;
    if actor.kind != ActorKind::System && tx.is_released_to(name).await? && tx.endpoint(name).await?.is_some()
    {
        let message = format!("releases say which models answer at `{name}`, so it cannot be deleted");
        let hint = "`tidemill rollout rollback` takes back what runs there";
        return Err(Refusal { error: Error::new(Code::ResourceConflict, message), hint });
    }
    let Some(revision) = tx.delete_endpoint(name, actor, at).await? else { return Ok(false) };
    let kind = EventKind::EndpointDeleted { endpoint: name.to_owned(), revision };
    tx.commit(vec![NewEvent { at, actor: actor.clone(), kind, cause: None }]).await?;
    if let Some(gateway) = gateway {
        gateway.remove_endpoint(name);
    }
    Ok(true)
}

/// A stored declaration.
///
/// # Errors
///
/// Where a version of Tidemill wrote it that knows more.
pub fn read(endpoint: &Endpoint) -> Result<EndpointSpec, Error> {
    let why =
        |error| internal(&format!("the declaration of endpoint `{}` cannot be read: {error}", endpoint.name));
    serde_json::from_str(&endpoint.spec).map_err(why)
}

/// The arms in words, as the log has them.
pub fn words(spec: &EndpointSpec) -> Vec<String> {
    let shares = spec.shares();
    let arm = |arm: &tidemill_serve::gateway::route::Arm| {
        let version = arm
            .version
            .as_deref()
            .map(|version| if version.starts_with('@') { version.to_owned() } else { format!("@{version}") });
        let percent = if arm.shadow {
            format!("shadow of {} %", arm.weight)
        } else {
            format!("{} %", f64::from(shares.get(arm.name.as_str()).copied().unwrap_or(0)) / 100.0)
        };
        format!("{}: {}{}, {percent}", arm.name, arm.model, version.unwrap_or_default())
    };
    spec.arms.iter().map(arm).collect()
}

fn not_ready(error: &InferError) -> Refusal {
    let hint = "nothing was changed; `/api/v1/serving/models` shows how models stand";
    Refusal { error: Error::new(Code::InvalidState, error.to_string()), hint }
}

fn internal(why: &str) -> Error {
    Error::new(Code::InternalError, why)
}
