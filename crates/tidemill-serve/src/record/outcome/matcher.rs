//! Joins outcomes that wait with the records of the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array as _, AsArray as _, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use tidemill_core::{Clock, Timestamp};
use tidemill_db::Db;
use tidemill_db::outcomes::{Match, Outcome, OutcomeState};
use tokio::sync::Mutex;

use super::OutcomeCounters;
use super::join::{Moment, as_of};
use crate::record::columns::fixed;
use crate::record::read::blocking;
use crate::record::whereabouts::{MOST, Whereabouts};
use crate::record::{EVENT_TIME_COLUMN, EventTimes, Found, LogError, Query, Reader};

/// What an endpoint declares about its outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeRules {
    /// An outcome about an entity belongs to the entity's last request before it, unless that is longer ago than this.
    pub tolerance: Duration,
    /// An outcome that comes longer after its request is late: joined all the same, and counted.
    pub late_after: Option<Duration>,
    /// An outcome that found no request for so long after it came is given up.
    pub give_up_after: Duration,
}

impl Default for OutcomeRules {
    fn default() -> Self {
        let day = Duration::from_secs(86_400);
        Self { tolerance: day * 7, late_after: None, give_up_after: day * 3 }
    }
}

/// Joins outcomes with records.
#[derive(Clone)]
pub struct Matcher {
    db: Db,
    reader: Reader,
    clock: Arc<dyn Clock>,
    /// How long ago a request must be for its record to be on the disk for sure.
    settle: Duration,
    /// Where requests of endpoints are, as far as they were asked for.
    places: Arc<Mutex<HashMap<String, Whereabouts>>>,
    /// What is known of the outcomes of endpoints that were tried before.
    tried: Arc<Mutex<HashMap<String, Tried>>>,
    /// Whether some came a moment ago, before records of that moment could be read for sure.
    early: Arc<AtomicBool>,
    /// What became of outcomes so far.
    counters: OutcomeCounters,
}

/// What is known of the outcomes of an endpoint that were tried before.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    /// Those up to this one were.
    last: i64,
    /// They were compared with the log up to this part.
    part: i64,
    /// When they are tried again, and how long after that once more, where none of them finds its request.
    again: Option<Instant>,
    pause: Duration,
}

/// What [`Matcher::pass`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Outcomes that were joined.
    pub matched: u64,
    /// Of these, how many are late.
    pub late: u64,
    /// Outcomes that say what their request's outcome of the name says already.
    pub duplicate: u64,
    /// Outcomes that stand no longer, since one that is later by its time says otherwise.
    pub corrected: u64,
    /// Outcomes that still wait.
    pub waiting: u64,
    /// Outcomes that were given up.
    pub unmatched: u64,
}

impl Passed {
    pub(super) fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.corrected += other.corrected;
        self.waiting += other.waiting;
        self.unmatched += other.unmatched;
    }
}

/// How often new outcomes are looked for; and how soon those are tried again that found nothing yet, at first and at last.
const EVERY: Duration = Duration::from_secs(30);
const RAREST: Duration = Duration::from_mins(15);

/// Outcomes that are joined at once.
const PAGE: usize = 20_000;

impl Matcher {
    /// `flush` is the log's interval: what happened within twice of it may not be readable yet.
    pub fn new(db: Db, reader: Reader, clock: Arc<dyn Clock>, flush: Duration) -> Self {
        Self {
            db,
            reader,
            clock,
            settle: flush * 2 + Duration::from_secs(1),
            places: Arc::default(),
            tried: Arc::default(),
            early: Arc::default(),
            counters: OutcomeCounters::default(),
        }
    }

    /// Counts in these what became of outcomes.
    #[must_use]
    pub fn counted(self, counters: OutcomeCounters) -> Self {
        Self { counters, ..self }
    }

    /// Joins what waits until it is dropped: new outcomes when some have come and every half minute, those that found nothing more and more
    /// rarely. `rules` says what an endpoint declares. Failures are logged and tried again.
    pub async fn run(&self, arrived: &tokio::sync::Notify, rules: impl Fn(&str) -> OutcomeRules) {
        loop {
            let passed = async {
                for endpoint in self.db.endpoints_with_waiting_outcomes().await? {
                    self.next(&endpoint, rules(&endpoint)).await?;
                }
                Ok::<_, LogError>(())
            };
            if let Err(error) = passed.await {
                tracing::error!(error = %error, "outcomes could not be joined; they wait");
            }
            // Many small bodies are joined together, and not before their records can be read.
            tokio::time::sleep(self.settle).await;
            if !self.early.swap(false, Ordering::Relaxed) {
                let _ = tokio::time::timeout(EVERY, arrived.notified()).await;
            }
        }
    }

    /// Tries the outcomes of an endpoint that are new, and those that were tried before where it is their time.
    async fn next(&self, endpoint: &str, rules: OutcomeRules) -> Result<Passed, LogError> {
        let now = Instant::now();
        let tried = self.tried(endpoint).await;
        if tried.again.is_some_and(|again| now < again) {
            return Ok(self.pass_after(endpoint, rules, tried.last).await?.0);
        }
        let passed = self.pass(endpoint, rules).await?;
        let pause = if passed.matched > 0 { EVERY } else { (tried.pause * 2).clamp(EVERY, RAREST) };
        let mut all = self.tried.lock().await;
        let tried = all.entry(endpoint.to_owned()).or_default();
        (tried.again, tried.pause) = (Some(now + pause), pause);
        Ok(passed)
    }

    async fn tried(&self, endpoint: &str) -> Tried {
        self.tried.lock().await.get(endpoint).copied().unwrap_or_default()
    }

    /// Tries every outcome of an endpoint that waits.
    ///
    /// # Errors
    ///
    /// What database, store or disk refuse. Outcomes that were not joined wait as before.
    pub async fn pass(&self, endpoint: &str, rules: OutcomeRules) -> Result<Passed, LogError> {
        let (passed, part) = self.pass_after(endpoint, rules, 0).await?;
        // What is listed after this is all that is news for them the next time.
        if let Some(part) = part {
            let mut all = self.tried.lock().await;
            let tried = all.entry(endpoint.to_owned()).or_default();
            tried.part = tried.part.max(part);
        }
        Ok(passed)
    }

    /// Tries the outcomes behind one; up to which part of the log all of them were compared.
    async fn pass_after(
        &self,
        endpoint: &str,
        rules: OutcomeRules,
        mut after: i64,
    ) -> Result<(Passed, Option<i64>), LogError> {
        let (mut passed, mut part) = (Passed::default(), None::<i64>);
        // The first that cannot be compared yet is new the next time, too.
        let mut first_new = i64::MAX;
        loop {
            let page = self.db.outcomes(endpoint, Some(OutcomeState::Waiting), after, PAGE).await?;
            let Some(last) = page.last() else {
                let mut all = self.tried.lock().await;
                let tried = all.entry(endpoint.to_owned()).or_default();
                tried.last = tried.last.max(after).min(first_new.saturating_sub(1));
                return Ok((passed, part));
            };
            after = last.id;
            // New ones are looked up in the whole log, others only in what has come since.
            let (new, tried): (Vec<Outcome>, Vec<Outcome>) =
                page.into_iter().partition(|outcome| outcome.tested_part == 0);
            for outcomes in [new, tried] {
                if !outcomes.is_empty() {
                    let (new, newest) = self.settle(endpoint, outcomes, rules, &mut passed).await?;
                    first_new = first_new.min(new.unwrap_or(i64::MAX));
                    part = Some(part.map_or(newest, |part| part.min(newest)));
                }
            }
        }
    }

    async fn settle(
        &self,
        endpoint: &str,
        mut outcomes: Vec<Outcome>,
        rules: OutcomeRules,
        passed: &mut Passed,
    ) -> Result<(Option<i64>, i64), LogError> {
        let mut requests = Requests::wanted(&outcomes);
        // Those that were tried before were compared with more since than is written of them.
        let is_new = outcomes.iter().any(|outcome| outcome.tested_part == 0);
        let compared = if is_new { 0 } else { self.tried(endpoint).await.part };
        let mut newest = i64::MAX;
        let query = Query {
            endpoint: Some(endpoint.to_owned()),
            columns: Some(
                [fixed::TIME, fixed::REQUEST_ID, fixed::ROW, fixed::ENTITY, EVENT_TIME_COLUMN]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            after_part: outcomes
                .iter()
                .map(|outcome| outcome.tested_part)
                .min()
                .unwrap_or_default()
                .max(compared),
            ..Query::default()
        };
        if !requests.ids.is_empty() {
            let found = self.find_requests(&query, &requests).await?;
            newest = newest.min(found.newest_part());
            requests = take(requests, found, Requests::take_ids).await?;
        }
        if !requests.entities.is_empty() || requests.ids.is_empty() {
            let query = Query { from: earliest(&outcomes, rules), ..query };
            let found = self.reader.find(&query).await?;
            newest = newest.min(found.newest_part());
            requests = take(requests, found, Requests::take_entities).await?;
        }
        let new = self.decide(&mut outcomes, &requests, rules, newest);
        let settled = self.db.settle_outcomes(endpoint, &outcomes, self.clock.now()).await?;
        let mut these = Passed { corrected: settled.corrected, ..Passed::default() };
        for (outcome, state) in outcomes.iter().zip(settled.states) {
            match state {
                OutcomeState::Waiting => these.waiting += 1,
                OutcomeState::Unmatched => these.unmatched += 1,
                OutcomeState::Duplicate => these.duplicate += 1,
                // Counted above, with those that stood until now.
                OutcomeState::Corrected => {}
                OutcomeState::Matched => {
                    these.matched += 1;
                    these.late += u64::from(outcome.is_late);
                }
            }
        }
        self.counters.add(endpoint, &these);
        passed.add(&these);
        Ok((new, newest))
    }

    /// The records that may be of requests which outcomes name.
    async fn find_requests(&self, query: &Query, requests: &Requests) -> Result<Found, LogError> {
        let endpoint = query.endpoint.as_deref().unwrap_or_default();
        let names: HashSet<&str> = requests.ids.keys().map(String::as_str).collect();
        let mut places = self.places.lock().await;
        let of_endpoint = places.entry(endpoint.to_owned()).or_default();
        let found = self.reader.find_requests(query, &names, of_endpoint).await?;
        while places.values().map(Whereabouts::len).sum::<usize>() > MOST
            && let Some(largest) = places.values_mut().max_by_key(|places| places.len())
        {
            largest.forget_half();
        }
        Ok(found)
    }

    /// Decides about outcomes; the first that could not be compared yet.
    fn decide(
        &self,
        outcomes: &mut [Outcome],
        requests: &Requests,
        rules: OutcomeRules,
        newest: i64,
    ) -> Option<i64> {
        let now = self.clock.now();
        let settled = now.millis() - i64::try_from(self.settle.as_millis()).unwrap_or(i64::MAX);
        let about: Vec<Moment<'_>> = requests
            .about
            .iter()
            .map(|about| Moment { entity: about.entity.as_str(), at: about.happened })
            .collect();
        let moments: Vec<Moment<'_>> = outcomes
            .iter()
            .map(|outcome| Moment {
                entity: outcome.entity.as_deref().unwrap_or_default(),
                at: moment_of(outcome),
            })
            .collect();
        let in_time = as_of(&moments, &about, Some(rules.tolerance));
        let is_old = |outcome: &Outcome| now.since(outcome.received_at) > rules.give_up_after;
        let mut first = None;
        for (outcome, index) in outcomes.iter_mut().zip(in_time) {
            let found = match &outcome.request_id {
                Some(id) => requests.ids.get(id).copied().flatten().map(|at| (id.clone(), at)),
                None if moment_of(outcome).millis() > settled && !is_old(outcome) => {
                    // A later request of the entity may still be on its way to the disk.
                    first = first.or(Some(outcome.id));
                    if moment_of(outcome) <= now {
                        self.early.store(true, Ordering::Relaxed);
                    }
                    continue;
                }
                None => {
                    let about = index.and_then(|index| requests.about.get(index));
                    about.map(|about| (about.id.clone(), about.came))
                }
            };
            if found.is_none() && outcome.received_at.millis() > settled {
                // So may the record of a request that was answered a moment ago.
                first = first.or(Some(outcome.id));
                self.early.store(true, Ordering::Relaxed);
                continue;
            }
            outcome.is_tried = outcome.tested_part == 0 && newest > 0;
            outcome.tested_part = newest;
            if found.is_none() && is_old(outcome) {
                outcome.state = OutcomeState::Unmatched;
            }
            if let Some((request_id, at)) = found {
                outcome.is_late =
                    rules.late_after.is_some_and(|late_after| outcome.received_at.since(at) > late_after);
                outcome.matched = Some(Match { request_id, row: outcome.row, at });
            }
        }
        first
    }
}

/// Reads what was found, on a thread that may block.
async fn take(
    mut requests: Requests,
    found: Found,
    each: fn(&mut Requests, &RecordBatch),
) -> Result<Requests, LogError> {
    blocking("joining outcomes", move || {
        for batch in found.batches() {
            each(&mut requests, &batch?);
        }
        Ok(requests)
    })
    .await
}

/// The earliest record that any of those which name no request can belong to.
fn earliest(outcomes: &[Outcome], rules: OutcomeRules) -> Option<Timestamp> {
    let tolerance = i64::try_from(rules.tolerance.as_millis()).unwrap_or(i64::MAX);
    let by_entity = outcomes.iter().filter(|outcome| outcome.request_id.is_none());
    let of = |outcome: &Outcome| moment_of(outcome).millis().saturating_sub(tolerance);
    by_entity.map(of).min().map(Timestamp::from_millis)
}

/// When an outcome happened; when it came, where nobody says.
fn moment_of(outcome: &Outcome) -> Timestamp {
    outcome.occurred_at.unwrap_or(outcome.received_at)
}

/// What is found of the requests that outcomes ask for.
struct Requests {
    /// Times of requests by id; `None` until one is found.
    ids: HashMap<String, Option<Timestamp>>,
    entities: HashSet<String>,
    /// Requests about the entities.
    about: Vec<About>,
}

/// A request about an entity.
struct About {
    entity: String,
    id: String,
    came: Timestamp,
    /// When what it is about happened; outcomes are joined by this.
    happened: Timestamp,
}

impl Requests {
    fn wanted(outcomes: &[Outcome]) -> Self {
        let ids =
            outcomes.iter().filter_map(|outcome| outcome.request_id.clone()).map(|id| (id, None)).collect();
        let by_entity = outcomes.iter().filter(|outcome| outcome.request_id.is_none());
        let entities = by_entity.filter_map(|outcome| outcome.entity.clone()).collect();
        Self { ids, entities, about: Vec::new() }
    }

    /// Takes up when the requests came that are asked for by name.
    fn take_ids(&mut self, batch: &RecordBatch) {
        let Some(columns) = Columns::of(batch) else { return };
        for (row, id) in columns.first_rows() {
            if let Some(found) = self.ids.get_mut(id) {
                found.get_or_insert(columns.times.arrived(row));
            }
        }
    }

    /// Takes up the requests about the entities that are asked for.
    fn take_entities(&mut self, batch: &RecordBatch) {
        let (Some(columns), Some(entities)) = (Columns::of(batch), batch.column_by_name(fixed::ENTITY))
        else {
            return;
        };
        let entities = entities.as_string::<i32>();
        for (row, id) in columns.first_rows() {
            // An answer and its shadows are one request; they come one after another.
            if entities.is_valid(row)
                && self.entities.contains(entities.value(row))
                && self.about.last().is_none_or(|last| last.id != id)
            {
                let (entity, id) = (entities.value(row).to_owned(), id.to_owned());
                let (came, happened) = (columns.times.arrived(row), columns.times.of_row(row));
                self.about.push(About { entity, id, came, happened });
            }
        }
    }
}

/// What is read of records whatever is asked for.
struct Columns<'a> {
    times: EventTimes<'a>,
    ids: &'a StringArray,
    rows: &'a Int32Array,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let column = |name: &str| batch.column_by_name(name);
        let (ids, rows) = (column(fixed::REQUEST_ID)?, column(fixed::ROW)?);
        Some(Self {
            times: EventTimes::of(batch)?,
            ids: ids.as_string::<i32>(),
            rows: rows.as_primitive::<Int32Type>(),
        })
    }

    /// The first row of each answer, with the name of its request.
    fn first_rows(&self) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let (ids, rows) = (self.ids, self.rows);
        (0..rows.len()).filter(|row| rows.value(*row) == 0).map(|row| (row, ids.value(row)))
    }
}

#[cfg(test)]
mod tests;
