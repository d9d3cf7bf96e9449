//! The business number: one value a window, beside the windows before.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::Better;
use tidemill_stats::seasonal::{Rule, band};

use crate::verdict::{Evidence, State, Verdict};

/// Values that are remembered, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(VecDeque<f64>);

/// How many values are remembered.
const REMEMBERED: usize = 64;

impl Series {
    fn push(&mut self, value: f64) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }
}

/// Judges the mean of a window by the eight windows before it: outside of the median by more than four scaled median absolute
/// deviations, and on the bad side. A window that is outside does not count as one of the like windows of later ones, so that a
/// level that stays bad stays broken.
pub(crate) fn judge(
    name: &str,
    better: Better,
    series: &mut Series,
    (sum, outcomes): (f64, u64),
    decisions: u64,
) -> Verdict {
    if outcomes == 0 {
        return Verdict::no_data(format!("no outcome of the window carries `{name}`"));
    }
    let mean = sum / outcomes as f64;
    let rule = Rule { period: 1, ..Rule::default() };
    let values: Vec<f64> = series.0.iter().copied().chain([mean]).collect();
    let Some(found) = band(&values, rule) else {
        series.push(mean);
        let why = format!(
            "`{name}` is {mean:.4}; {} windows before it are too few to compare with",
            values.len() - 1
        );
        return Verdict { value: Some(mean), ..Verdict::no_data(why) };
    };
    let (is_bad, limit) = match better {
        Better::Lower => (mean > found.high, found.high),
        Better::Higher => (mean < found.low, found.low),
    };
    if !is_bad {
        series.push(mean);
    }
    let state = if is_bad { State::Broken } else { State::Ok };
    let verb = if is_bad { "outside of" } else { "within" };
    let why = format!(
        "`{name}` is {mean:.4} a decision over {outcomes} outcomes, {verb} {:.4} to {:.4} of the {} windows before",
        found.low, found.high, found.windows
    );
    let lost = (mean - found.median).abs() * decisions as f64;
    Verdict {
        value: Some(mean),
        limit: Some(limit),
        at_risk: is_bad.then_some(lost),
        evidence: Some(Evidence::Kpi { outcomes, median: found.median, windows: found.windows as u64 }),
        ..Verdict::of(state, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bad_side_is_an_alarm_and_a_bad_level_stays_one() {
        let mut series = Series::default();
        let mut see = |value: f64| judge("money", Better::Lower, &mut series, (value * 10.0, 10), 100);
        for value in [5.0, 5.1, 4.9, 5.0] {
            assert_eq!(see(value).state, State::NoData);
        }
        assert_eq!(see(5.05).state, State::Ok);
        assert_eq!(see(1.0).state, State::Ok, "cheaper is no alarm");
        for _ in 0..30 {
            let found = see(9.0);
            assert_eq!(found.state, State::Broken, "{}", found.why);
            assert!(found.at_risk.is_some_and(|lost| (390.0..410.0).contains(&lost)), "{found:?}");
        }
        assert_eq!(see(5.0).state, State::Ok);
        assert_eq!(judge("money", Better::Lower, &mut Series::default(), (0.0, 0), 9).state, State::NoData);
    }
}
