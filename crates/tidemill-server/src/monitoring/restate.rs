//! Judges windows again whose outcomes came after they were judged.
//!
//! Whether there are any is told by counters: how often outcomes found requests, in all and for each hour of requests. Only windows within
//! the declared time whose hours count more than when they were judged are read again, the last ones first and a few at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Actor, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::Db;
use tidemill_db::monitoring::{Judged, JudgedFilter, RestsOn};
use tidemill_monitor::window::Window;
use tidemill_monitor::{
    Again, Declaration, Exposure, Kind, Memory, Monitor, QualitySeen, Seen, State, Verdict, Watch, restate,
    turn,
};
use tidemill_registry::Error;
use tidemill_serve::record::Reader;

use super::due::Known;
use super::internal;
use super::judge::estimated;
use super::keep::{Told, Turn, alert, alert_event, overtaken, tell, text};
use super::reference::References;
use super::rows::{Rows, Wanted};
use super::scan::{Key, read_rows};
use super::spans::{Line, Spans};

/// Windows of an endpoint that are read again at once.
const MOST: usize = 16;
/// Windows that are asked for to find them; of those that were judged again just now there may be many.
const MOST_ASKED: usize = 64;
/// Windows of a series that are looked at, and those that say how its alert stands.
const LOOKED_AT: usize = 5_000;
const STORY: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// Where labels trickle in, a window is not judged again with each of them, but a twenty-fourth of its length later: at least and at most so
/// long.
const SOONEST: Duration = Duration::from_secs(60);

/// Where things are read from.
pub(super) struct Sources<'a> {
    pub(super) db: &'a Db,
    pub(super) reader: &'a Reader,
    pub(super) references: &'a mut References,
}

/// What a look came to.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) told: Vec<Told>,
    /// How often outcomes had found requests, where all windows that they change were judged again.
    pub(super) settled: Option<u64>,
    /// Whether more windows can be judged again at once.
    pub(super) has_more: bool,
    /// Windows whose rows were read.
    pub(super) read: usize,
}

/// A window that must be judged again.
struct Changed {
    /// The place of its series.
    series: usize,
    judged: Judged,
    on: RestsOn,
    /// What is counted now.
    outcomes: u64,
    before: Verdict,
}

/// What windows that are about to be judged rest on, where they are judged again when outcomes come. Asked before outcomes are read, so that
/// none which comes meanwhile is missed.
pub(super) async fn rests_on(
    db: &Db,
    endpoint: &str,
    known: &[Known],
    (windows, spans): (&[Vec<Window>], &Spans),
    is_dated: bool,
) -> Result<BTreeMap<Window, RestsOn>, Error> {
    let mut all: BTreeMap<Window, RestsOn> = BTreeMap::new();
    for ((watch, _), windows) in
        known.iter().zip(windows).filter(|((watch, _), _)| watch.restates().is_some())
    {
        for window in windows {
            if let Some(span) = spans.span(Line::of(watch, is_dated), window.from) {
                all.insert(*window, RestsOn { first: span.first, last: span.last, outcomes: 0 });
            }
        }
    }
    let first = all.values().map(|on| on.first).min();
    let last = all.values().map(|on| on.last).max();
    if let Some((first, last)) = first.zip(last) {
        let hours = db.outcome_changes_by_hour(endpoint, first, last).await?;
        all.values_mut().for_each(|on| on.outcomes = counted(&hours, on.first, on.last));
    }
    Ok(all)
}

/// What is counted of the hours from one time to another.
fn counted(hours: &BTreeMap<Timestamp, u64>, first: Timestamp, last: Timestamp) -> u64 {
    hours.range(Window::containing(first, HOUR).from..=last).map(|(_, count)| count).sum()
}

/// Judges windows of an endpoint again, where outcomes changed them. `settled` is what was counted when the last look had nothing left over.
pub(super) async fn look(
    sources: &mut Sources<'_>,
    declaration: &Declaration,
    settled: Option<u64>,
    at: Timestamp,
) -> Result<Looked, Error> {
    let endpoint = &declaration.endpoint;
    let watches: Vec<Watch> =
        declaration.watches().into_iter().filter(|watch| watch.restates().is_some()).collect();
    if watches.is_empty() {
        return Ok(Looked::default());
    }
    let count = sources.db.outcome_changes(endpoint).await?;
    if settled == Some(count) {
        return Ok(Looked { settled, ..Looked::default() });
    }
    // Nothing was judged yet.
    let Some(stream) = sources.db.monitor_stream(endpoint).await? else { return Ok(Looked::default()) };
    let now = if stream.is_dated { stream.watermark } else { at };
    let (changed, left) = changed(sources.db, endpoint, &watches, now, at).await?;
    let mut looked = Looked {
        settled: (left == 0).then_some(count),
        has_more: changed.len() >= MOST,
        read: changed.len(),
        ..Looked::default()
    };
    let rows = read(sources, declaration, &watches, &changed, stream.is_dated).await?;
    for (place, watch) in watches.iter().enumerate() {
        let of_series: Vec<&Changed> = changed.iter().filter(|one| one.series == place).collect();
        if !of_series.is_empty() {
            looked.told.extend(series(sources, declaration, watch, &of_series, &rows, at).await?);
        }
    }
    Ok(looked)
}

/// The windows that must be judged again now, of each series the oldest first; and how many others there are.
async fn changed(
    db: &Db,
    endpoint: &str,
    watches: &[Watch],
    now: Timestamp,
    at: Timestamp,
) -> Result<(Vec<Changed>, usize), Error> {
    let (mut resting, mut span) = (Vec::new(), None::<(Timestamp, Timestamp)>);
    for (place, watch) in watches.iter().enumerate() {
        let ago = watch.restates().unwrap_or_default() + watch.delay() + watch.length();
        let from = Timestamp::from_millis(now.millis().saturating_sub(ago.as_millis() as i64));
        for window in db.resting_windows(endpoint, &watch.id, from, LOOKED_AT).await? {
            let (first, last) = span.unwrap_or((window.on.first, window.on.last));
            span = Some((first.min(window.on.first), last.max(window.on.last)));
            resting.push((place, window));
        }
    }
    let Some((first, last)) = span else { return Ok((Vec::new(), 0)) };
    let hours = db.outcome_changes_by_hour(endpoint, first, last).await?;
    // The last windows matter most.
    resting.sort_by_key(|(_, window)| std::cmp::Reverse(window.to));
    let (mut found, mut left, mut asked) = (Vec::new(), 0, 0);
    for (series, window) in resting {
        let outcomes = counted(&hours, window.on.first, window.on.last);
        if outcomes <= window.on.outcomes {
            continue;
        }
        let has_room = found.len() < MOST && asked < MOST_ASKED;
        let Some(watch) = watches.get(series).filter(|_| has_room) else {
            left += 1;
            continue;
        };
        asked += 1;
        let judged = db.judged_window(endpoint, &watch.id, window.from).await?;
        // Of a length that was changed there may be another window with this begin.
        let Some(judged) = judged.filter(|judged| judged.id == window.id) else { continue };
        let before = super::verdict(&judged.made.verdict)?;
        let pause = (watch.length() / 24).clamp(SOONEST, HOUR);
        if before.restated.is_some_and(|restated| restated.at.plus(pause) > at) {
            left += 1;
            continue;
        }
        found.push(Changed { series, judged, on: window.on, outcomes, before });
    }
    found.sort_by_key(|one| one.judged.made.from);
    Ok((found, left))
}

/// Reads the rows of windows, those of the same window once.
async fn read(
    sources: &Sources<'_>,
    declaration: &Declaration,
    watches: &[Watch],
    changed: &[Changed],
    is_dated: bool,
) -> Result<BTreeMap<Key, Rows>, Error> {
    let objective = declaration.objective.clone().map(Arc::new);
    let mut wanted: BTreeMap<Key, (RestsOn, Wanted)> = BTreeMap::new();
    for one in changed {
        let (on, wanted) = wanted.entry(key(&one.judged)).or_insert((one.on, Wanted::default()));
        (on.first, on.last) = (on.first.min(one.on.first), on.last.max(one.on.last));
        match watches.get(one.series).map(|watch| &watch.kind) {
            Some(Kind::Monitor(Monitor::Kpi(kpi))) => wanted.kpi = Some(kpi.name.clone()),
            _ => wanted.objective.clone_from(&objective),
        }
    }
    let mut rows = BTreeMap::new();
    for (key, (on, wanted)) in wanted {
        let came = (Some(on.first), Some(on.last.plus(Duration::from_millis(1))));
        let read = (sources.reader, sources.db);
        let found = read_rows(read, &declaration.endpoint, came, is_dated, [(key, wanted)].into()).await;
        rows.extend(found.map_err(|error| internal(error.to_string()))?);
    }
    Ok(rows)
}

fn key(judged: &Judged) -> Key {
    (Window { from: judged.made.from, to: judged.made.to }, false)
}

/// Judges windows of one series again, and writes what came of it.
async fn series(
    sources: &mut Sources<'_>,
    declaration: &Declaration,
    watch: &Watch,
    changed: &[&Changed],
    rows: &BTreeMap<Key, Rows>,
    at: Timestamp,
) -> Result<Option<Told>, Error> {
    let endpoint = &declaration.endpoint;
    let stored = sources.db.monitor_series(endpoint).await?;
    let Some(stored) = stored.into_iter().find(|series| series.watch == watch.id) else { return Ok(None) };
    let mut memory = super::memory(&watch.id, Some(&stored))?;
    let (mut restated, mut same) = (Vec::new(), Vec::new());
    for one in changed {
        let window = key(&one.judged).0;
        let rows = rows.get(&key(&one.judged));
        let version = one.judged.made.model.clone().zip(one.judged.made.version.clone());
        let reference = match &version {
            Some(version) => sources.references.of(version, declaration.objective.as_ref()).await,
            None => Arc::default(),
        };
        let seen = match (&watch.kind, rows) {
            (_, None) => Seen::Nothing("the window holds no records".to_owned()),
            (Kind::Monitor(Monitor::Kpi(_)), Some(rows)) => Seen::Kpi(rows.kpi()),
            (_, Some(rows)) => Seen::Quality(QualitySeen {
                predictions: rows.predictions(),
                labels: rows.labels(),
                estimated: estimated(sources.db, endpoint, watch, window, &[])
                    .await
                    .map_err(|error| internal(error.to_string()))?,
                version: rows.only_version(),
            }),
        };
        let predictions = rows.map_or(one.judged.made.predictions, Rows::predictions);
        let again = Again {
            watch,
            window,
            seen: &seen,
            objective: declaration.objective.as_ref(),
            exposure: Exposure { decisions: predictions, cost_per_decision: reference.cost_per_decision },
            before: &one.before,
            judged_at: one.judged.at,
            at,
        };
        match restate(&mut memory, &again) {
            Some(verdict) => restated.push((*one, predictions, verdict)),
            None => same.push(*one),
        }
    }
    let turns = restated.iter().any(|(one, _, verdict)| verdict.counts() != one.before.counts());
    let change =
        if turns { turned(sources.db, declaration, watch, &mut memory, &mut restated).await? } else { None };
    let mut tx = sources.db.begin().await?;
    for one in same {
        tx.note_window_outcomes(one.judged.id, one.outcomes).await?;
    }
    let Some((last, _, verdict)) = restated.last() else {
        tx.commit(Vec::new()).await?;
        return Ok(None);
    };
    if !tx.change_monitor_series(endpoint, &watch.id, (&stored.memory, &text(&memory)?)).await? {
        return Err(overtaken(&watch.id));
    }
    let mut verdicts = Vec::new();
    for (one, predictions, verdict) in &restated {
        let stated = text(verdict)?;
        tx.restate_window(one.judged.id, (verdict.state.name(), &stated), *predictions, one.outcomes).await?;
        verdicts.push(stated);
    }
    let evidence = Digest::of(verdicts.join("\n").as_bytes());
    let window = key(&last.judged).0;
    let turn = Turn { watch, verdict, change, phase: memory.phase, window, id: last.judged.id };
    let told = alert(&mut tx, declaration, &turn).await?;
    let kind = EventKind::WindowsRestated {
        endpoint: endpoint.clone(),
        watch: watch.id.clone(),
        windows: restated.len() as u64,
        until: window.to,
        evidence,
    };
    let kinds = std::iter::once(kind).chain(told.iter().filter_map(|told| alert_event(told, evidence)));
    let events =
        kinds.map(|kind| NewEvent { at, actor: Actor::system("monitors"), kind, cause: None }).collect();
    tell(&mut tx, declaration, told.as_slice(), at).await?;
    tx.commit(events).await?;
    Ok(told)
}

/// What becomes of the alert of a series with windows that were restated.
async fn turned(
    db: &Db,
    declaration: &Declaration,
    watch: &Watch,
    memory: &mut Memory,
    restated: &mut [(&Changed, u64, Verdict)],
) -> Result<Option<tidemill_monitor::alert::Change>, Error> {
    let filter = JudgedFilter {
        endpoint: Some(declaration.endpoint.clone()),
        watch: Some(watch.id.clone()),
        before: None,
    };
    let mut windows: Vec<(State, Window)> = Vec::new();
    for judged in db.judged_windows(&filter, STORY).await? {
        let again = restated.iter().find(|(one, ..)| one.judged.id == judged.id);
        let state = match again {
            Some((.., verdict)) => verdict.counts(),
            None => super::verdict(&judged.made.verdict)?.counts(),
        };
        windows.push((state, key(&judged).0));
    }
    windows.sort_by_key(|(_, window)| *window);
    let mut verdicts: Vec<&mut Verdict> = restated.iter_mut().map(|(.., verdict)| verdict).collect();
    Ok(turn(memory, &windows, watch.hold(), &mut verdicts))
}
