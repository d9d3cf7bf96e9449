//! One stream of values: a detector that takes them one by one, and what a change of their mean comes to.
//!
//! The state is bounded and stored with every verdict. It belongs to one order of values; whoever reads them says which, and gives
//! each once.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;
use tidemill_core::declare::{Objective, TaskKind};
use tidemill_project::{ChangeDirection, Detector, StreamMonitor, StreamOf};
use tidemill_stats::online::{Adwin, Change, Direction, PageHinkley, PageHinkleySettings};
use tidemill_stats::sequential::Tally;

use crate::scale::Scale;
use crate::verdict::{Evidence, Exposure, State, Verdict};
use crate::window::Window;

/// Sums of values stay finite.
const LARGEST: f64 = 1e290;
/// Values from which on the mean of a test that began anew is used.
const ENOUGH: u64 = 30;
/// Times at which values came that are remembered.
const TIMES: usize = 64;

/// What is remembered of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// What it was set up with; another one begins anew.
    settings: Settings,
    /// In which unit the detector sees values; made of the first ones.
    #[serde(default = "plain")]
    unit: Scale,
    state: Detecting,
    /// Values so far, those that made the scale included.
    seen: u64,
    /// How many values came before a time: newer ones closer together.
    times: VecDeque<(u64, Timestamp)>,
    /// The last change, until the level that it led to is the usual one.
    moved: Option<Moved>,
}

/// Of what was stored before units were; its settings are others, so it begins anew.
fn plain() -> Scale {
    Scale::Plain
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    of: StreamOf,
    detector: Detector,
    delta: f64,
    threshold: f64,
    is_scaled: bool,
    /// Counts the ways in which values are seen.
    #[serde(default)]
    way: u32,
}

/// The way of today.
const WAY: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Detecting {
    Adwin(Adwin),
    PageHinkley(PageHinkley),
}

/// A change in the unit of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Moved {
    /// The level before the alert.
    usual: f64,
    /// The mean since then, of so many values.
    now: f64,
    count: u64,
    /// The farthest that it was from the usual one.
    far: f64,
    /// The value with which that began, and when it came.
    began: u64,
    at: Option<Timestamp>,
    /// The end of the window in which it was noticed.
    noticed: Timestamp,
    /// Whether it is there still, and in a direction that breaks the rule.
    is_broken: bool,
}

impl Settings {
    fn of(rule: &StreamMonitor, objective: Option<&Objective>) -> Self {
        // Shares and chances have a scale of their own, which is that of the detectors.
        let is_class = objective.is_some_and(|objective| objective.task.kind == TaskKind::Classification);
        let is_scaled = match rule.of {
            StreamOf::Error => false,
            StreamOf::Score => !is_class,
            StreamOf::Latency | StreamOf::Column(_) | StreamOf::Outcome(_) => true,
        };
        let usual = PageHinkleySettings::default();
        // In standard deviations the usual allowance would alarm by chance every few thousand values; these are a cumulative sum for a
        // shift of half a deviation, with millions of values between false alarms (Siegmund, Sequential Analysis, 1985).
        let (delta, threshold) = match (rule.detector, is_scaled) {
            (Detector::Adwin, _) => (0.002, 0.0),
            (Detector::PageHinkley, false) => (usual.allowance, usual.threshold),
            (Detector::PageHinkley, true) => (0.25, 25.0),
        };
        Self {
            of: rule.of.clone(),
            detector: rule.detector,
            delta: rule.delta.unwrap_or(delta),
            threshold: rule.threshold.unwrap_or(threshold),
            is_scaled,
            way: WAY,
        }
    }

    fn start(self) -> Stream {
        let state = match self.detector {
            Detector::Adwin => Detecting::Adwin(Adwin::new(self.delta)),
            Detector::PageHinkley => Detecting::PageHinkley(PageHinkley::new(PageHinkleySettings {
                allowance: self.delta,
                threshold: self.threshold,
                ..PageHinkleySettings::default()
            })),
        };
        let unit = match self.detector {
            _ if !self.is_scaled => Scale::Plain,
            Detector::Adwin => Scale::Ranks(Vec::new()),
            Detector::PageHinkley => Scale::Deviations(Tally::default()),
        };
        Stream { settings: self, unit, state, seen: 0, times: VecDeque::new(), moved: None }
    }
}

impl Moved {
    /// Whether a level is nearer to where it was than to where it had moved.
    fn is_back(&self, level: f64) -> bool {
        (level - self.usual).abs() < self.far / 2.0
    }

    /// A value that came since.
    fn add(&mut self, value: f64, is_geometric: bool) {
        self.count += 1;
        let step = |mean: f64, value: f64| mean + (value - mean) / self.count as f64;
        self.now =
            if is_geometric { step(self.now.ln(), logarithm(value)).exp() } else { step(self.now, value) };
    }
}

/// Of a latency; none is faster than a microsecond.
fn logarithm(millis: f64) -> f64 {
    millis.max(1e-3).ln()
}

impl Stream {
    /// Takes the next value; a change is one in the unit of the stream, by the positions of its values.
    fn update(&mut self, value: f64) -> Option<Change> {
        self.seen += 1;
        // One slow request is no change of the mean.
        let value = if self.settings.of == StreamOf::Latency { logarithm(value) } else { value };
        let skipped = self.unit.made_of();
        let value = value.clamp(-LARGEST, LARGEST);
        let unit = self.unit.see(value)?;
        let change = match &mut self.state {
            Detecting::Adwin(adwin) => adwin.update_for(unit, value),
            Detecting::PageHinkley(test) => test.update(unit),
        }?;
        let shift = |position: u64| position + skipped;
        Some(Change {
            noticed: shift(change.noticed),
            began: shift(change.began),
            before: self.level(change.before),
            after: self.level(change.after),
            ..change
        })
    }

    /// A mean of the detector in the unit of the stream.
    fn level(&self, mean: f64) -> f64 {
        let mean = self.unit.level(mean);
        if self.settings.of == StreamOf::Latency { mean.exp() } else { mean }
    }

    fn mean(&self) -> Option<f64> {
        let mean = match &self.state {
            Detecting::Adwin(adwin) => adwin.level(),
            Detecting::PageHinkley(test) => test.mean(),
        };
        mean.map(|mean| self.level(mean))
    }

    /// Notes that the next value came at or after `at`. Where there is no more room every second one of the older half goes.
    fn mark(&mut self, at: Timestamp) {
        if self.times.len() == TIMES {
            let mut number = 0;
            self.times.retain(|_| {
                number += 1;
                number > TIMES / 2 || number % 2 == 1
            });
        }
        self.times.push_back((self.seen, at));
    }

    fn time_of(&self, position: u64) -> Option<Timestamp> {
        self.times.iter().rev().find(|(before, _)| *before < position).map(|(_, at)| *at)
    }

    /// What a change makes of the one before. A detector that lets go of old values bit by bit finds more than one change where the
    /// stream moved once, so each is measured from the level that was usual before the first.
    fn step(&self, rule: &StreamMonitor, window: Window, change: Change) -> Moved {
        let new = Moved {
            usual: change.before,
            now: change.after,
            count: (change.noticed + 1).saturating_sub(change.began).max(1),
            far: (change.after - change.before).abs(),
            began: change.began,
            at: self.time_of(change.began),
            noticed: window.to,
            is_broken: breaks(rule, change.direction == Direction::Up),
        };
        let Some(old) = self.moved else { return new };
        let old = Moved { far: old.far.max((old.now - old.usual).abs()), ..old };
        if old.is_back(change.after) {
            return Moved { noticed: window.to, is_broken: false, ..old };
        }
        let is_broken = breaks(rule, change.after > old.usual);
        if is_broken && old.is_broken {
            return Moved { noticed: window.to, ..old };
        }
        Moved { usual: old.usual, far: old.far, is_broken, ..new }
    }

    /// Takes the values of a window, and what they change.
    fn take(&mut self, rule: &StreamMonitor, window: Window, values: &[f64]) {
        self.mark(window.from);
        for value in values.iter().copied().filter(|value| value.is_finite()) {
            let found = self.update(value);
            if let Some(moved) = &mut self.moved {
                moved.add(value, self.settings.of == StreamOf::Latency);
            }
            if let Some(change) = found {
                self.moved = Some(self.step(rule, window, change));
            }
        }
        // The test begins anew with a change, so its mean is of what came after the last one, and surer than what it said then.
        if let (Detecting::PageHinkley(test), Some(mean), Some(moved)) =
            (&self.state, self.mean(), &mut self.moved)
            && test.values() >= ENOUGH
            && moved.is_broken
            && moved.is_back(mean)
        {
            (moved.is_broken, moved.noticed) = (false, window.to);
        }
        let settle = rule.settle.map_or(SETTLE, |settle| settle.0);
        self.moved = self.moved.filter(|moved| moved.noticed.plus(settle) > window.to);
    }
}

/// How long a new level holds until it is the usual one, where the project does not say.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Whether a level that became larger, or smaller, breaks the rule.
fn breaks(rule: &StreamMonitor, is_up: bool) -> bool {
    let only_up = matches!(rule.of, StreamOf::Latency | StreamOf::Error);
    match rule.direction.unwrap_or(if only_up { ChangeDirection::Up } else { ChangeDirection::Both }) {
        ChangeDirection::Both => true,
        ChangeDirection::Up => is_up,
        ChangeDirection::Down => !is_up,
    }
}

/// Judges the values of a window, which follow those before it.
pub(crate) fn judge(
    rule: &StreamMonitor,
    remembered: &mut Option<Stream>,
    window: Window,
    values: &[f64],
    objective: Option<&Objective>,
    exposure: Exposure,
) -> Verdict {
    let settings = Settings::of(rule, objective);
    let mut stream = match remembered.take() {
        Some(stream) if stream.settings == settings => stream,
        _ => settings.start(),
    };
    let new = values.iter().filter(|value| value.is_finite()).count() as u64;
    stream.take(rule, window, values);
    let verdict = stream.verdict(new, exposure);
    *remembered = Some(stream);
    verdict
}

impl Stream {
    fn verdict(&self, new: u64, exposure: Exposure) -> Verdict {
        let (what, each, unit) = words(&self.settings.of);
        let broken = self.moved.filter(|moved| moved.is_broken);
        let evidence = Some(Evidence::Stream {
            detector: self.settings.detector,
            values: new,
            seen: self.seen,
            usual: broken.map(|moved| moved.usual),
            moved_to: broken.map(|moved| moved.now),
            values_since: broken.map(|moved| self.since(moved)),
            began: broken.and_then(|moved| moved.at),
        });
        // A detector that has just begun anew has no mean yet.
        let value = self.mean().or(self.moved.map(|moved| moved.now));
        if new == 0 {
            return Verdict { value, evidence, ..Verdict::no_data(format!("no {each} of the stream came")) };
        }
        let Some(mean) = value else {
            let why = format!("{} {each} are too few to know the scale of {what}", self.seen);
            return Verdict { evidence, ..Verdict::no_data(why) };
        };
        let Some(moved) = broken else {
            let why = format!("{what} is {mean:.4}{unit}, as usual, after {} {each}", self.seen);
            return Verdict { value, evidence, ..Verdict::of(State::Ok, why) };
        };
        let at = moved.at.map(|at| format!(", after {at}")).unwrap_or_default();
        let why = format!(
            "{what} moved from {:.4}{unit} to {:.4}{unit} about {} {each} ago{at}",
            moved.usual,
            moved.now,
            self.since(moved)
        );
        let more = (moved.now - moved.usual).max(0.0);
        Verdict {
            value,
            limit: Some(moved.usual),
            at_risk: (self.settings.of == StreamOf::Error).then(|| exposure.of_share(more)).flatten(),
            evidence,
            ..Verdict::of(State::Broken, why)
        }
    }

    fn since(&self, moved: Moved) -> u64 {
        (self.seen + 1).saturating_sub(moved.began)
    }
}

/// What is measured, what one value is of, and its unit.
fn words(of: &StreamOf) -> (String, &'static str, &'static str) {
    match of {
        StreamOf::Score => ("mean of score".to_owned(), "predictions", ""),
        StreamOf::Latency => ("geometric mean of latency".to_owned(), "requests", " ms"),
        StreamOf::Error => ("share of failed requests".to_owned(), "requests", ""),
        StreamOf::Column(name) => (format!("mean of `{name}`"), "predictions", ""),
        StreamOf::Outcome(name) => (format!("mean of outcome `{name}`"), "outcomes", ""),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemill_project::Period;
    use tidemill_stats::random::Random;

    use super::*;

    fn rule(of: StreamOf, detector: Detector) -> StreamMonitor {
        StreamMonitor {
            of,
            detector,
            delta: None,
            threshold: None,
            direction: None,
            every: None,
            settle: None,
            outcomes: None,
            hold: None,
        }
    }

    fn minute(number: i64) -> Window {
        Window::containing(Timestamp::from_millis(number * 60_000), Duration::from_secs(60))
    }

    /// Fifty values a minute with this mean and deviation.
    fn values(minute: i64, mean: f64, deviation: f64) -> Vec<f64> {
        let mut random = Random::new(7, minute as u64);
        (0..50).map(|_| mean + deviation * random.normal()).collect()
    }

    /// Verdicts of minutes, taking what is remembered through its stored form.
    fn story(rule: &StreamMonitor, minutes: &[Vec<f64>]) -> Vec<Verdict> {
        let mut memory = None;
        minutes
            .iter()
            .zip(0..)
            .map(|(values, number)| {
                let found = judge(rule, &mut memory, minute(number), values, None, Exposure::default());
                let text = serde_json::to_string(&memory).unwrap();
                assert!(text.len() < 20_000, "the state is bounded");
                let stored = serde_json::from_str(&text).unwrap();
                assert_eq!(memory, stored);
                memory = stored;
                found
            })
            .collect()
    }

    #[test]
    fn every_stream_and_detector_notices_a_shift_dates_it_and_says_when_it_is_back() {
        for detector in [Detector::Adwin, Detector::PageHinkley] {
            for (of, level, shifted, deviation) in [
                (StreamOf::Score, 0.2, 0.4, 0.1),
                (StreamOf::Column("distance".into()), 1_000.0, 1_200.0, 100.0),
                (StreamOf::Outcome("delay".into()), -3e-4, 1e-3, 1e-3),
            ] {
                let rule = rule(of, detector);
                let minutes: Vec<Vec<f64>> = (0..60)
                    .map(|minute| {
                        values(minute, if (20..40).contains(&minute) { shifted } else { level }, deviation)
                    })
                    .collect();
                let found = story(&rule, &minutes);
                let broken: Vec<usize> =
                    (0..60).filter(|minute| found[*minute].state == State::Broken).collect();
                assert!((20..26).contains(&broken[0]), "{rule:?}: {broken:?}");
                assert!(*broken.last().unwrap() < 52, "{rule:?}: it is back: {broken:?}");
                let first = &found[broken[0]];
                let Some(Evidence::Stream { usual, moved_to, values_since, began, .. }) = &first.evidence
                else {
                    panic!("{first:?}")
                };
                let near = |found: f64, wanted: f64| (found - wanted).abs() < (shifted - level) / 3.0;
                assert!(near(usual.unwrap(), level) && near(moved_to.unwrap(), shifted), "{}", first.why);
                let began = began.unwrap().millis() / 60_000;
                assert!((19..=20).contains(&began), "{rule:?}: {began}, {}", first.why);
                assert!(values_since.unwrap() <= 50 * 7, "{}", first.why);
            }
        }
    }

    #[test]
    fn the_size_of_portions_changes_nothing_that_is_known_in_the_end() {
        let rule = rule(StreamOf::Score, Detector::Adwin);
        let all: Vec<f64> =
            (0..40).flat_map(|minute| values(minute, if minute < 20 { 0.2 } else { 0.5 }, 0.1)).collect();
        let known = |portion: usize| {
            let portions: Vec<Vec<f64>> = all.chunks(portion).map(<[f64]>::to_vec).collect();
            let last = story(&rule, &portions).pop().unwrap();
            let Some(Evidence::Stream { seen, usual, moved_to, .. }) = last.evidence else { panic!() };
            (seen, usual, moved_to, last.value)
        };
        assert_eq!(known(1), known(50));
        assert_eq!(known(7), known(2_000));
    }

    #[test]
    fn which_way_counts_and_a_level_that_holds_is_the_usual_one() {
        let slower =
            |level: f64| (0..50).map(|at| level * (1.0 + f64::from(at % 5) / 10.0)).collect::<Vec<_>>();
        let minutes: Vec<Vec<f64>> = (0..60)
            .map(|minute| {
                slower(if minute < 20 {
                    10.0
                } else if minute < 40 {
                    5.0
                } else {
                    9.0
                })
            })
            .collect();
        let mut rule = rule(StreamOf::Latency, Detector::Adwin);
        rule.settle = Some(Period(Duration::from_secs(600)));
        let found = story(&rule, &minutes);
        assert!(found[..40].iter().all(|verdict| verdict.state != State::Broken), "faster is no alarm");
        let broken: Vec<usize> = (0..60).filter(|at| found[*at].state == State::Broken).collect();
        assert!((40..44).contains(&broken[0]), "{broken:?}");
        assert!((10..=12).contains(&broken.len()), "after ten minutes it is the usual one: {broken:?}");
        assert!(found[broken[0]].why.contains(" ms about "), "{}", found[broken[0]].why);
        rule.direction = Some(ChangeDirection::Down);
        let found = story(&rule, &minutes);
        let first = found.iter().position(|verdict| verdict.state == State::Broken).unwrap();
        assert!((20..24).contains(&first), "{first}");
    }

    #[test]
    fn no_values_and_other_settings() {
        let rule = rule(StreamOf::Error, Detector::Adwin);
        let mut memory = None;
        let mut see = |rule: &StreamMonitor, number, values: &[f64]| {
            judge(rule, &mut memory, minute(number), values, None, Exposure::default())
        };
        assert_eq!(see(&rule, 0, &[]).state, State::NoData);
        assert_eq!(see(&rule, 1, &[f64::NAN]).state, State::NoData);
        assert_eq!(see(&rule, 2, &[0.0; 500]).state, State::Ok);
        let failing = see(&rule, 3, &[1.0; 64]);
        assert_eq!(failing.state, State::Broken, "{}", failing.why);
        let other = StreamMonitor { delta: Some(0.01), ..rule };
        let anew = see(&other, 4, &[1.0; 64]);
        assert!(anew.state == State::Ok && anew.why.contains("after 64 requests"), "{}", anew.why);
    }
}
