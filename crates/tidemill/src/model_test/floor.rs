//! Limits of what is measured: by the figure itself, or by what other rows of the same kind could have come to.

use tidemill_project::{DecideBy, MetricTest};
use tidemill_train::probe::interval;

use super::settle::{Found, settled};
use super::{Judged, Outcome, TestResult, named, outcome, within};
use crate::output::{number, percent, plural};

/// Level of intervals where none is declared.
pub(crate) const LEVEL: f64 = 0.95;

/// What a figure with its interval comes to.
fn decide(
    value: f64,
    ends: Option<(f64, f64)>,
    (min, max): (Option<f64>, Option<f64>),
    by: DecideBy,
) -> Outcome {
    let is_within = |value: f64| within(value, min, max).0;
    match (by, ends) {
        (DecideBy::Estimate, _) => outcome(is_within(value)),
        (DecideBy::Interval, None) => Outcome::NotJudged,
        (DecideBy::Interval, Some((low, high))) if is_within(low) && is_within(high) => Outcome::Passed,
        (DecideBy::Interval, Some((low, high))) => {
            let is_beyond = min.is_some_and(|min| high < min) || max.is_some_and(|max| low > max);
            if is_beyond { Outcome::Failed } else { Outcome::NotJudged }
        }
    }
}

/// Whether a limit lies within an interval, so that other rows could as well have come to the other side.
fn is_in_doubt((low, high): (f64, f64), limits: (Option<f64>, Option<f64>)) -> bool {
    [limits.0, limits.1].into_iter().flatten().any(|limit| low < limit && limit < high)
}

impl Judged {
    /// A metric of the held-out rows against its limits.
    pub(super) fn metric(&self, test: &MetricTest) -> anyhow::Result<TestResult> {
        let (_, bounds) = within(0.0, test.min, test.max);
        settled(format!("{} {bounds}", test.name), self.limited(test))
    }

    fn limited(&self, test: &MetricTest) -> anyhow::Result<Found> {
        let metric = named(&test.name);
        let found = self.metrics.iter().find(|found| Some(found.metric) == metric);
        let Some((found, value)) = found.and_then(|found| Some((found, found.value?))) else {
            return Ok(Found::open(format!("{} is not known of the held-out rows", test.name)));
        };
        let ends = match test.confidence {
            None => found.interval.as_ref().map(|ends| (ends.lower, ends.upper)),
            Some(level) => {
                interval(&self.predictions, found.metric, level)?.map(|ends| (ends.low, ends.high))
            }
        };
        let (by, limits) = (test.by.unwrap_or(DecideBy::Estimate), (test.min, test.max));
        let outcome = decide(value, ends, limits, by);
        let rows = plural(self.predictions.num_rows() as u64, "row");
        let level = percent(test.confidence.unwrap_or(LEVEL));
        let shown = match ends {
            Some((low, high)) => format!("{} ({} to {})", number(value), number(low), number(high)),
            None => number(value),
        };
        let message = match (by, ends) {
            (DecideBy::Interval, None) => format!("no evidence: {shown}, and its interval is not known"),
            (DecideBy::Interval, Some(_)) if outcome == Outcome::NotJudged => {
                format!(
                    "no evidence either way: {shown} on {rows}, and the limit is within the {level} interval"
                )
            }
            (DecideBy::Estimate, Some(ends)) if is_in_doubt(ends, limits) => {
                format!("{shown}; {rows} are few: the limit is within the {level} interval")
            }
            _ => shown,
        };
        let result = Found::of(outcome, message).figure("value", value);
        Ok(match ends {
            Some((low, high)) => result.figure("low", low).figure("high", high),
            None => result,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_or_its_whole_interval() {
        use DecideBy::{Estimate, Interval};
        use Outcome::{Failed, NotJudged, Passed};
        let narrow = Some((0.68, 0.72));
        for (ends, min, max, by_estimate, by_interval) in [
            (narrow, Some(0.6), None, Passed, Passed),
            (narrow, Some(0.69), None, Passed, NotJudged),
            (narrow, Some(0.71), None, Failed, NotJudged),
            (narrow, Some(0.73), None, Failed, Failed),
            (narrow, None, Some(0.73), Passed, Passed),
            (narrow, None, Some(0.71), Passed, NotJudged),
            (narrow, None, Some(0.6), Failed, Failed),
            (narrow, Some(0.6), Some(0.71), Passed, NotJudged),
            (None, Some(0.6), None, Passed, NotJudged),
        ] {
            let found = [Estimate, Interval].map(|by| decide(0.7, ends, (min, max), by));
            assert_eq!(found, [by_estimate, by_interval], "{ends:?} {min:?} {max:?}");
        }
        assert!(is_in_doubt((0.68, 0.72), (Some(0.71), None)));
        assert!(!is_in_doubt((0.68, 0.72), (Some(0.6), None)));
    }
}
