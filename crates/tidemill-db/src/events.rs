//! The event log as a list: appending and reading.

use std::fmt::Write as _;
use std::iter;
use std::sync::Arc;

use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use tidemill_core::{Actor, ActorKind, Event, EventKind, NewEvent, Timestamp, canonical_json};

use crate::backend::{Conn, Context, Either, Hand, Pools, Transact, on};
use crate::dialect::{Rows, Script};
use crate::log::{Frontier, Hash, leaf};
use crate::{Db, Error, Result};

/// Which end of the log comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As it happened.
    #[default]
    OldestFirst,
    /// For people.
    NewestFirst,
}

/// Which events to read. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// What it happened to, as `EventKind::subject` says: `run:…`, `dataset:…`, `store`.
    pub subject: Option<String>,
    /// The dotted name, for example `step.finished`.
    pub kind: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// With a greater sequence number than this.
    pub after: Option<u64>,
    /// With a smaller sequence number than this.
    pub before: Option<u64>,
    /// That name the event with this sequence number as their cause.
    pub cause: Option<u64>,
    /// At most this many; `None` gives all.
    pub limit: Option<usize>,
    /// Which end comes first (and survives the limit).
    pub order: Order,
}

impl Db {
    /// Reads events.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>> {
        let mut reader = self.reader().await?;
        let rows = select(reader.conn(), filter).await.map_err(self.ctx().fail("read events"))?;
        rows.iter().map(StoredEvent::to_event).collect()
    }

    /// The newest event of a kind, about one thing where that is given, and before another event where that is.
    pub async fn newest_event(
        &self,
        kind: &str,
        subject: Option<String>,
        before: Option<u64>,
    ) -> Result<Option<Event>> {
        let filter = EventFilter {
            kind: Some(kind.to_owned()),
            subject,
            before,
            limit: Some(1),
            order: Order::NewestFirst,
            ..EventFilter::default()
        };
        Ok(self.events(&filter).await?.pop())
    }

    /// The newest event of a kind for each thing that it happened to, by that thing; at most `limit`.
    pub async fn newest_events(&self, kind: &str, limit: usize) -> Result<Vec<Event>> {
        const SQL: &str = "SELECT seq, at, actor_kind, actor, kind, subject, body, cause, leaf FROM event
            WHERE seq IN (SELECT MAX(seq) FROM event WHERE kind = $1 GROUP BY subject) ORDER BY subject LIMIT $2";
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(kind).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read events"))?;
        rows.into_iter().map(|row| from_row(row).to_event()).collect()
    }

    /// The log as text: the canonical JSON of each event after `after`, at most `limit`, oldest first. The
    /// SHA-256 of a zero byte and such a line is the event's leaf in the Merkle tree.
    pub async fn log_lines(&self, after: u64, limit: usize) -> Result<Vec<String>> {
        let mut reader = self.reader().await?;
        let rows = page(reader.conn(), after, limit).await.map_err(self.ctx().fail("read events"))?;
        rows.iter()
            .map(|row| {
                let entry = row.entry(row.seq).ok_or_else(|| row.unreadable())?;
                Ok(String::from_utf8_lossy(&entry).into_owned())
            })
            .collect()
    }
}

/// The end of the log, locked for the transaction in which it was read.
pub(crate) struct Head {
    frontier: Frontier,
}

impl Head {
    /// Begins a write transaction in which nobody else moves the end of the log.
    pub(crate) async fn begin(pools: &Pools, ctx: &Arc<Context>) -> Result<(Transact, Self)> {
        let (tx, row) = Transact::write_with_head(pools, ctx).await?;
        Ok((tx, Self::of(ctx, row)?))
    }

    /// Of the size and the frontier that are stored.
    pub(crate) fn of(ctx: &Context, stored: Option<(i64, String)>) -> Result<Self> {
        let frontier = stored.and_then(|(size, text)| Frontier::from_text(u64::try_from(size).ok()?, &text));
        let frontier = frontier.ok_or_else(|| damaged(ctx, 0, "the stored head is missing or unreadable"))?;
        Ok(Self { frontier })
    }

    /// The number of the last event.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends events in their order and stores the new head; gives their sequence numbers.
    pub(crate) async fn append(&mut self, tx: &mut Transact, events: &[NewEvent]) -> Result<Vec<u64>> {
        let ctx = Arc::clone(&tx.ctx);
        let seqs = self.append_on(tx.conn().into(), &ctx, events).await?;
        tx.appended = seqs.last().copied().or(tx.appended);
        Ok(seqs)
    }

    /// As [`Self::append`], in a transaction on this connection.
    pub(crate) async fn append_on(
        &mut self,
        hand: Hand<'_>,
        ctx: &Context,
        events: &[NewEvent],
    ) -> Result<Vec<u64>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let old = self.frontier.size();
        let mut rows = Vec::with_capacity(events.len());
        let mut checkpoints = Vec::new();
        for event in events {
            let seq = self.frontier.size() + 1;
            if let Some(cause) = event.cause.filter(|cause| *cause == 0 || *cause >= seq) {
                return Err(Error::NotFound { what: "earlier event", name: cause.to_string() });
            }
            let row = StoredEvent::new(seq, event).map_err(Error::Json)?;
            if let Some(node) = self.frontier.push(row.leaf) {
                checkpoints.push((seq, self.frontier.root().to_string(), node.to_string()));
            }
            rows.push(row);
        }
        let seqs = rows.iter().map(|row| row.seq).collect();
        let stored = put(hand, &rows, &checkpoints, (old, &self.frontier)).await;
        let moved = stored.map_err(ctx.fail("append events"))?;
        if moved != 1 {
            return Err(damaged(ctx, old, "the stored head changed under a writer that had locked it"));
        }
        Ok(seqs)
    }
}

/// Events up to which they go with their head to the thread of a SQLite connection.
const FEW: usize = 16;

/// Stores events, the checkpoints of the tiles that they complete (the log's size, its root then, and the root of the tile), and the
/// head that they lead to, if that is still at `old`; gives the number of heads that were moved.
async fn put(
    mut hand: Hand<'_>,
    events: &[StoredEvent],
    checkpoints: &[(u64, String, String)],
    (old, head): (u64, &Frontier),
) -> sqlx::Result<u64> {
    const EVENTS: &str = "INSERT INTO event ({columns}) SELECT {columns} FROM {rows}";
    const CHECKPOINTS: &str = "INSERT INTO log_checkpoint ({columns}) SELECT {columns} FROM {rows}";
    const HEAD: &str = "UPDATE log_head SET size = r.size, root = r.root, frontier = r.frontier FROM {rows}
        WHERE log_head.id = 1 AND log_head.size = r.expected";
    let leaves: Vec<String> = events.iter().map(|event| event.leaf.to_string()).collect();
    let (root, frontier) = (head.root().to_string(), head.to_text());
    let events = event_rows(events, &leaves);
    let checkpoints = Rows::new(checkpoints.len())
        .int("size", checkpoints.iter().map(|(size, _, _)| *size as i64))
        .text("root", checkpoints.iter().map(|(_, root, _)| root.as_str()))
        .text("node", checkpoints.iter().map(|(_, _, node)| node.as_str()));
    let head = Rows::new(1)
        .int("size", iter::once(head.size() as i64))
        .text("root", iter::once(root.as_str()))
        .text("frontier", iter::once(frontier.as_str()))
        .int("expected", iter::once(old as i64));
    if let Hand::Sqlx(Either::Sqlite(c)) = hand.reborrow()
        && events.len() <= FEW
    {
        let script = Script::default().over(EVENTS, &events).over(CHECKPOINTS, &checkpoints);
        let written = script.over(HEAD, &head).write(c).await?;
        return Ok(written.saturating_sub((events.len() + checkpoints.len()) as u64));
    }
    hand.reborrow().write_rows(EVENTS, &events).await?;
    if checkpoints.len() != 0 {
        hand.reborrow().write_rows(CHECKPOINTS, &checkpoints).await?;
    }
    hand.write_rows(HEAD, &head).await
}

fn event_rows<'a>(events: &'a [StoredEvent], leaves: &'a [String]) -> Rows<'a> {
    Rows::new(events.len())
        .int("seq", events.iter().map(|event| event.seq as i64))
        .int("at", events.iter().map(|event| event.at))
        .text("actor_kind", events.iter().map(|event| event.actor_kind.as_str()))
        .text("actor", events.iter().map(|event| event.actor.as_str()))
        .text("kind", events.iter().map(|event| event.kind.as_str()))
        .text("subject", events.iter().map(|event| event.subject.as_str()))
        .text("body", events.iter().map(|event| event.body.as_str()))
        .opt_int("cause", events.iter().map(|event| event.cause))
        .text("leaf", leaves.iter().map(String::as_str))
}

/// A row of the table `event`.
pub(crate) struct StoredEvent {
    pub(crate) seq: u64,
    pub(crate) at: i64,
    pub(crate) actor_kind: String,
    pub(crate) actor: String,
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    pub(crate) cause: Option<i64>,
    pub(crate) leaf: Hash,
}

/// Members that the envelope adds to the body; a body must not have them itself.
const ENVELOPE: [&str; 4] = ["actor", "at", "cause", "seq"];

impl StoredEvent {
    fn new(seq: u64, event: &NewEvent) -> Result<Self, serde_json::Error> {
        let NewEvent { at, actor, kind, cause } = event.clone();
        let stored = Event { seq, at, actor, kind, cause };
        let leaf = leaf(&canonical_json(&stored)?);
        Ok(Self {
            seq,
            at: stored.at.millis(),
            actor_kind: actor_kind(stored.actor.kind).to_owned(),
            actor: stored.actor.name,
            kind: stored.kind.name().to_owned(),
            subject: stored.kind.subject(),
            body: String::from_utf8_lossy(&canonical_json(&stored.kind)?).into_owned(),
            cause: cause.map(|seq| seq as i64),
            leaf,
        })
    }

    /// The bytes that the leaf hash covers, made from the columns as if the event had the number `seq`. `None` if
    /// the body is not in the canonical form in which it is stored. Works for kinds of event that this version
    /// does not know.
    pub(crate) fn entry(&self, seq: u64) -> Option<Vec<u8>> {
        let body: Map<String, Value> = serde_json::from_str(&self.body).ok()?;
        if ENVELOPE.iter().any(|member| body.contains_key(*member))
            || canonical_json(&body).ok()? != self.body.as_bytes()
        {
            return None;
        }
        let mut entry = body;
        entry.insert("seq".to_owned(), seq.into());
        entry.insert("at".to_owned(), self.at.into());
        entry.insert("cause".to_owned(), self.cause.into());
        entry.insert("actor".to_owned(), serde_json::json!({ "kind": self.actor_kind, "name": self.actor }));
        canonical_json(&entry).ok()
    }

    /// The event, if this version knows its kind.
    pub(crate) fn to_event(&self) -> Result<Event> {
        let kind: EventKind = serde_json::from_str(&self.body).map_err(|_| self.unreadable())?;
        let actor = Actor { kind: parse_actor_kind("event", &self.actor_kind)?, name: self.actor.clone() };
        let cause = self.cause.map(|seq| seq as u64);
        Ok(Event { seq: self.seq, at: Timestamp::from_millis(self.at), actor, kind, cause })
    }

    fn unreadable(&self) -> Error {
        Error::value("event", "body", &self.body, "an event that this version knows")
    }
}

pub(crate) fn actor_kind(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::User => "user",
        ActorKind::Service => "service",
        ActorKind::System => "system",
    }
}

pub(crate) fn parse_actor_kind(table: &'static str, text: &str) -> Result<ActorKind> {
    match text {
        "user" => Ok(ActorKind::User),
        "service" => Ok(ActorKind::Service),
        "system" => Ok(ActorKind::System),
        _ => Err(Error::value(table, "actor_kind", text, "a kind of actor")),
    }
}

pub(crate) type Row = (i64, i64, String, String, String, String, String, Option<i64>, String);

pub(crate) fn from_row((seq, at, actor_kind, actor, kind, subject, body, cause, leaf): Row) -> StoredEvent {
    // A hash that cannot be read equals no computed one, which is what the check of the log then reports.
    let leaf = leaf.parse().unwrap_or(Hash([0; 32]));
    StoredEvent { seq: seq as u64, at, actor_kind, actor, kind, subject, body, cause, leaf }
}

/// Entries after `after` in their order, at most `limit`.
pub(crate) async fn page(conn: Conn<'_>, after: u64, limit: usize) -> sqlx::Result<Vec<StoredEvent>> {
    const SQL: &str = "SELECT seq, at, actor_kind, actor, kind, subject, body, cause, leaf FROM event
        WHERE seq > $1 ORDER BY seq LIMIT $2";
    let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows: Vec<Row> = on!(conn, c => sqlx::query_as(SQL).bind(after).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(from_row).collect())
}

enum Bound<'a> {
    Int(i64),
    Text(&'a str),
}

/// Which index a statement may go by. A database that knows little of its tables takes the wrong one, and so reads the whole log for a
/// page of it; a column in an expression is in no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// What happened and to what, or the order of the log.
    Name,
    /// When it happened.
    Time,
}

/// Adds the conditions of a filter to a statement; gives what is bound.
fn conditions<'a>(sql: &mut String, filter: &'a EventFilter, lead: Lead) -> Vec<Bound<'a>> {
    let number = |seq: u64| Bound::Int(i64::try_from(seq).unwrap_or(i64::MAX));
    let mut bound = Vec::new();
    let [subject, kind, since, until] = match lead {
        Lead::Name => ["subject =", "kind =", "at + 0 >=", "at + 0 <"],
        Lead::Time => ["subject || '' =", "kind || '' =", "at >=", "at <"],
    };
    let conditions = [
        (subject, filter.subject.as_deref().map(Bound::Text)),
        (kind, filter.kind.as_deref().map(Bound::Text)),
        (since, filter.since.map(|at| Bound::Int(at.millis()))),
        (until, filter.until.map(|at| Bound::Int(at.millis()))),
        ("seq >", filter.after.map(number)),
        ("seq <", filter.before.map(number)),
        ("cause =", filter.cause.map(number)),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            bound.push(value);
            let _ = write!(sql, " AND {condition} ${}", bound.len());
        }
    }
    bound
}

/// How many events meet a filter, at most `limit`.
pub(crate) async fn count(conn: Conn<'_>, filter: &EventFilter, limit: u64, lead: Lead) -> sqlx::Result<u64> {
    let mut sql = "SELECT COUNT(*) FROM (SELECT 1 FROM event WHERE TRUE".to_owned();
    let mut bound = conditions(&mut sql, filter, lead);
    bound.push(Bound::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
    let _ = write!(sql, " LIMIT ${}) n", bound.len());
    let count: i64 = on!(conn, c => {
        let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
        for value in bound {
            query = match value {
                Bound::Int(value) => query.bind(value),
                Bound::Text(value) => query.bind(value.to_owned()),
            };
        }
        query.fetch_one(c).await
    })?;
    Ok(count as u64)
}

/// The text is put together from constants only; what the caller gives is bound.
async fn select(conn: Conn<'_>, filter: &EventFilter) -> sqlx::Result<Vec<StoredEvent>> {
    let mut sql = "SELECT seq, at, actor_kind, actor, kind, subject, body, cause, leaf FROM event WHERE TRUE"
        .to_owned();
    let mut bound = conditions(&mut sql, filter, Lead::Name);
    sql.push_str(match filter.order {
        Order::OldestFirst => " ORDER BY seq",
        Order::NewestFirst => " ORDER BY seq DESC",
    });
    if let Some(limit) = filter.limit {
        bound.push(Bound::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        let _ = write!(sql, " LIMIT ${}", bound.len());
    }
    let rows: Vec<Row> = on!(conn, c => {
        let mut query = sqlx::query_as(AssertSqlSafe(sql));
        for value in bound {
            query = match value {
                Bound::Int(value) => query.bind(value),
                Bound::Text(value) => query.bind(value.to_owned()),
            };
        }
        query.fetch_all(c).await
    })?;
    Ok(rows.into_iter().map(from_row).collect())
}

pub(crate) fn damaged(ctx: &Context, seq: u64, detail: impl Into<String>) -> Error {
    Error::LogDamaged { place: ctx.place.clone(), seq, detail: detail.into() }
}
