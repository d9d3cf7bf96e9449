//! The business number: one value a window, beside the like windows before.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use tidemill_core::declare::{Better, Objective};
use tidemill_project::KpiMonitor;
use tidemill_stats::seasonal::forecast;

use crate::releases::AnsweredBy;
use crate::verdict::{Evidence, State, Verdict};
use crate::window::Window;

/// Values that are remembered, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(VecDeque<Value>);

/// A value, and the begin of its window in milliseconds; of what was stored before that was noted, the value alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    /// Of a window that was broken the limit, which counts once the next window is good.
    Broken(i64, f64, bool),
    At(i64, f64),
    Old(f64),
}

impl Value {
    const fn begin(&self) -> Option<i64> {
        match self {
            Self::Broken(from, ..) | Self::At(from, _) => Some(*from),
            Self::Old(_) => None,
        }
    }
}

/// Windows before that count without a season, and like windows of each place of one.
const BEFORE: usize = 28;
const SEASONS: usize = 8;
/// The deviation is at least this share of the mean's size.
const FLOOR: f64 = 0.01;
/// Outcomes from which on a window is judged, and the chance of a false alarm in one, where the project does not say.
const OUTCOMES: u64 = 30;
const ALPHA: f64 = 0.001;

impl Series {
    /// A broken window. Of a level that stays bad two are enough to know that none counts.
    fn push_broken(&mut self, from: i64, limit: f64) {
        let is_broken = |value: Option<&Value>| matches!(value, Some(Value::Broken(..)));
        let before = self.0.len().checked_sub(2).and_then(|at| self.0.get(at));
        if !(is_broken(self.0.back()) && is_broken(before)) {
            self.0.push_back(Value::Broken(from, limit, true));
        }
    }

    /// A good window follows. One broken window alone is chance as often as not: were all of these left out, later ones would seem
    /// to vary less than they do, and alarm twice as often as declared.
    fn settle(&mut self) {
        let mut broken = Vec::new();
        while let Some(Value::Broken(from, limit, _)) = self.0.back().copied() {
            broken.push(Value::At(from, limit));
            self.0.pop_back();
        }
        if let [one] = broken.as_slice() {
            self.0.push_back(*one);
        }
    }

    /// What was remembered before the window that begins at `from`.
    pub(crate) fn before(&self, from: i64) -> Self {
        let is_before = |value: &&Value| value.begin().is_none_or(|begin| begin < from);
        Self(self.0.iter().filter(is_before).copied().collect())
    }

    /// Puts what a window left behind that was judged again in the place of what it had left: the last of `then`, if anything.
    pub(crate) fn restate(&mut self, from: i64, then: &Self) {
        let is_it = |value: &Value| value.begin() == Some(from);
        let known = self.0.iter().any(is_it);
        self.0.retain(|value| !is_it(value));
        let Some(new) = then.0.back().copied().filter(is_it) else { return };
        let before = self.0.iter().take_while(|value| value.begin().is_none_or(|begin| begin < from)).count();
        if before == 0 && !known && !self.0.is_empty() {
            // It is older than what is remembered.
            return;
        }
        let new = match new {
            // A broken window counts once a window follows.
            Value::Broken(from, limit, _) if before < self.0.len() => Value::At(from, limit),
            other => other,
        };
        self.0.insert(before, new);
    }

    fn push(&mut self, from: i64, value: f64, most: usize) {
        while self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back(Value::At(from, value));
    }

    /// The last values by their place in the season; without one there is one place.
    fn places(&self, season: Option<i64>) -> BTreeMap<i64, Vec<f64>> {
        let each = if season.is_some() { SEASONS } else { BEFORE };
        let mut places: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for value in self.0.iter().rev() {
            let (place, value) = match (*value, season) {
                (Value::At(from, value), Some(season)) => (from.rem_euclid(season), value),
                (Value::Old(value) | Value::At(_, value), None) => (0, value),
                (Value::Old(_), Some(_)) | (Value::Broken(..), _) => continue,
            };
            let known = places.entry(place).or_default();
            if known.len() < each {
                known.push(value);
            }
        }
        places
    }
}

/// Judges a window by the outcomes of its requests, whoever answered them.
pub(crate) fn judged(
    rule: &KpiMonitor,
    objective: Option<&Objective>,
    series: &mut Series,
    window: (Window, u64),
    answered: &[AnsweredBy],
) -> Verdict {
    let sum = answered.iter().map(|by| by.sum).sum();
    let outcomes = answered.iter().map(|by| by.outcomes).sum();
    let kpi = objective.and_then(|objective| objective.kpi.as_ref());
    let better = kpi.map_or(Better::Lower, |kpi| kpi.better);
    let verdict = judge(rule, better, series, window, (sum, outcomes));
    Verdict { counted: answered.to_vec(), ..verdict }
}

/// Judges the mean of a window by the like windows before it: those just before, or with a season those at the same place of it. It is
/// broken on the bad side of an interval in which it is but for the declared chance of a false alarm. Windows that are broken one after
/// the other do not count for later ones, so that a level that stays bad stays broken; one alone counts as the interval's end, as one
/// does that is better than the interval.
fn judge(
    rule: &KpiMonitor,
    better: Better,
    series: &mut Series,
    (window, decisions): (Window, u64),
    (sum, outcomes): (f64, u64),
) -> Verdict {
    let name = &rule.name;
    if outcomes == 0 {
        return Verdict::no_data(format!("no outcome of the window carries `{name}`"));
    }
    let (mean, least) = (sum / outcomes as f64, rule.min_outcomes.unwrap_or(OUTCOMES));
    if outcomes < least {
        let why = format!("`{name}` is {mean:.4}; {outcomes} outcomes are fewer than {least}");
        return Verdict { value: Some(mean), ..Verdict::no_data(why) };
    }
    let length = window.to.since(window.from).as_millis().max(1) as i64;
    let season = rule.season.map(|season| (season.0.as_millis() as i64).max(1));
    let most = season.map_or(BEFORE, |season| SEASONS * usize::try_from(season / length).unwrap_or(1).max(1));
    let from = window.from.millis();
    let mut places = series.places(season);
    let like = places.remove(&season.map_or(0, |season| from.rem_euclid(season))).unwrap_or_default();
    let alpha = rule.false_alarms.unwrap_or(ALPHA);
    let Some(found) = forecast(&like, places.values().map(Vec::as_slice), alpha, FLOOR) else {
        series.push(from, mean, most);
        let why = format!(
            "`{name}` is {mean:.4}; {} like windows before it are too few to compare with",
            like.len()
        );
        return Verdict { value: Some(mean), ..Verdict::no_data(why) };
    };
    let (is_bad, limit) = match better {
        Better::Lower => (mean > found.high, found.high),
        Better::Higher => (mean < found.low, found.low),
    };
    if is_bad {
        series.push_broken(from, limit);
    } else {
        series.settle();
        series.push(from, mean.clamp(found.low, found.high), most);
    }
    let state = if is_bad { State::Broken } else { State::Ok };
    let verb = if is_bad { "outside of" } else { "within" };
    let kind = if season.is_some() { "like windows" } else { "windows" };
    let why = format!(
        "`{name}` is {mean:.4} a decision over {outcomes} outcomes, {verb} {:.4} to {:.4} of the {} {kind} before",
        found.low, found.high, found.windows
    );
    let lost = (mean - found.mean).abs() * decisions as f64;
    Verdict {
        value: Some(mean),
        limit: Some(limit),
        at_risk: is_bad.then_some(lost),
        evidence: Some(Evidence::Kpi { outcomes, expected: found.mean, windows: found.windows as u64 }),
        ..Verdict::of(state, why)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemill_core::Timestamp;
    use tidemill_project::Period;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn rule(season: Option<Duration>) -> KpiMonitor {
        KpiMonitor {
            name: "money".to_owned(),
            window: None,
            outcomes: None,
            season: season.map(Period),
            min_outcomes: None,
            false_alarms: None,
            restate: None,
            hold: None,
        }
    }

    fn day(number: i64) -> Window {
        Window::containing(Timestamp::from_millis(number * 86_400_000), DAY)
    }

    #[test]
    fn only_the_bad_side_is_an_alarm_and_a_bad_level_stays_one() {
        let (mut series, mut number) = (Series::default(), 0);
        let mut see = |value: f64| {
            number += 1;
            judge(&rule(None), Better::Lower, &mut series, (day(number), 100), (value * 40.0, 40))
        };
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
        let none = |outcomes| {
            judge(&rule(None), Better::Lower, &mut Series::default(), (day(0), 9), (9.0, outcomes))
        };
        assert_eq!(none(0).state, State::NoData);
        assert!(none(29).why.ends_with("29 outcomes are fewer than 30"), "{}", none(29).why);
    }

    /// Weekends are not like the days before them, also where a day without records lies between.
    #[test]
    fn a_weekend_is_compared_with_weekends() {
        let mut broken = Vec::new();
        for season in [None, Some(7 * DAY)] {
            // What was stored without a time is in no season.
            let stored = if season.is_some() { "[5.0, 4.5]" } else { "[]" };
            let mut series: Series = serde_json::from_str(stored).unwrap();
            let states: Vec<State> = (0..70)
                .filter(|number| number % 17 != 3)
                .map(|number| {
                    let level = if number % 7 > 4 { 40.0 } else { 20.0 } + (number * 5 % 3) as f64;
                    let found = judge(
                        &rule(season),
                        Better::Lower,
                        &mut series,
                        (day(number), 1),
                        (level * 50.0, 50),
                    );
                    let text = serde_json::to_string(&series).unwrap();
                    assert_eq!(serde_json::from_str::<Series>(&text).unwrap(), series);
                    found.state
                })
                .collect();
            broken.push(states.iter().filter(|state| **state == State::Broken).count());
        }
        assert!(broken[1] == 0 && broken[0] > 0, "{broken:?}");
        let mut series = Series::default();
        let mut see = |number, level: f64| {
            judge(&rule(Some(7 * DAY)), Better::Lower, &mut series, (day(number), 1), (level * 50.0, 50))
                .state
        };
        for number in 0..35 {
            see(number, if number % 7 > 4 { 40.0 } else { 20.0 } + (number * 5 % 3) as f64);
        }
        assert_eq!(see(35, 40.0), State::Broken, "on a weekday that is no usual level");
    }
}
