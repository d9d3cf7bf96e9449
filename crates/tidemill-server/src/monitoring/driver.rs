//! The loop: looks which windows are due, has them judged, and keeps what they came to.
//!
//! All that matters is in the database: a loop that is killed reads the same records again, judges the same windows to the same
//! verdicts, and writes each once.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_core::Timestamp;
use tidemill_db::monitoring::{MonitorSet, Stream};
use tidemill_monitor::Declaration;
use tidemill_registry::Error;
use tidemill_serve::record::{InferenceLog, LogError, Reader};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::declare::declarations;
use super::due::{Known, Now, due_windows, most, needs_labels};
use super::internal;
use super::judge::{Sources, judge_windows};
use super::keep::{Told, keep};
use super::reference::References;
use super::restate;
use super::spans::{AHEAD, Line, SLACK, Spans};
use crate::App;

/// How often it is looked whether records have come.
const ROUND: Duration = Duration::from_millis(500);
/// How often windows are looked for where no record has come.
const IDLE: Duration = Duration::from_secs(10);
/// How long no window is judged again after some were.
const RESTS: Duration = Duration::from_secs(30);
/// How long windows wait for outcomes that came and have not found their requests.
const PATIENCE: Duration = Duration::from_secs(15);

/// Judges windows until `stop`. `log` tells when records have come.
pub async fn run(app: App, reader: Reader, log: InferenceLog, stop: CancellationToken) {
    let mut driver = Driver::new(app, reader, log);
    loop {
        let begun = Instant::now();
        tokio::select! {
            () = stop.cancelled() => return,
            () = driver.round() => {}
        }
        // However much there is to read, most of the time belongs to requests.
        let pause = ROUND.max(3 * begun.elapsed());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Judges windows, a round at a time. A server that `tidemill up` starts runs one by itself.
pub struct Driver {
    app: App,
    reader: Reader,
    log: InferenceLog,
    references: References,
    seen: BTreeMap<String, Seen>,
    /// The windows of each endpoint that hold requests.
    spans: BTreeMap<String, Read>,
}

/// What is known of the log of an endpoint.
struct Read {
    /// Of what is watched.
    revision: u64,
    /// From when on records were read.
    from: Timestamp,
    spans: Spans,
}

/// When an endpoint was last looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Records that this server had written by then.
    recorded: u64,
    revision: u64,
    at: Option<Instant>,
    /// Since when windows wait for outcomes.
    waiting: Option<Instant>,
    /// Whether more windows are due than were judged.
    has_more: bool,
    /// How often outcomes had found requests, when all windows that they change had been judged again.
    settled: Option<u64>,
    /// Until when none is looked for, since some were read just now.
    rests: Option<Instant>,
}

impl Driver {
    /// For the monitors of a server. `log` tells when records have come.
    pub fn new(app: App, reader: Reader, log: InferenceLog) -> Self {
        let scratch = app.config().scratch.join("monitors");
        let references = References::new(app.registry(), scratch);
        Self { app, reader, log, references, seen: BTreeMap::new(), spans: BTreeMap::new() }
    }

    /// Judges every window that is due by now. One that needs outcomes which came and have not found their requests is left for the
    /// next time.
    ///
    /// # Errors
    ///
    /// Where a monitor, records or what they are compared with cannot be read.
    pub async fn look(&mut self) -> Result<(), Error> {
        for (set, declaration) in declarations(self.app.registry().db()).await? {
            let mut seen = self.seen.get(&set.endpoint).copied().unwrap_or_default();
            loop {
                seen.has_more = false;
                self.endpoint(&set, &declaration, &mut seen).await?;
                self.restate(&declaration, &mut seen).await?;
                if !seen.has_more {
                    break;
                }
            }
            self.seen.insert(set.endpoint, seen);
        }
        Ok(())
    }

    async fn round(&mut self) {
        let declared = match declarations(self.app.registry().db()).await {
            Ok(declared) => declared,
            Err(error) => {
                tracing::error!(%error, "monitors cannot be read");
                return;
            }
        };
        let counts = self.log.counts();
        for (set, declaration) in declared {
            let recorded = counts.get(&set.endpoint).map_or(0, |counts| counts.recorded);
            let seen = self.seen.get(&set.endpoint).copied().unwrap_or_default();
            let is_idle = seen.at.is_some_and(|at| at.elapsed() < IDLE)
                && seen.recorded == recorded
                && seen.revision == set.revision
                && !seen.has_more
                && seen.waiting.is_none();
            if is_idle {
                continue;
            }
            let mut now = Seen {
                recorded,
                revision: set.revision,
                at: Some(Instant::now()),
                has_more: false,
                settled: seen.settled.filter(|_| seen.revision == set.revision),
                ..seen
            };
            let judged = match self.endpoint(&set, &declaration, &mut now).await {
                Ok(()) if now.rests.is_some_and(|until| Instant::now() < until) => Ok(()),
                Ok(()) => self.restate(&declaration, &mut now).await,
                failed => failed,
            };
            if let Err(error) = judged {
                tracing::error!(endpoint = set.endpoint, %error, "windows cannot be judged; they are tried again");
            }
            self.seen.insert(set.endpoint, now);
        }
    }

    /// Judges windows again whose outcomes came later.
    async fn restate(&mut self, declaration: &Declaration, seen: &mut Seen) -> Result<(), Error> {
        let (db, at) = (self.app.registry().db().clone(), self.app.registry().clock().now());
        let mut sources =
            restate::Sources { db: &db, reader: &self.reader, references: &mut self.references };
        let looked = restate::look(&mut sources, declaration, seen.settled, at).await?;
        seen.settled = looked.settled;
        // Hours are shared by windows, so some are read whose own outcomes are the same; not with each outcome that comes.
        let rests = looked.read > 0 && !looked.has_more;
        seen.rests = rests.then(|| Instant::now() + RESTS);
        seen.has_more |= looked.has_more;
        say(&looked.told);
        Ok(())
    }

    async fn endpoint(
        &mut self,
        set: &MonitorSet,
        declaration: &Declaration,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let endpoint = &set.endpoint;
        let (db, clock) = (self.app.registry().db().clone(), self.app.registry().clock().clone());
        let stored = db.monitor_stream(endpoint).await?;
        let mut stream = stored.unwrap_or(Stream {
            low: set.declared_at,
            is_dated: false,
            watermark: Timestamp::from_millis(i64::MIN),
        });
        let at = clock.now();
        let mut known: Vec<Known> = Vec::new();
        let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
        let series_of = db.monitor_series(endpoint).await?;
        let mut ahead = Vec::new();
        for watch in declaration.watches() {
            let series = series_of.iter().find(|series| series.watch == watch.id);
            let mut memory = super::memory(&watch.id, series)?;
            if memory.is_ahead_of(at.plus(AHEAD)) {
                memory.go_back(db.judged_until(endpoint, &watch.id, at).await?);
                stream.low = memory.done.unwrap_or(set.declared_at).min(stream.low);
                ahead.push(watch.id.clone());
            }
            revisions.insert(watch.id.clone(), series.map_or(0, |series| series.revision));
            known.push((watch, memory));
        }
        // Such a time can only stand here from before it was refused.
        if stream.watermark > at.plus(AHEAD) {
            stream.watermark = Timestamp::from_millis(i64::MIN);
        }
        let new = || {
            if !ahead.is_empty() {
                let watches = ahead.join(", ");
                tracing::warn!(
                    endpoint,
                    watches,
                    "windows of a time to come were judged; it goes on at the clock's"
                );
            }
            let spans = Spans::new(known.iter().map(|(watch, _)| watch));
            Read { revision: set.revision, from: stream.low, spans }
        };
        let read = self.spans.entry(endpoint.clone()).or_insert_with(new);
        if read.revision != set.revision || stream.low < read.from {
            *read = new();
        }
        let spans = &mut read.spans;
        spans.read((&self.reader, &db), endpoint, stream.low, at).await.map_err(log_error)?;
        let requests = spans.taken_ahead();
        if requests > 0 {
            tracing::warn!(
                endpoint,
                requests,
                "requests said that what they are about happens more than an hour after they came; they count as if they said nothing"
            );
        }
        let latest = spans.latest_said().unwrap_or(stream.watermark).max(stream.watermark);
        let now = Now::live(spans, stored, latest, at);
        let is_dated = now.is_dated;
        let mut windows = due_windows(&known, spans, now);
        let waits =
            known.iter().zip(&windows).any(|((watch, _), due)| needs_labels(watch) && !due.is_empty());
        if waits && db.outcome_counts(endpoint).await?.waiting > 0 {
            let since = *seen.waiting.get_or_insert_with(Instant::now);
            if since.elapsed() < PATIENCE {
                for ((watch, _), due) in known.iter().zip(&mut windows) {
                    if needs_labels(watch) {
                        due.clear();
                    }
                }
            }
        } else {
            seen.waiting = None;
        }
        if windows.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let store = self.app.registry().store().clone();
        // Profiles must not be collected before they are listed.
        let hold = store.hold().map_err(|error| internal(error.to_string()))?;
        let mut sources = Sources {
            db: &db,
            reader: &self.reader,
            store: Some(&store),
            references: &mut self.references,
            // The store keeps them.
            last: &mut BTreeMap::new(),
        };
        let due = (windows.as_slice(), &*spans);
        let made = judge_windows(&mut sources, declaration, &mut known, due, now, (Some(stream.low), None))
            .await
            .map_err(log_error)?;
        let low = low(&known, spans, is_dated, at).max(stream.low);
        let stream = Stream { low, is_dated, watermark: latest };
        let told = keep(&db, declaration, &revisions, &made, stream, clock.now()).await?;
        drop(hold);
        spans.forget(&done(&known, is_dated), low);
        say(&told);
        // Another round at once where a limit was reached.
        seen.has_more = known.iter().zip(&windows).any(|((watch, _), due)| due.len() >= most(watch));
        if seen.waiting.is_some_and(|since| since.elapsed() >= PATIENCE) {
            seen.waiting = None;
        }
        Ok(())
    }
}

/// Says in the server's log what became of alerts.
fn say(told: &[Told]) {
    for told in told {
        let alert = &told.alert;
        tracing::info!(
            alert.id = alert.id,
            alert.endpoint = alert.made.endpoint,
            alert.watch = alert.made.watch,
            "alert {}: {}",
            told.change.name(),
            alert.made.why
        );
    }
}

/// From when on records are still needed: the first that happened in a window that is not done, of whatever series.
fn low(known: &[Known], spans: &Spans, is_dated: bool, at: Timestamp) -> Timestamp {
    let settled = Timestamp::from_millis(at.millis() - SLACK.as_millis() as i64);
    by_records(known)
        .filter_map(|(watch, memory)| spans.first_came_since(Line::of(watch, is_dated), memory.done))
        .fold(settled, Timestamp::min)
}

/// What every series of a line is done with.
fn done(known: &[Known], is_dated: bool) -> BTreeMap<Line, Option<Timestamp>> {
    let mut done: BTreeMap<Line, Option<Timestamp>> = BTreeMap::new();
    for (watch, memory) in by_records(known) {
        let least = done.entry(Line::of(watch, is_dated)).or_insert(memory.done);
        *least = (*least).min(memory.done);
    }
    done
}

/// Series that are judged by records.
fn by_records(known: &[Known]) -> impl Iterator<Item = &Known> {
    known.iter().filter(|(watch, _)| watch.alert() != Some("stale"))
}

fn log_error(error: LogError) -> Error {
    internal(error.to_string())
}
