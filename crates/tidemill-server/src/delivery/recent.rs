//! What recent requests of an endpoint were like: what a plan is played on before it begins.
//!
//! The log of requests is read once, in the order of time, and only counters are kept of it. Of outcomes a bounded number is looked at,
//! the oldest of the time first: those of the newest requests are not known yet.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};
use tidemill_core::{Digest, Timestamp};
use tidemill_db::Db;
use tidemill_deliver::judge::{Observation, Sample, Slices};
use tidemill_deliver::outcome::{
    Answer, COST, Epoch, Measures, PAIRED_COST, PAIRED_QUALITY, QUALITY, Row, observations,
};
use tidemill_deliver::simulate::{Column, Distribution, Known, Pace};
use tidemill_serve::gateway::metrics::{FAILURES, LATENCY};
use tidemill_serve::record::outcome::{Joined, Texts, group, joined};
use tidemill_serve::record::{LogError, Query, Reader};

use super::mature::{back, known_of};
use super::observe::slow;

/// Rows with outcomes that are enough to know their distribution.
const ROWS: usize = 40_000;
/// Outcomes that are held in memory at once.
const PAGE: usize = 20_000;
/// Values of an input that are told apart; the most frequent of them become slices.
const NAMES: usize = 10_000;
/// Rows that both arms answered from which on their differences are known.
const PAIRS: usize = 100;
const HOUR_MS: i64 = 3_600_000;
/// From so long on the hours of the day are told from each other.
const DAY: i64 = 24;
/// The longest time that is looked back.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// Of what recent requests are asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The endpoint.
    pub endpoint: &'a str,
    /// How outcomes become numbers; none where they are not looked at.
    pub measures: Option<&'a Measures>,
    /// The release that has the requests, for its threshold.
    pub incumbent: Option<Digest>,
    /// The inputs whose values are counted, and how many of each by themselves.
    pub slices: Option<&'a Slices>,
    /// Until when, and how far back.
    pub until: Timestamp,
    /// How far back.
    pub since: Duration,
}

/// What recent requests were like.
#[derive(Clone, Debug, PartialEq)]
pub struct Recent {
    /// From when they were counted: not before the first one.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Requests that were recorded and that the caller did not get wrong.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// From how many microseconds on a request is slow.
    pub slow_us: Option<u64>,
    /// Rows with outcomes that were looked at.
    pub rows: u64,
    /// The part of requests that is recorded, above 0 and at most 1; the pace is of all.
    pub sample: f64,
    /// How many came when.
    pub pace: Pace,
    /// How they are spread over the values of inputs.
    pub slices: Vec<Column>,
    /// What metrics are like.
    pub known: Known,
}

/// Reads what recent requests were like. It ends early, with what was counted so far, where `goes_on` says so.
///
/// # Errors
///
/// What database, store or disk refuse.
pub async fn recent(
    db: &Db,
    reader: &Reader,
    asked: &Asked<'_>,
    goes_on: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<Recent, LogError> {
    let from = back(asked.until, asked.since.min(LONGEST));
    let outcomes = match asked.measures {
        Some(measures) => Some(outcomes(db, reader, asked, measures, from, &goes_on).await?),
        None => None,
    };
    let known_until = outcomes.as_ref().map_or(from, |outcomes| outcomes.until);
    let by = asked.slices.map_or(&[][..], |slices| &slices.by);
    let columns = ["time", "row", "status", "error_kind", "latency_us"].map(str::to_owned).into_iter();
    let columns = columns.chain(by.iter().map(|input| Texts::column(input))).collect();
    let query = Query {
        shadow: Some(false),
        columns: Some(columns),
        ..Query::of(asked.endpoint, Some(from), Some(asked.until))
    };
    let found = reader.find(&query).await?;
    let mut counted = Counted {
        from: from.millis(),
        known_until: known_until.millis(),
        values: by.iter().map(|input| (input.clone(), BTreeMap::new())).collect(),
        ..Counted::default()
    };
    let read = tokio::task::spawn_blocking(move || {
        for batch in found.batches() {
            counted.take(&batch?);
            if !goes_on() {
                break;
            }
        }
        Ok::<_, LogError>(counted)
    });
    let counted =
        read.await.map_err(|error| LogError::Damaged(format!("reading the log failed: {error}")))??;
    let sample = sampled(db, asked.endpoint).await;
    Ok(summary(asked, from, counted, outcomes.unwrap_or_default(), sample))
}

/// The part of requests that the endpoint records.
pub(super) async fn sampled(db: &Db, endpoint: &str) -> f64 {
    let declared = match db.endpoint(endpoint).await {
        Ok(Some(stored)) => crate::serving::read_endpoint(&stored).ok().and_then(|spec| spec.records.sample),
        _ => None,
    };
    declared.filter(|sample| *sample > 0.0 && *sample <= 1.0).unwrap_or(1.0)
}

fn summary(asked: &Asked<'_>, from: Timestamp, counted: Counted, outcomes: Outcomes, sample: f64) -> Recent {
    let Counted { first, requests, failed, hours, latencies, until_known, values, .. } = counted;
    let most = asked.slices.map_or(0, |slices| slices.most as usize);
    let slices = values.iter().filter_map(|(name, counts)| Column::of(name, counts, most)).collect();
    let first = first.map(Timestamp::from_millis);
    let pace = pace(&hours, from, first, asked.until);
    let from = first.unwrap_or(from);
    let slow = slow(&latencies).filter(|_| requests > 0);
    // Of what was never seen it is not known that it never happens.
    let rate = |count: u64, of: u64| (count as f64 + 0.5) / (of as f64 + 1.0);
    let timed: u64 = latencies.iter().map(|(_, count)| count).sum();
    let per_request = |count: u64| if until_known > 0 { count as f64 / until_known as f64 } else { 1.0 };
    let known = Known {
        errors: (requests > 0).then(|| rate(failed, requests)),
        slow: slow.map(|(_, slower)| rate(slower, timed)),
        labels: per_request(outcomes.labels),
        kpis: per_request(outcomes.kpi.len() as u64),
        delay: asked.measures.map_or(0.0, |measures| measures.delay.as_secs_f64() / 3_600.0),
        kpi_delay: asked.measures.and_then(|measures| Some(measures.kpi_delay?.as_secs_f64() / 3_600.0)),
        cost: outcomes.cost,
        quality: outcomes.quality,
        kpi: Distribution::of(&outcomes.kpi),
        paired_cost: outcomes.paired_cost,
        paired_quality: outcomes.paired_quality,
        ..Known::default()
    };
    Recent {
        from,
        until: asked.until,
        requests,
        failed,
        slow_us: slow.map(|(bound, _)| bound),
        rows: outcomes.rows,
        sample,
        pace: pace.times(1.0 / sample),
        slices,
        known,
    }
}

/// Of a day and more by the hour, of less the mean. Of hours, which are counted from `from`, the last whole days are taken, so that the first
/// hour of the pace is the hour of the day at which a rollout begins; those without a request until the end are among them.
fn pace(hours: &[u64], from: Timestamp, first: Option<Timestamp>, until: Timestamp) -> Pace {
    let all: u64 = hours.iter().sum();
    let Some(first) = first.filter(|_| all > 0) else { return Pace::constant(0.0) };
    let passed = |since: Timestamp| (until.millis() - since.millis()).max(0);
    // Whole hours alone: those of the first request and of the end are parts of one.
    let (end, whole) = (passed(from) / HOUR_MS, passed(first) / HOUR_MS);
    let begun = (first.millis() - from.millis() + HOUR_MS - 1) / HOUR_MS;
    let days = (end - begun).min(whole) / DAY * DAY;
    let of_hour =
        |hour: i64| usize::try_from(hour).ok().and_then(|hour| hours.get(hour)).map_or(0.0, |n| *n as f64);
    let last: Vec<f64> = (end - days..end).map(of_hour).collect();
    if last.iter().all(|requests| *requests == 0.0) {
        return Pace::constant(all as f64 * HOUR_MS as f64 / passed(first).max(60_000) as f64);
    }
    Pace::of(last)
}

/// What is counted of the log.
#[derive(Default)]
struct Counted {
    from: i64,
    known_until: i64,
    first: Option<i64>,
    requests: u64,
    failed: u64,
    /// Requests of the time whose outcomes were looked at.
    until_known: u64,
    hours: Vec<u64>,
    latencies: Vec<(u64, u64)>,
    /// Of inputs, requests by value; none is what is no name, or came when there were too many names.
    values: Vec<(String, BTreeMap<Option<String>, u64>)>,
}

impl Counted {
    fn take(&mut self, batch: &RecordBatch) {
        let column = |name: &str| batch.column_by_name(name);
        let Some(times) =
            column("time").and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>())
        else {
            return;
        };
        let numbers = column("row").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let kinds = column("error_kind").and_then(|column| column.as_string_opt::<i32>());
        let latency = column("latency_us").and_then(|column| column.as_primitive_opt::<Int64Type>());
        if self.latencies.is_empty() {
            self.latencies = LATENCY.into_iter().chain([u64::MAX]).map(|bound| (bound, 0)).collect();
        }
        let texts: Vec<Option<Texts>> =
            self.values.iter().map(|(input, _)| Texts::of_input(batch, input)).collect();
        for at in 0..batch.num_rows() {
            if numbers.is_some_and(|numbers| numbers.value(at) != 0) {
                continue;
            }
            let kind = kinds.filter(|kinds| kinds.is_valid(at)).map(|kinds| kinds.value(at));
            let is_failure = kind.is_some_and(|kind| FAILURES.contains(&kind));
            if kind.is_some() && !is_failure {
                continue;
            }
            let time = times.value(at);
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.requests += 1;
            self.failed += u64::from(is_failure);
            self.until_known += u64::from(time > self.from && time <= self.known_until);
            let hour = usize::try_from((time - self.from).max(0) / HOUR_MS).unwrap_or_default();
            if self.hours.len() <= hour {
                self.hours.resize(hour + 1, 0);
            }
            self.hours[hour] += 1;
            for ((_, counts), texts) in self.values.iter_mut().zip(&texts) {
                let name = group(texts.as_ref(), at);
                let is_new = counts.len() >= NAMES && !counts.contains_key(&name);
                *counts.entry(name.filter(|_| !is_new)).or_default() += 1;
            }
            if let Some(latency) = latency {
                let took = u64::try_from(latency.value(at)).unwrap_or_default();
                if let Some((_, count)) = self.latencies.iter_mut().find(|(bound, _)| took <= *bound) {
                    *count += 1;
                }
            }
        }
    }
}

/// What was seen of outcomes.
#[derive(Default)]
struct Outcomes {
    until: Timestamp,
    rows: u64,
    labels: u64,
    cost: Option<Distribution>,
    quality: Option<Distribution>,
    kpi: Vec<f64>,
    paired_cost: Option<Distribution>,
    paired_quality: Option<Distribution>,
}

async fn outcomes(
    db: &Db,
    reader: &Reader,
    asked: &Asked<'_>,
    measures: &Measures,
    from: Timestamp,
    goes_on: &(impl Fn() -> bool + Send + Sync),
) -> Result<Outcomes, LogError> {
    let end = back(asked.until, measures.delay);
    let (mut after, mut rows): (Timestamp, Vec<Row>) = (from, Vec::new());
    let mut kpi = Vec::new();
    while after < end && rows.len() < ROWS && goes_on() {
        let stretch = joined(db, reader, asked.endpoint, (after, end), (&[], None), PAGE).await?;
        after = stretch.until;
        for row in stretch.rows.iter().filter_map(|row| row_of(row, measures)) {
            kpi.extend(row.kpi.filter(|_| row.incumbent.is_some()));
            rows.push(row);
        }
    }
    // Whose values they are does not matter to the observations, only which arm answered.
    let incumbent = asked.incumbent.unwrap_or_else(|| Digest::of(b"incumbent"));
    let candidate = Digest::of(b"candidate");
    let seen = |shadow: u32, rows: &[Row]| {
        let epoch = Epoch {
            revision: 0,
            from: Timestamp::from_millis(i64::MIN),
            until: None,
            candidate: 1,
            incumbent: 1,
            shadow,
        };
        observations(measures, &epoch, candidate, incumbent, rows, None)
    };
    let labels = rows.iter().filter(|row| row.incumbent.is_some() && row.label.is_some()).count() as u64;
    let paired: Vec<Row> = rows.iter().filter(|row| row.candidate.is_some()).cloned().collect();
    let paired = if paired.len() >= PAIRS { seen(10_000, &paired) } else { Vec::new() };
    let count = rows.len() as u64;
    for row in &mut rows {
        row.candidate = None;
    }
    let alone = seen(0, &rows);
    Ok(Outcomes {
        until: after,
        rows: count,
        labels,
        cost: values(&alone, COST, false),
        quality: values(&alone, QUALITY, false),
        kpi,
        paired_cost: values(&paired, PAIRED_COST, true),
        paired_quality: values(&paired, PAIRED_QUALITY, true),
    })
}

/// A row by who was heard: the one that answered the caller, and its shadow where it had one.
fn row_of(joined: &Joined, measures: &Measures) -> Option<Row> {
    let answer = |is_shadow: bool| {
        let found = joined.answers.iter().find(|answered| answered.is_shadow == is_shadow)?;
        Some(Answer { score: found.score, class: found.class.clone(), decision: found.decision })
    };
    let (label, kpi) = known_of(joined, measures);
    (label.is_some() || kpi.is_some()).then(|| Row {
        candidate: answer(true),
        incumbent: answer(false),
        label,
        kpi,
        slices: Vec::new(),
    })
}

fn values(observations: &[Observation], metric: &str, is_candidate: bool) -> Option<Distribution> {
    let found = observations.iter().find(|observation| observation.metric == metric)?;
    let Sample::Values(values) = (if is_candidate { &found.candidate } else { &found.baseline }) else {
        return None;
    };
    Distribution::weighted(values.iter().map(|(value, count)| (*value, *count as f64)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(hours * HOUR_MS)
    }

    #[test]
    fn hours_begin_with_the_first_request() {
        let mut day = vec![0, 0];
        day.extend((0..24).map(|hour| if hour < 12 { 10 } else { 30 }));
        let mean =
            |hours: &[u64], first: Timestamp, until: Timestamp| pace(hours, at(0), Some(first), until).mean();
        assert!((mean(&day, at(2), at(26)) - 20.0).abs() < 1e-9);
        assert!((mean(&[0, 0, 60, 0], at(2), at(5)) - 20.0).abs() < 1e-9, "less than a day");
        assert_eq!(pace(&[], at(0), None, at(9)).mean(), 0.0);
        // Ten minutes of traffic are no whole hour of it.
        let ten_minutes = Timestamp::from_millis(600_000);
        assert!((mean(&[100], at(0), ten_minutes) - 600.0).abs() < 1e-9);
    }

    #[test]
    fn silence_counts_and_parts_of_hours_do_not() {
        let half = |hours: i64| Timestamp::from_millis(hours * HOUR_MS + HOUR_MS / 2);
        // A day at 24 an hour, then a day of nothing.
        let mean = |hours: &[u64], first, until| pace(hours, at(0), Some(first), until).mean();
        assert!((mean(&[24; 24], at(0), at(48)) - 12.0).abs() < 1e-9);
        // Half of the first and half of the last hour were seen, with half as many requests in each.
        let mut hours = vec![24; 26];
        (hours[0], hours[25]) = (12, 12);
        assert!((mean(&hours, half(0), half(25)) - 24.0).abs() < 1e-9);
        // Traffic came to an end long ago: there is some all the same, but by no hour.
        let constant = mean(&[30], half(0), half(30));
        assert!((constant - 1.0).abs() < 1e-9, "{constant}");
    }

    #[test]
    fn a_rollout_begins_at_the_hour_of_the_day_at_which_it_is() {
        // Of three days the first half is not seen; every day at 12 o'clock there are 240 requests, and else none.
        let hours: Vec<u64> =
            (0..72).map(|hour| if hour >= 36 && hour % 24 == 12 { 240 } else { 0 }).collect();
        assert_eq!(
            pace(&hours, at(0), Some(at(36)), at(72)),
            Pace::of((0..24).map(|hour| if hour == 12 { 240.0 } else { 0.0 }).collect())
        );
    }
}
