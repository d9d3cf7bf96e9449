//! A verdict as it came about: per metric the estimated harm with an interval that shrinks look by look, and when it will be decided.
//!
//! The interval is the judge's own tests turned round: harm is inside where they refute nothing. Its lower end passes `tolerate` where
//! harm is proven and nowhere else, its upper end comes down to `reject` where safety is and nowhere else: where looks are pooled, or a
//! test has no inverse of its own, the end stops at the limit until the judge has decided. Like the evidence it holds at all looks at
//! once, so an end that was reached once stays.

use tidemill_core::Timestamp;
use tidemill_stats::sequential::{Betting, Counts, Law, REFUSE, Way};

use super::difference::ln_mixture;
use super::metric::{ln_either, take_rare};
use super::panel::{Decision, Judge, Look, MetricView, Standing};
use super::spec::{Kind, Spec, SpecError};

/// Readings of a metric that are kept; of more, every second one is left out.
const MOST: usize = 240;
/// The largest part of what was seen so far that a forecast looks ahead.
const FURTHEST: f64 = 10_000.0;

/// A metric after a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// When.
    pub at: Timestamp,
    /// How many looks there were, this one included.
    pub looks: u64,
    /// Requests or values of the candidate so far.
    pub candidate: u64,
    /// Requests or values of the baseline so far.
    pub baseline: u64,
    /// Estimated harm, in the metric's unit; a ratio for rates, a number for events.
    pub harm: Option<f64>,
    /// The lower end of the interval; none where harm may be as low as can be.
    pub low: Option<f64>,
    /// The upper end of the interval; none where harm may be as high as can be.
    pub high: Option<f64>,
    /// Natural logarithm of the largest evidence of harm so far.
    pub ln_harm: f64,
    /// Natural logarithm of the largest evidence of safety so far.
    pub ln_safe: f64,
}

/// When a metric will be decided, if requests go on as they did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// What will be proven: `advance` for safety, `rollback` for harm.
    pub decision: Decision,
    /// Requests or values of the candidate that are still needed.
    pub requests: u64,
    /// When they will have come, at the pace of this stage.
    pub at: Option<Timestamp>,
}

/// One metric over all looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The metric as it stands now.
    pub now: MetricView,
    /// Whether harm is a ratio of rates, of which 1 is none.
    pub is_ratio: bool,
    /// Harm up to here is none, in the unit of `harm`.
    pub tolerate: Option<f64>,
    /// Harm from here on must not pass, in the unit of `harm`.
    pub reject: Option<f64>,
    /// Oldest first, the newest always among them.
    pub readings: Vec<Reading>,
    /// When it will be decided; none where it is, or where nothing seen so far leads to an end.
    pub forecast: Option<Forecast>,
}

/// How requests fell to the arms under one plan of traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Which change of traffic.
    pub stratum: u32,
    /// The share of the candidate that was planned, from 0 to 1.
    pub share: f64,
    /// Requests of the candidate.
    pub candidate: u64,
    /// Requests of the baseline.
    pub baseline: u64,
}

/// A fold over looks that keeps how each metric went. Its size does not grow with them.
#[derive(Clone, Debug)]
pub struct Cone {
    judge: Judge,
    tracks: Vec<Track>,
    splits: Vec<Split>,
    stride: u64,
    last: Option<Timestamp>,
    /// The stratum, when it began, and the requests of the candidate until then by metric.
    stage: Option<(u32, Timestamp, Vec<u64>)>,
}

/// Requests and events of candidate and baseline.
type Arms = [(u64, u64); 2];

#[derive(Clone, Debug, Default)]
struct Track {
    /// For rates, per stratum.
    rates: Vec<(u32, Arms)>,
    /// With whether each must stay.
    kept: Vec<(bool, Reading)>,
    low: Option<f64>,
    high: Option<f64>,
}

impl Cone {
    /// Nothing was seen yet.
    ///
    /// # Errors
    ///
    /// Where the judge cannot be.
    pub fn new(spec: Spec) -> Result<Self, SpecError> {
        let tracks = vec![Track::default(); spec.metrics.len()];
        let judge = Judge::new(spec)?;
        Ok(Self { judge, tracks, splits: Vec::new(), stride: 1, last: None, stage: None })
    }

    /// Takes up a look. What it led to is kept in any case where something else happened at the same time.
    pub fn look(&mut self, at: Timestamp, look: &Look, is_kept: bool) {
        let stratum = look.traffic.stratum;
        // Outcomes are of earlier traffic; they begin no stage anew.
        if self.stage.as_ref().is_none_or(|(known, ..)| *known < stratum) {
            let seen = self.judge.states().iter().map(|state| state.samples().0).collect();
            self.stage = Some((stratum, self.last.unwrap_or(at), seen));
        }
        self.judge.look(look);
        self.last = Some(at);
        if let (Some((candidate, baseline)), Some(share)) = (look.assigned, look.traffic.share) {
            match self.splits.iter_mut().find(|split| split.stratum == stratum) {
                Some(split) => {
                    split.candidate += candidate;
                    split.baseline += baseline;
                }
                None => self.splits.push(Split { stratum, share, candidate, baseline }),
            }
        }
        for observation in look.observations.iter().filter(|observation| observation.slice.is_none()) {
            let metrics = &self.judge.spec().metrics;
            let Some(metric) = metrics.iter().position(|metric| metric.name == observation.metric) else {
                continue;
            };
            if matches!(metrics[metric].kind, Kind::EventRate { .. }) {
                let seen = [&observation.candidate, &observation.baseline];
                self.tracks[metric].add(stratum, seen.map(|sample| (sample.n(), sample.events())));
            }
        }
        if is_kept || self.judge.looks().is_multiple_of(self.stride) {
            self.keep(at, is_kept);
        }
    }

    /// How many looks there were.
    pub fn looks(&self) -> u64 {
        self.judge.looks()
    }

    /// The judge after all looks.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// How requests fell to the arms, by change of traffic.
    pub fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// Natural logarithm of the largest evidence against the planned shares, and where they count as refuted.
    pub fn ratio(&self) -> (f64, f64) {
        (self.judge.ln_ratio(), -libm::log(REFUSE))
    }

    /// Every metric, in the order of the judge.
    pub fn courses(&self) -> Vec<Course> {
        let mut views = self.judge.view().into_iter().filter(|view| view.slice.is_none());
        let metrics = self.judge.spec().metrics.iter().enumerate();
        metrics.filter_map(|(at, metric)| Some(self.course(at, &metric.kind, views.next()?))).collect()
    }

    fn course(&self, at: usize, kind: &Kind, now: MetricView) -> Course {
        let (tolerate, reject) = self.judge.states()[at].limits(kind);
        let mut readings: Vec<Reading> = self.tracks[at].kept.iter().map(|(_, one)| one.clone()).collect();
        if let Some(time) = self.last
            && readings.last().is_none_or(|last| last.looks < self.judge.looks())
        {
            readings.push(self.reading(at, &now, time));
        }
        let forecast = self.forecast(at, kind, &now);
        let is_ratio = matches!(kind, Kind::EventRate { .. });
        Course { now, is_ratio, tolerate, reject, readings, forecast }
    }

    fn keep(&mut self, at: Timestamp, is_kept: bool) {
        let views: Vec<MetricView> =
            self.judge.view().into_iter().filter(|view| view.slice.is_none()).collect();
        for (metric, view) in views.iter().enumerate() {
            let reading = self.reading(metric, view, at);
            let track = &mut self.tracks[metric];
            (track.low, track.high) = (reading.low, reading.high);
            track.kept.push((is_kept, reading));
        }
        if self.tracks.first().is_some_and(|track| track.kept.len() > MOST) {
            self.stride *= 2;
            for track in &mut self.tracks {
                let mut number = 0;
                track.kept.retain(|(stays, _)| {
                    number += 1;
                    *stays || number % 2 == 1
                });
                // Where nearly all must stay, the newest of them do.
                let more = track.kept.len().saturating_sub(MOST);
                track.kept.drain(..more);
            }
        }
    }

    fn reading(&self, metric: usize, view: &MetricView, at: Timestamp) -> Reading {
        let track = &self.tracks[metric];
        let (low, high) = self.interval(metric, view);
        let further = |a: Option<f64>, b: Option<f64>, pick: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        let kind = &self.judge.spec().metrics[metric].kind;
        let (tolerate, reject) = self.judge.states()[metric].limits(kind);
        let low = further(track.low, low, f64::max);
        let high = further(track.high, high, f64::min);
        let is_certified = view.ln_safe >= view.ln_safe_needed;
        Reading {
            at,
            looks: self.judge.looks(),
            candidate: view.candidate,
            baseline: view.baseline,
            harm: view.harm,
            low: agreed(low, tolerate, view.standing == Standing::Harmful),
            // Turned round, so that the upper end is a lower one too.
            high: agreed(high.map(|high| -high), reject.map(|reject| -reject), is_certified)
                .map(|high| -high),
            ln_harm: view.ln_harm,
            ln_safe: view.ln_safe,
        }
    }

    /// The ends of the interval by what was seen until now.
    fn interval(&self, metric: usize, view: &MetricView) -> (Option<f64>, Option<f64>) {
        let kind = &self.judge.spec().metrics[metric].kind;
        if let Kind::EventRate { tolerate, reject, negligible } = kind {
            let strata = &self.tracks[metric].rates;
            let above = |ln: f64| ln_rate(strata, Way::Above, ln, libm::log(reject / tolerate), 1.0);
            let below = |ln: f64| ln_rate(strata, Way::Below, ln, libm::log(*reject), 1.0);
            let low = first(-WIDEST, WIDEST, |ln| above(ln) < view.ln_harm_needed);
            let by_ratio = first(-WIDEST, WIDEST, |ln| below(ln) >= view.ln_safe_needed);
            let high = match negligible {
                None => by_ratio,
                Some(rate) => {
                    // What is decided on is the mean of both tests. A rate that is negligible says nothing of the ratio, so it
                    // brings the upper end down to the limit and no further than the ratio does.
                    let rare = rare(strata, *rate, 1.0);
                    let least = by_ratio.unwrap_or(WIDEST).min(libm::log(*reject));
                    let by_both =
                        first(-WIDEST, WIDEST, |ln| ln_either(below(ln), &rare) >= view.ln_safe_needed);
                    by_both.map(|high| high.max(least))
                }
            };
            return (low.filter(|low| *low > -WIDEST).map(libm::exp), high.map(libm::exp));
        }
        let Some((harm, variance, effect)) = self.judge.states()[metric].spread(kind) else {
            return (None, None);
        };
        let reach = |needed: f64| {
            let mut far = libm::sqrt(variance);
            while ln_mixture(far, variance, effect) < needed {
                far *= 2.0;
                if !far.is_finite() {
                    return None;
                }
            }
            first(0.0, far, |d| ln_mixture(d, variance, effect) >= needed)
        };
        let low = reach(view.ln_harm_needed).map(|reach| harm - reach);
        (low, reach(view.ln_safe_needed).map(|reach| harm + reach))
    }

    /// So many times what was seen is enough, if it goes on like this.
    fn forecast(&self, metric: usize, kind: &Kind, view: &MetricView) -> Option<Forecast> {
        if view.ln_safe >= view.ln_safe_needed || view.ln_harm >= view.ln_harm_needed || view.candidate == 0 {
            return None;
        }
        let safe = times(|times| self.ln_safe(metric, kind, times) >= view.ln_safe_needed);
        let harm = times(|times| self.ln_harm(metric, kind, times) >= view.ln_harm_needed);
        let (decision, times) = match (safe, harm) {
            (Some(safe), Some(harm)) if harm < safe => (Decision::Rollback, harm),
            (Some(safe), _) => (Decision::Advance, safe),
            (None, Some(harm)) => (Decision::Rollback, harm),
            (None, None) => return None,
        };
        let requests = (view.candidate as f64 * (times - 1.0)).ceil() as u64;
        Some(Forecast { decision, requests, at: self.when(metric, view.candidate, requests) })
    }

    fn when(&self, metric: usize, seen: u64, requests: u64) -> Option<Timestamp> {
        let (_, since, before) = self.stage.as_ref()?;
        let (last, before) = (self.last?, *before.get(metric)?);
        let millis = last.since(*since).as_millis() as f64;
        let came = seen.saturating_sub(before) as f64;
        let further = requests as f64 * millis / came;
        // Further away than a hundred years is no time that anybody waits for.
        (millis > 0.0 && came > 0.0 && further < 3.2e12)
            .then(|| Timestamp::from_millis(last.millis().saturating_add(further as i64)))
    }

    fn ln_harm(&self, metric: usize, kind: &Kind, times: f64) -> f64 {
        match kind {
            Kind::EventRate { tolerate, reject, .. } => {
                let (ln, scale) = (libm::log(*tolerate), libm::log(reject / tolerate));
                ln_rate(&self.tracks[metric].rates, Way::Above, ln, scale, times)
            }
            _ => self.normal(metric, kind, times, false),
        }
    }

    fn ln_safe(&self, metric: usize, kind: &Kind, times: f64) -> f64 {
        let Kind::EventRate { reject, negligible, .. } = kind else {
            return self.normal(metric, kind, times, true);
        };
        let (ln, strata) = (libm::log(*reject), &self.tracks[metric].rates);
        let ratio = ln_rate(strata, Way::Below, ln, ln, times);
        let Some(rate) = negligible else { return ratio };
        ln_either(ratio, &rare(strata, *rate, times))
    }

    fn normal(&self, metric: usize, kind: &Kind, times: f64, is_safe: bool) -> f64 {
        let state = &self.judge.states()[metric];
        let (tolerate, reject) = state.limits(kind);
        let Some(((harm, variance, effect), (tolerate, reject))) =
            state.spread(kind).zip(tolerate.zip(reject))
        else {
            return 0.0;
        };
        let beyond = if is_safe { reject - harm } else { harm - tolerate };
        ln_mixture(beyond, variance / times, effect)
    }
}

impl Track {
    fn add(&mut self, stratum: u32, seen: Arms) {
        let at = self.rates.iter().position(|(known, _)| *known == stratum);
        let at = at.unwrap_or_else(|| {
            self.rates.push((stratum, Arms::default()));
            self.rates.len() - 1
        });
        for (sum, (n, events)) in self.rates[at].1.iter_mut().zip(seen) {
            *sum = (sum.0 + n, sum.1 + events);
        }
    }
}

/// The widest ratio that is told from none at all, as a logarithm: about one to eight thousand.
const WIDEST: f64 = 9.0;

/// Evidence that a ratio of rates is beyond a limit, with so many times the counts of each stratum.
fn ln_rate(strata: &[(u32, Arms)], way: Way, ln_limit: f64, scale: f64, times: f64) -> f64 {
    let mut test = Counts::new(Law::Binomial, way, libm::exp(ln_limit), scale);
    for (_, [candidate, baseline]) in strata {
        test.update(scaled(*candidate, times), scaled(*baseline, times));
    }
    test.ln_evidence()
}

/// Evidence that the candidate's rate is below one that is negligible, with so many times the counts of each stratum.
fn rare(strata: &[(u32, Arms)], rate: f64, times: f64) -> Betting {
    let mut rare = Betting::default();
    for (_, [candidate, _]) in strata {
        take_rare(&mut rare, rate, scaled(*candidate, times));
    }
    rare
}

/// A lower end that is on the side of the limit on which the judge says that harm is.
fn agreed(end: Option<f64>, limit: Option<f64>, is_beyond: bool) -> Option<f64> {
    let Some(limit) = limit else { return end };
    if is_beyond { Some(end.map_or(limit, |end| end.max(limit))) } else { end.map(|end| end.min(limit)) }
}

fn scaled((n, events): (u64, u64), times: f64) -> (u64, u64) {
    ((n as f64 * times).round() as u64, (events as f64 * times).round() as u64)
}

/// The least value between two from which on something holds; none where it does not hold at the upper one.
fn first(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    if !holds(high) {
        return None;
    }
    if holds(low) {
        return Some(low);
    }
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// How many times what was seen is enough; none where [`FURTHEST`] is not.
fn times(is_enough: impl Fn(f64) -> bool) -> Option<f64> {
    let mut high = 1.0;
    while !is_enough(high) {
        high *= 2.0;
        if high > FURTHEST {
            return None;
        }
    }
    first((high / 2.0).max(1.0), high, is_enough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Amount, Better, Metric, Observation, Sample, Standing, Tier, Traffic};

    fn spec(kind: Kind) -> Spec {
        let metric =
            Metric { name: "m".into(), kind, tier: Tier::Operational, critical: true, required: true };
        Spec { error_budget: 0.05, metrics: vec![metric], slices: None }
    }

    fn rate(negligible: Option<f64>) -> Kind {
        Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible }
    }

    fn look(share: f64, candidate: Sample, baseline: Sample) -> Look {
        let assigned = Some((candidate.n(), baseline.n()));
        let observation = Observation { metric: "m".into(), slice: None, candidate, baseline };
        let traffic = Traffic { stratum: 1, share: Some(share) };
        Look { traffic, assigned, observations: vec![observation] }
    }

    fn counts(n: u64, events: u64) -> Sample {
        Sample::Counts { n, events }
    }

    /// Looks every second; the events of the candidate come in the rhythm of a fixed sequence.
    fn run(kind: Kind, looks: u64, events: u64) -> Cone {
        let mut cone = Cone::new(spec(kind)).unwrap();
        for n in 1..=looks {
            let seen = look(0.2, counts(100, events), counts(400, 4 * 8));
            cone.look(Timestamp::from_millis(1_000 * n as i64), &seen, false);
        }
        cone
    }

    #[test]
    fn the_interval_shrinks_and_agrees_with_the_verdict() {
        for (events, standing) in [(8, Standing::Certified), (24, Standing::Harmful)] {
            let mut found = None;
            for looks in 1..200 {
                let course = run(rate(None), looks, events).courses().remove(0);
                let last = course.readings.last().unwrap().clone();
                if course.now.standing != Standing::Open {
                    found = Some((looks, course.now.standing, last));
                    break;
                }
                assert!(last.high.is_none_or(|high| high > 2.0) && last.low.is_none_or(|low| low < 1.25));
            }
            let (_, found, last) = found.expect("it is decided");
            assert_eq!(found, standing);
            match standing {
                Standing::Certified => assert!(last.high.unwrap() <= 2.0 + 1e-6, "{last:?}"),
                _ => assert!(last.low.unwrap() >= 1.25 - 1e-6, "{last:?}"),
            }
        }
        let course = run(rate(None), 100, 8).courses().remove(0);
        let widths: Vec<f64> =
            course.readings.iter().filter_map(|one| Some(one.high? - one.low.unwrap_or(0.0))).collect();
        assert!(widths.windows(2).all(|pair| pair[1] <= pair[0]), "{widths:?}");
        assert!(course.readings.iter().all(|one| one.low.unwrap_or(0.0) <= 1.0));
    }

    /// The judge decides on the mean of two tests where a rate may be negligible; the interval once showed one of them alone.
    #[test]
    fn what_is_shown_of_a_negligible_rate_is_what_is_decided() {
        let mut standings = std::collections::BTreeSet::new();
        // Events of candidate and baseline in each look: none, rarer than negligible, and far from it.
        for (candidate, baseline) in [(0, 0), (0, 1), (1, 1), (8, 32), (12, 32), (24, 32)] {
            for negligible in [None, Some(0.005), Some(0.05)] {
                let mut cone = Cone::new(spec(rate(negligible))).unwrap();
                for n in 1..=50 {
                    cone.look(
                        Timestamp::from_millis(n),
                        &look(0.2, counts(100, candidate), counts(400, baseline)),
                        false,
                    );
                    let course = cone.courses().remove(0);
                    let (now, last) = (course.now, course.readings.last().unwrap().clone());
                    let is_certified = now.ln_safe >= now.ln_safe_needed;
                    let case = format!("{candidate}:{baseline} {negligible:?} look {n}: {last:?} {now:?}");
                    assert!(!is_certified || last.high.is_some_and(|high| high <= 2.0), "{case}");
                    assert!(is_certified || last.high.is_none_or(|high| high >= 2.0), "{case}");
                    assert_eq!(
                        last.low.is_some_and(|low| low >= 1.25),
                        now.standing == Standing::Harmful,
                        "{case}"
                    );
                    standings.insert(format!("{:?}", now.standing));
                }
            }
        }
        assert_eq!(standings.into_iter().collect::<Vec<_>>(), ["Certified", "Harmful", "Open"]);
        // Without any event the ratio alone proves nothing for ever, and both together do.
        let upper_end = |negligible| {
            let mut cone = Cone::new(spec(rate(negligible))).unwrap();
            for n in 1..=60 {
                cone.look(Timestamp::from_millis(n), &look(0.2, counts(100, 0), counts(400, 0)), false);
            }
            cone.courses()[0].readings.last().unwrap().high
        };
        assert_eq!((upper_end(None), upper_end(Some(0.05))), (None, Some(2.0)));
    }

    #[test]
    fn the_forecast_comes_true() {
        for (kind, events) in [(rate(None), 12), (rate(Some(0.01)), 11), (rate(None), 13)] {
            let decided = (1..2_000)
                .find(|looks| run(kind.clone(), *looks, events).courses()[0].now.standing != Standing::Open)
                .unwrap();
            assert!(decided >= 4, "{decided}");
            let seen = decided / 2;
            let early = run(kind.clone(), seen, events);
            let forecast = early.courses().remove(0).forecast.unwrap();
            let expected = if events == 13 { Decision::Rollback } else { Decision::Advance };
            assert_eq!(forecast.decision, expected);
            let wanted = (decided - seen) * 100;
            assert!(forecast.requests.abs_diff(wanted) <= wanted / 4 + 200, "{forecast:?} {wanted}");
            let at = forecast.at.unwrap().millis() as f64 / 1_000.0;
            assert!((at - decided as f64).abs() <= 0.3 * decided as f64 + 3.0, "{at} {decided}");
        }
        // What is decided needs no forecast, and what never will be has none.
        assert_eq!(run(rate(None), 300, 8).courses()[0].forecast, None);
        assert_eq!(run(rate(None), 0, 8).courses()[0].forecast, None);
    }

    #[test]
    fn many_looks_are_thinned_and_what_must_stay_stays() {
        let mut cone = Cone::new(spec(rate(None))).unwrap();
        for n in 1..=3_000_i64 {
            let seen = look(0.5, counts(10, 1), counts(10, 1));
            cone.look(Timestamp::from_millis(n), &seen, n == 7 || n == 1_999);
        }
        let course = cone.courses().remove(0);
        assert!(course.readings.len() <= MOST + 2, "{}", course.readings.len());
        let times: Vec<i64> = course.readings.iter().map(|one| one.at.millis()).collect();
        assert!(times.contains(&7) && times.contains(&1_999) && times.last() == Some(&3_000));
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(cone.splits(), [Split { stratum: 1, share: 0.5, candidate: 30_000, baseline: 30_000 }]);
    }

    #[test]
    fn differences_have_intervals_too() {
        let kind = Kind::Binary {
            better: Better::Lower,
            tolerate: Amount::Absolute(0.0),
            reject: Amount::Relative(0.5),
            effect: Amount::Absolute(0.05),
        };
        let mut cone = Cone::new(spec(kind)).unwrap();
        for n in 1..=40_i64 {
            cone.look(Timestamp::from_millis(n), &look(0.5, counts(100, 10), counts(100, 10)), false);
        }
        let course = cone.courses().remove(0);
        let (first, last) = (course.readings[2].clone(), course.readings.last().unwrap().clone());
        assert!((course.reject.unwrap() - 0.05).abs() < 1e-9 && course.tolerate == Some(0.0));
        assert!(last.low.unwrap() < 0.0 && last.high.unwrap() > 0.0, "{last:?}");
        assert!(first.high.unwrap() - first.low.unwrap() > last.high.unwrap() - last.low.unwrap());
    }
}
