//! `/hooks/NAME`: webhooks that triggers have.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde_json::json;
use tidemill_core::declare::When;
use tidemill_core::{Actor, SourceKind};
use tidemill_registry::{Code, Error};
use tidemill_trigger::hook::{Header, Verified, pushes, verify};
use tidemill_trigger::{Details, Rule, alertmanager, cloudevent, detail};

use super::{Triggers, git};
use crate::App;
use crate::api::Problem;
use crate::shell::Unknown;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/hooks/{name}", post(call).options(allow))
}

/// Before the first CloudEvent a sender may ask whether it may send (CloudEvents, "Abuse Protection").
async fn allow(headers: HeaderMap) -> Response {
    const ALLOWED: &str = "webhook-allowed-origin";
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert("allow", HeaderValue::from_static("POST"));
    if let Some(origin) = headers.get("webhook-request-origin") {
        response.headers_mut().insert(ALLOWED, origin.clone());
        response.headers_mut().insert("webhook-allowed-rate", HeaderValue::from_static("120"));
    }
    response
}

async fn call(
    State(app): State<App>,
    Path(name): Path<String>,
    Extension(actor): Extension<Actor>,
    unknown: Option<Extension<Unknown>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let rules = app.config().triggers.as_ref().map(|triggers| (triggers, triggers.rules()));
    let found = rules.as_ref().and_then(|(triggers, rules)| {
        let rule = rules.get(&name).filter(|rule| rule.has_webhook())?;
        Some((*triggers, rule))
    });
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some((triggers, rule)) = found else {
        // Who is not known is not told which names there are.
        if unknown.is_some() {
            return Err(refused("the request is not signed by anybody who is known"));
        }
        return Err(Error::missing(format!(
            "no trigger of this project has the webhook `{}`",
            detail(&name)
        ))
        .into());
    };
    let call = Call { triggers, rule, header: &header, body: &body };
    let (verified, actor) = call.sender(actor, unknown.is_some())?;
    let Received { events, repeated, ignored } = call.receive(&verified, actor).await?;
    let status = if events.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let said = json!({"data": {"trigger": name, "events": events, "repeated": repeated, "ignored": ignored}});
    Ok((status, Json(said)).into_response())
}

fn refused(why: impl Into<String>) -> Problem {
    Problem::from(Error::new(Code::Unauthenticated, why))
        .hint("sign with the secret of the trigger, or send the server's token where it has none")
}

struct Call<'a> {
    triggers: &'a Triggers,
    rule: &'a Rule,
    header: Header<'a>,
    body: &'a [u8],
}

/// What became of a call.
#[derive(Default)]
struct Received {
    /// The events that came of it.
    events: Vec<u64>,
    /// How much of it had come before.
    repeated: usize,
    /// How much of it is about something else.
    ignored: usize,
}

impl Call<'_> {
    /// Whether the sender may call this webhook, and who stands in the log for it.
    fn sender(&self, actor: Actor, unknown: bool) -> Result<(Verified, Actor), Problem> {
        let Some(secret) = &self.rule.trigger.secret else {
            if unknown {
                return Err(refused("the request carries no valid token"));
            }
            let id = ["idempotency-key", "webhook-id"].iter().find_map(|name| (self.header)(name));
            let key = id.map(str::to_owned);
            return Ok((Verified { sender: "token", key, is_of_text: false, delivery: None }, actor));
        };
        let secret = self.triggers.host().secret(secret).map_err(|why| {
            Problem::from(Error::new(
                Code::TemporarilyUnavailable,
                format!("the secret cannot be read: {why}"),
            ))
        })?;
        let verified = verify(self.header, self.body, &secret, self.triggers.now())
            .map_err(|refusal| refused(refusal.to_string()))?;
        let actor = Actor { kind: tidemill_core::ActorKind::Service, name: verified.sender.to_owned() };
        Ok((verified, actor))
    }

    async fn receive(&self, verified: &Verified, actor: Actor) -> Result<Received, Problem> {
        let bad = |error: String| Problem::from(Error::invalid(error));
        match &self.rule.trigger.when {
            When::Webhook => {
                let details = [("sender".to_owned(), verified.sender.to_owned())].into();
                let all = vec![(verified.request_key(self.triggers.now()), details)];
                self.record(SourceKind::Webhook, all, &actor).await
            }
            When::CloudEvent { kind, source } => {
                let events =
                    cloudevent::parse(self.header, self.body).map_err(|error| bad(error.to_string()))?;
                let all = events.len();
                let wanted: Vec<(Option<String>, Details)> = events
                    .into_iter()
                    .filter(|event| event.is(kind, source.as_deref()))
                    .map(|event| (Some(event.key()), event.details()))
                    .collect();
                let ignored = all - wanted.len();
                let received = self.record(SourceKind::Cloudevent, wanted, &actor).await?;
                Ok(Received { ignored, ..received })
            }
            When::Alertmanager { alert } => {
                let alerts =
                    alertmanager::firing(self.body, alert).map_err(|error| bad(error.to_string()))?;
                let all = alerts.into_iter().map(|alert| (Some(alert.key), alert.details)).collect();
                self.record(SourceKind::Alertmanager, all, &actor).await
            }
            When::Git { branch, .. } => self.push(branch, verified, actor).await,
            When::Schedule { .. }
            | When::Data { .. }
            | When::Expectations { .. }
            | When::Alert { .. }
            | When::Model { .. }
            | When::Environment { .. }
            | When::Message(_) => Ok(Received { ignored: 1, ..Received::default() }),
        }
    }

    async fn push(&self, branch: &str, verified: &Verified, actor: Actor) -> Result<Received, Problem> {
        let push = pushes(self.header, self.body).map_err(|error| Error::invalid(error.to_string()))?;
        let push = push.filter(|push| push.branch == branch);
        let Some((commit, details)) = push.and_then(|push| Some((push.commit?, push.details))) else {
            return Ok(Received { ignored: 1, ..Received::default() });
        };
        let name = &self.rule.trigger.name;
        let key = verified.key.as_deref().map(shortened).unwrap_or_default();
        let event = git::note(self.triggers, name, branch, &commit, details, actor, Some(&key)).await?;
        let repeated = usize::from(event.is_none());
        Ok(Received { events: event.into_iter().collect(), repeated, ignored: 0 })
    }

    /// Records what came, with the keys that tell what comes again.
    async fn record(
        &self,
        source: SourceKind,
        all: Vec<(Option<String>, Details)>,
        actor: &Actor,
    ) -> Result<Received, Problem> {
        if all.is_empty() {
            return Ok(Received::default());
        }
        let (t, name) = (self.triggers, self.rule.trigger.name.as_str());
        let mut tx = t.db().begin().await?;
        let first = tx.next_seq();
        let (mut events, mut repeated) = (Vec::new(), 0);
        for (key, details) in all {
            if let Some(key) = key
                && !tx.add_delivery(t.project(), &format!("hook:{name}"), &shortened(&key), t.now()).await?
            {
                repeated += 1;
                continue;
            }
            events.push(t.changed(actor.clone(), source, name, details));
        }
        if events.is_empty() {
            return Ok(Received { repeated, ..Received::default() });
        }
        let numbers = (first..).take(events.len()).collect();
        tx.commit(events).await?;
        Ok(Received { events: numbers, repeated, ignored: 0 })
    }
}

/// A key of any length as one that a table takes: no character NUL, and bounded.
pub(super) fn shortened(key: &str) -> String {
    if key.len() <= 200 && !key.contains('\0') {
        return key.to_owned();
    }
    tidemill_core::Digest::of(key.as_bytes()).to_string()
}
