//! A metric in every value of the columns that are named, with what chance can do in so many of them.

use tidemill_core::declare::Metric;
use tidemill_project::SliceTest;
use tidemill_stats::beyond::{Beyond, Estimate, beyond};
use tidemill_stats::interval::{Interval, wilson};
use tidemill_train::fit::{Slice, by_slice};
use tidemill_train::metric;
use tidemill_train::probe::row_weights;

use super::settle::{Found, settled};
use super::{Case, Judged, Outcome, TestResult, named, within};
use crate::output::{number, plural};

/// Rows below which a slice is not judged.
const LEAST: u64 = 100;
/// Level of intervals.
const LEVEL: f64 = 0.95;
/// False discovery rate over all slices of a test.
const ALPHA: f64 = 0.05;
/// Slices that a message names.
const NAMED: usize = 3;

/// A slice with what it comes to.
struct Part {
    slice: Slice,
    interval: Interval,
    judged: Option<Beyond>,
}

impl Judged {
    /// One result for each column; chance is accounted for over all slices of all of them.
    pub(super) fn slices(&self, case: &Case<'_>, test: &SliceTest) -> anyhow::Result<Vec<TestResult>> {
        let least = test.min_rows.unwrap_or(LEAST);
        let (_, bounds) = within(0.0, test.min, test.max);
        let name = |column: &str| format!("{} {bounds} for every {column}", test.metric);
        let Some(metric) = named(&test.metric) else {
            let message = format!("`{}` is not a metric of the trainer", test.metric);
            let open = |column: &String| TestResult::new(name(column), Outcome::NotJudged, message.clone());
            return Ok(test.by.as_slice().iter().map(open).collect());
        };
        let is_count = metric == Metric::Accuracy && row_weights(&self.predictions)?.is_none();
        let mut columns = Vec::new();
        for column in test.by.as_slice() {
            columns.push((column, by_slice(&self.predictions, column, metric, usize::try_from(least)?)));
        }
        let all = columns.iter().filter_map(|(_, slices)| slices.as_ref().ok()).flatten();
        let estimates: Vec<Estimate> = all.filter_map(|slice| estimate(slice, is_count)).collect();
        let mut judged = beyond(&estimates, test.min, test.max, ALPHA).into_iter();
        let mut results = Vec::new();
        for (column, slices) in columns {
            let slices = match slices {
                Ok(slices) => slices,
                Err(error) => {
                    results.push(settled(name(column), Err(error.into()))?);
                    continue;
                }
            };
            let seen = slices.iter().map(|slice| slice.rows).sum::<u64>();
            let unseen = (self.predictions.num_rows() as u64).saturating_sub(seen);
            let mut parts: Vec<Part> = slices
                .into_iter()
                .filter(|slice| slice.metric.is_some())
                .map(|slice| {
                    let found = estimate(&slice, is_count);
                    let judged = found.and_then(|_| judged.next());
                    Part { interval: interval(&slice, found), slice, judged }
                })
                .collect();
            let small = match unseen {
                0 => String::new(),
                rows => format!("; {} in slices of fewer than {least} left out", plural(rows, "row")),
            };
            let found = if parts.is_empty() {
                let rows = plural(least, "row");
                Found::open(format!("no evidence: no value of `{column}` has {rows} on which it is defined"))
            } else {
                verdict(&mut parts, test, metric, case.hidden.contains(column), &small)
            };
            results.push(found.named(name(column)));
        }
        Ok(results)
    }
}

/// What is known of a slice; nothing where resamples say nothing of it.
fn estimate(slice: &Slice, is_count: bool) -> Option<Estimate> {
    let value = slice.metric?;
    if is_count {
        let hits = (value * slice.rows as f64).round() as u64;
        return Some(Estimate::Share { hits, trials: slice.rows });
    }
    let ends = slice.interval?;
    let interval = Interval { estimate: value, low: ends.lower, high: ends.upper };
    Some(Estimate::Within { interval, level: LEVEL })
}

fn interval(slice: &Slice, found: Option<Estimate>) -> Interval {
    let value = slice.metric.unwrap_or(f64::NAN);
    let unknown = Interval { estimate: value, low: f64::NAN, high: f64::NAN };
    match found {
        Some(Estimate::Share { hits, trials }) => {
            wilson(hits as f64, trials as f64, LEVEL).unwrap_or(unknown)
        }
        Some(Estimate::Within { interval, .. }) => interval,
        None => unknown,
    }
}

fn verdict(parts: &mut [Part], test: &SliceTest, metric: Metric, is_hidden: bool, small: &str) -> Found {
    let is_out = |part: &Part| part.slice.metric.is_some_and(|value| !within(value, test.min, test.max).0);
    let is_flagged = |part: &Part| part.judged.is_some_and(|judged| judged.is_flagged);
    let value = |part: &Part| part.slice.metric.unwrap_or(f64::NAN);
    parts.sort_by(|a, b| {
        let worse = if metric::is_better(metric, 1.0, 0.0) {
            value(a).total_cmp(&value(b))
        } else {
            value(b).total_cmp(&value(a))
        };
        is_flagged(b).cmp(&is_flagged(a)).then(is_out(b).cmp(&is_out(a))).then(worse)
    });
    let (flagged, out) = (
        parts.iter().filter(|part| is_flagged(part)).count(),
        parts.iter().filter(|part| is_out(part)).count(),
    );
    let shown: Vec<String> =
        parts.iter().take(flagged.clamp(1, NAMED)).map(|part| words(part, is_hidden)).collect();
    let (all, shown) = (plural(parts.len() as u64, "slice"), shown.join("; "));
    let outcome = match (flagged, out) {
        (0, 0) => Outcome::Passed,
        (0, _) => Outcome::NotJudged,
        _ => Outcome::Failed,
    };
    let message = match outcome {
        Outcome::Passed => format!("worst of {all}: {shown}{small}"),
        Outcome::NotJudged => {
            format!(
                "no evidence either way: {out} of {all} beyond the limit, none beyond chance; worst is {shown}{small}"
            )
        }
        Outcome::Failed => format!("{flagged} of {all} beyond the limit and beyond chance: {shown}{small}"),
    };
    let worst = &parts[0];
    let found = Found::of(outcome, message)
        .figure("slices", parts.len() as f64)
        .figure("outside", out as f64)
        .figure("flagged", flagged as f64)
        .figure("worst", worst.interval.estimate)
        .figure("worst_low", worst.interval.low)
        .figure("worst_high", worst.interval.high)
        .figure("worst_rows", worst.slice.rows as f64);
    match worst.judged {
        Some(judged) => found.figure("p", judged.p).figure("p_adjusted", judged.p_adjusted),
        None => found,
    }
}

fn words(part: &Part, is_hidden: bool) -> String {
    let name = if is_hidden {
        "a value that is not shown"
    } else {
        part.slice.value.as_deref().unwrap_or("missing")
    };
    let Interval { estimate, low, high } = part.interval;
    let ends =
        if low.is_finite() { format!(" ({} to {})", number(low), number(high)) } else { String::new() };
    let p = part.judged.map(|judged| format!(", p {}", number(judged.p_adjusted))).unwrap_or_default();
    format!("{name} with {}{ends} on {}{p}", number(estimate), plural(part.slice.rows, "row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(right: &[u64], min: f64) -> Vec<Part> {
        let slices: Vec<Slice> = (1..)
            .zip(right)
            .map(|(at, right)| Slice {
                value: Some(format!("v{at}")),
                rows: 100,
                metric: Some(*right as f64 / 100.0),
                interval: None,
            })
            .collect();
        let estimates: Vec<Estimate> = slices.iter().filter_map(|slice| estimate(slice, true)).collect();
        let judged = beyond(&estimates, Some(min), None, ALPHA);
        slices
            .into_iter()
            .zip(judged)
            .map(|(slice, judged)| {
                let interval = interval(&slice, estimate(&slice, true));
                Part { slice, interval, judged: Some(judged) }
            })
            .collect()
    }

    fn judged(right: &[u64]) -> (Outcome, String) {
        let by = tidemill_project::OneOrMany::One("x".to_owned());
        let test = SliceTest { by, metric: "accuracy".to_owned(), min: Some(0.9), max: None, min_rows: None };
        let found = verdict(&mut parts(right, 0.9), &test, Metric::Accuracy, false, "").named(String::new());
        (found.outcome, found.message)
    }

    #[test]
    fn one_slice_of_fifty_that_is_low_by_luck_is_no_failure() {
        let mut right = vec![92; 50];
        assert_eq!(judged(&right).0, Outcome::Passed);
        // As low as one of fifty may well be by luck: by itself it would have failed.
        right[7] = 84;
        let (outcome, message) = judged(&right);
        assert_eq!(outcome, Outcome::NotJudged, "{message}");
        assert!(message.starts_with("no evidence either way: 1 of 50 slices"), "{message}");
        assert!(message.contains("v8 with 0.84 (0.7558 to 0.899) on 100 rows"), "{message}");
        assert_eq!(judged(&[84]).0, Outcome::Failed);
        // So low is no luck among fifty either.
        right[7] = 60;
        let (outcome, message) = judged(&right);
        assert_eq!(outcome, Outcome::Failed, "{message}");
        assert!(
            message.starts_with("1 of 50 slices beyond the limit and beyond chance: v8 with 0.6 "),
            "{message}"
        );
    }
}
