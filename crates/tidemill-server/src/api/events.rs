//! The log of events: pages of it, and a stream that follows it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_core::Event as Logged;
use tidemill_db::{EventFilter, Order};
use tidemill_registry::{Code, Error};
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{Limit, Page, PageAnswer, Position, Query, Text, Time};
use super::{Failures, Problem};
use crate::App;

/// How often a stream looks whether other servers wrote more.
const LOOK: Duration = Duration::from_millis(250);
/// The shortest time between two looks, since a busy log grows a thousand times a second.
const REST: Duration = Duration::from_millis(50);
/// The most events that a stream reads at once.
const STRIDE: usize = 200;

/// Who did something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Actor {
    /// What kind of hand acted.
    #[schema(value_type = String, pattern = "^(user|service|system)$")]
    kind: tidemill_core::ActorKind,
    /// The name.
    name: String,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    /// Position in the log, from 1, without gaps.
    #[schema(minimum = 1)]
    seq: u64,
    /// When.
    at: Time,
    /// What happened, for example `run.finished`.
    kind: &'static str,
    /// What it happened to, for example `model:churn`.
    subject: String,
    /// Who did it.
    actor: Actor,
    /// The event that led to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    cause: Option<u64>,
    /// What else is known, by kind.
    #[schema(value_type = Object)]
    details: Value,
}

impl From<Logged> for Event {
    fn from(event: Logged) -> Self {
        let mut details = serde_json::to_value(&event.kind).unwrap_or_default();
        if let Value::Object(details) = &mut details {
            details.remove("kind");
        }
        Self {
            seq: event.seq,
            at: Time(event.at),
            kind: event.kind.name(),
            subject: event.kind.subject(),
            actor: Actor { kind: event.actor.kind, name: event.actor.name },
            cause: event.cause,
            details,
        }
    }
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    Oldest,
    #[default]
    Newest,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only events about this, for example `model:churn` or `run:3f2a…`
    #[param(value_type = Option<String>, min_length = 1)]
    subject: Option<Text>,
    /// Only events of this kind, for example `alias.moved`
    #[param(value_type = Option<String>, min_length = 1)]
    kind: Option<Text>,
    /// Not before this time
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Time>,
    /// Before this time
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Time>,
    /// Which end comes first
    #[serde(default)]
    #[param(inline, required = false)]
    order: Direction,
    /// `next` of the page before, with the other parameters unchanged
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    cursor: Option<Position>,
    /// How many events
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// The log of every change of state
#[utoipa::path(get, path = "/api/v1/events", operation_id = "listEvents", tag = "log", params(Wanted),
    responses((status = 200, description = "A page of events", body = Page<Event>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageAnswer<Event> {
    let newest = wanted.order == Direction::Newest;
    let filter = EventFilter {
        subject: wanted.subject.map(|text| text.0),
        kind: wanted.kind.map(|text| text.0),
        since: wanted.since.map(|time| time.0),
        until: wanted.until.map(|time| time.0),
        after: wanted.cursor.filter(|_| !newest).map(|cursor| cursor.0),
        before: wanted.cursor.filter(|_| newest).map(|cursor| cursor.0),
        cause: None,
        limit: Some(wanted.limit.and_one()),
        order: if newest { Order::NewestFirst } else { Order::OldestFirst },
    };
    let events = app.registry().db().events(&filter).await?;
    Ok(Page::of(events, wanted.limit, |event| event.seq.to_string(), Event::from))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Followed {
    /// Only events about this
    #[param(value_type = Option<String>, min_length = 1)]
    subject: Option<Text>,
    /// Only events of this kind
    #[param(value_type = Option<String>, min_length = 1)]
    kind: Option<Text>,
    /// Begin after this event; at the end of the log where not given. The header `Last-Event-ID`, which browsers send
    /// when they connect again, counts more
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    after: Option<u64>,
}

/// Follows the log: server-sent events
///
/// Each message is named after the event's kind, has its `seq` as id and the event as data. A comment comes every
/// fifteen seconds when nothing happens. The stream ends when the server stops. A server has places for 256 streams.
#[utoipa::path(get, path = "/api/v1/events/stream", operation_id = "followEvents", tag = "log", params(Followed),
    responses((status = 200, description = "Events as they happen", body = String,
        content_type = "text/event-stream"), Failures))]
pub(super) async fn follow(
    State(app): State<App>,
    headers: HeaderMap,
    Query(wanted): Query<Followed>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    // Each of them asks the database several times a second, as long as it is open.
    let Some(place) = app.stream() else {
        let why = "as many clients follow the log as the server takes";
        let busy = Problem::from(Error::new(Code::TemporarilyUnavailable, why));
        return Err(busy.hint("close a stream, or read pages of `/api/v1/events`"));
    };
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = match resumed.or(wanted.after) {
        Some(after) => after,
        None => app.registry().db().log_head().await?.size,
    };
    let filter = EventFilter {
        subject: wanted.subject.map(|text| text.0),
        kind: wanted.kind.map(|text| text.0),
        after: Some(after),
        limit: Some(STRIDE),
        ..EventFilter::default()
    };
    let growth = app.registry().db().log_growth();
    let tail = Tail { app, growth, filter, ready: Vec::new().into_iter(), _place: place };
    Ok(Sse::new(stream::unfold(tail, Tail::next)).keep_alive(KeepAlive::default()))
}

/// A place in the log, and what was read after it.
struct Tail {
    app: App,
    /// Told of what this server commits.
    growth: watch::Receiver<u64>,
    filter: EventFilter,
    ready: std::vec::IntoIter<Logged>,
    _place: OwnedSemaphorePermit,
}

impl Tail {
    /// The next event; nothing when the server stops or the database fails, after which clients connect again.
    async fn next(mut self) -> Option<(Result<sse::Event, Infallible>, Self)> {
        let stop = self.app.background().stopping();
        loop {
            if let Some(event) = self.ready.next() {
                self.filter.after = Some(event.seq);
                let (id, event) = (event.seq.to_string(), Event::from(event));
                let data = serde_json::to_string(&event).unwrap_or_default();
                return Some((Ok(sse::Event::default().id(id).event(event.kind).data(data)), self));
            }
            // Before the log is read: what is committed meanwhile is news.
            self.growth.borrow_and_update();
            match self.app.registry().db().events(&self.filter).await {
                Ok(events) if events.is_empty() => tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(LOOK) => {}
                    Ok(()) = self.growth.changed() => tokio::time::sleep(REST).await,
                },
                Ok(events) => self.ready = events.into_iter(),
                Err(error) => {
                    tracing::error!(%error, "cannot follow the log");
                    return None;
                }
            }
        }
    }
}
