//! The log of events: filtered pages of it, and one event with what led to it and the proof that it is there.

use std::fmt::Write as _;

use tidemill_core::{Event, EventKind, Quiet, Timestamp};
use tidemill_db::{EventFilter, Order};
use tidemill_registry::Error;
use tidemill_ui::{
    Area, Badge, Block, Cell, Control, Crumb, Empty, Facts, FilterBox, Page, Section, Table, Tone, Total,
    href,
};

use super::Made;
use super::ask::Ask;
use super::experiments::not_understood;
use super::total;
use super::words::{details, said_of, subject_link};

const PAGE: usize = 100;
/// Events of a chain of causes that are shown, the nearest ones.
const CHAIN: usize = 100;
/// Effects of an event on one page.
const EFFECTS: usize = 100;
/// Effects are counted up to here.
const COUNTED: u64 = 10_000;
/// A log of at most so many events is read and hashed whole while one waits.
const WHOLE: u64 = 200_000;

pub(super) async fn list(ask: Ask) -> Made {
    let (since, since_error) = time(ask.get("since"));
    let (until, until_error) = time(ask.get("until"));
    let filter = EventFilter {
        subject: ask.get("subject").map(str::to_owned),
        kind: ask.get("kind").map(str::to_owned),
        since,
        until,
        before: ask.place(|text| text.parse().ok())?,
        limit: Some(PAGE + 1),
        order: Order::NewestFirst,
        ..EventFilter::default()
    };
    // A list that leaves a part of the question out would look like its answer.
    let error = [since_error, until_error].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let (mut events, total) = if error.is_empty() {
        (ask.app.registry().db().events(&filter).await?, total::of_events(&ask, &filter).await?)
    } else {
        (Vec::new(), None)
    };
    let more = events.len() > PAGE;
    events.truncate(PAGE);
    let mut found = table(&ask, &events);
    found.empty = Some(if error.is_empty() {
        Empty::new("No event fits", "Leave the fields empty to see the whole log.")
            .link("/log", "The whole log")
    } else {
        not_understood()
    });
    let next = events.last().filter(|_| more).map(|last| last.seq.to_string());
    found.pager = Some(ask.pager(next.as_deref(), events.len(), total, ["event", "events"]));
    let line = |name: &str, label: &str, example: &str, wide| Control::Line {
        name: name.into(),
        label: label.into(),
        value: ask.get(name).unwrap_or_default().to_owned(),
        example: example.into(),
        wide,
    };
    let form = FilterBox {
        action: "/log".into(),
        label: "Filter the log".into(),
        controls: vec![
            line("subject", "About", "model:flights-late", true),
            line("kind", "Kind", "alias.moved", false),
            line("since", "Since", "2026-11-23T09:30:00Z", false),
            line("until", "Until", "2026-11-24T00:00:00Z", false),
        ],
        error,
        button: "Filter".into(),
        ..FilterBox::default()
    };
    Ok(Page {
        title: "Log".into(),
        area: Area::Log,
        lead: "Every change of state, in order, with who made it and what led to it. Nothing in it is ever changed.".into(),
        blocks: vec![
            Block::Section(proof(&ask).await?),
            Block::Filter(form),
            Block::Section(Section::new("events", "", vec![Block::Table(found)])),
        ],
        // Every entry is hashed for the answer: that is done when somebody asks for it, not whenever something happens.
        live: if ask.has("verify") { Vec::new() } else { EventKind::NAMES.to_vec() },
        ..Page::default()
    })
}

fn time(text: Option<&str>) -> (Option<Timestamp>, Option<String>) {
    let Some(text) = text else { return (None, None) };
    match Timestamp::parse(text) {
        Some(at) => (Some(at), None),
        None => (None, Some(format!("`{text}` is not a time; write it as 2026-11-23T09:30:00Z"))),
    }
}

/// Events in rows.
pub(super) fn table(ask: &Ask, events: &[Event]) -> Table {
    let rows = events.iter().map(|event| {
        let seq = event.seq.to_string();
        vec![
            Cell::link(href(&["log", &seq], &[]), seq),
            Cell::Time(event.at, Some(ask.now)),
            Cell::text(event.kind.name()),
            Cell::Link(subject_link(&event.kind.subject())),
            Cell::text(details(event)),
            Cell::text(event.actor.to_string()),
            event.cause.map_or(Cell::None, |cause| {
                let cause = cause.to_string();
                Cell::link(href(&["log", &cause], &[]), cause)
            }),
        ]
    });
    Table::new("events", "Events", &["event", "when", "what", "about", "more", "by", "because of"]).with(rows)
}

/// The state of the log; read and hashed whole where that was asked for.
async fn proof(ask: &Ask) -> Result<Section, Error> {
    let db = ask.app.registry().db();
    let head = db.log_head().await?;
    let mut facts = Facts::new("head")
        .with("Entries", Cell::Count(head.size))
        .with("Root of the Merkle tree", Cell::Pre(head.root.to_string()));
    let mut section = Section::new("head", "", Vec::new());
    if ask.has("verify") && head.size <= WHOLE {
        let verdict = db.verify_log(&Quiet).await?;
        let badge = match &verdict.first_bad {
            None => {
                Badge::new(Tone::Good, format!("intact: {} entries lead to this root", verdict.head.size))
            }
            Some(bad) => Badge::new(Tone::Bad, format!("entry {} is not what was written", bad.seq)),
        };
        facts = facts.with("Checked now", Cell::Badge(badge));
    } else if head.size <= WHOLE {
        facts = facts
            .with("Proof", Cell::link(ask.with(&[("verify", "1")]), "check every entry against the root"));
    } else {
        facts = facts.with(
            "Proof",
            Cell::text(
                "`tidemill log verify` checks every entry; each event's page proves that it is in the log",
            ),
        );
    }
    section.blocks.push(Block::Facts(facts));
    Ok(section)
}

pub(super) async fn event(ask: Ask) -> Made {
    let missing = || Error::missing(format!("there is no event {}", ask.part(0)));
    let seq: u64 = ask.part(0).parse().map_err(|_| missing())?;
    let event = find(&ask, seq).await?.ok_or_else(missing)?;
    let db = ask.app.registry().db();
    let mut facts = Facts::new("event")
        .with("When", Cell::Time(event.at, None))
        .with("What", Cell::text(event.kind.name()))
        .with("About", Cell::Link(subject_link(&event.kind.subject())))
        .with("By", Cell::text(event.actor.to_string()));
    if let Ok(serde_json::Value::Object(members)) = serde_json::to_value(&event.kind) {
        for (key, value) in members.iter().filter(|(key, value)| *key != "kind" && !value.is_null()) {
            facts = facts.with(key.replace('_', " "), Cell::Pre(said_of(key, value)));
        }
    }
    let (causes, effects) = (causes(&ask, &event).await?, effects(&ask, seq).await?);
    let head = db.log_head().await?;
    let proof = db.inclusion_proof(seq, head.size).await?;
    let entry = db.log_lines(seq - 1, 1).await?.pop().unwrap_or_default();
    let verdict = match proof.verify(entry.as_bytes()) {
        Ok(()) => Badge::new(Tone::Good, format!("it is entry {seq} of the log of {} entries", head.size)),
        Err(error) => Badge::new(Tone::Bad, format!("it is not what was written: {error}")),
    };
    let mut path = String::new();
    for hash in &proof.path {
        let _ = writeln!(path, "{hash}");
    }
    let proven = Facts::new("proof")
        .with("Proof", Cell::Badge(verdict))
        .with("Root", Cell::Pre(proof.head.root.to_string()))
        .with("Leaf", Cell::Pre(proof.leaf.to_string()))
        .with("Hashes beside the way up", Cell::Pre(path.trim_end().to_owned()));
    Ok(Page {
        title: format!("Event {seq}"),
        area: Area::Log,
        crumbs: vec![Crumb::new("/log", "Log")],
        blocks: vec![
            Block::Section(Section::new("about", "", vec![Block::Facts(facts)])),
            Block::Section(causes),
            Block::Section(effects),
            Block::Section(
                Section::new("proof", "Proof", vec![Block::Facts(proven), Block::Code(entry)])
                    .note("The leaf is the SHA-256 of a zero byte and this entry (RFC 6962); with the hashes beside the way it leads to the root."),
            ),
        ],
        ..Page::default()
    })
}

/// The events that led to one, from the first cause down to it.
async fn causes(ask: &Ask, event: &Event) -> Result<Section, Error> {
    let mut chain = ask.app.registry().db().causes(event.cause, CHAIN).await?;
    let further = chain.last().and_then(|first| first.cause.map(|_| first.seq));
    chain.reverse();
    chain.push(event.clone());
    let mut table = table(ask, &chain);
    table.id = "chain".into();
    let section = Section::new("causes", "What led to it", vec![Block::Table(table)]);
    Ok(match further {
        Some(first) => section
            .note(format!("The {CHAIN} nearest causes; the chain goes on before event {first}."))
            .more(href(&["log", &first.to_string()], &[]) + "#causes", "what led to that one"),
        None if event.cause.is_some() => section.note("From the first cause down to this event."),
        None => section.note("It names no cause."),
    })
}

/// The events that name one as their cause.
async fn effects(ask: &Ask, seq: u64) -> Result<Section, Error> {
    let db = ask.app.registry().db();
    let after = ask.place(|text| text.parse::<u64>().ok())?.unwrap_or(seq);
    let mut events = db.effects(seq, after, EFFECTS + 1).await?;
    let more = events.len() > EFFECTS;
    events.truncate(EFFECTS);
    let next = events.last().filter(|_| more).map(|last| last.seq.to_string());
    let total = Total::counted(db.count_effects(seq, COUNTED + 1).await?, COUNTED);
    let mut table = table(ask, &events)
        .or(Empty::new("Nothing followed from it", "No event names this one as its cause."));
    table.id = "effects".into();
    table.pager = Some(ask.pager(next.as_deref(), events.len(), Some(total), ["event", "events"]));
    Ok(Section::new("effects", "What followed", vec![Block::Table(table)]))
}

async fn find(ask: &Ask, seq: u64) -> Result<Option<Event>, Error> {
    let Some(after) = seq.checked_sub(1) else { return Ok(None) };
    let filter = EventFilter { after: Some(after), limit: Some(1), ..EventFilter::default() };
    let found = ask.app.registry().db().events(&filter).await?.pop();
    Ok(found.filter(|event| event.seq == seq))
}
