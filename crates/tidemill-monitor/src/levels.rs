//! Rules on counts: latency and errors, inputs and answers, age.

use std::time::Duration;

use tidemill_project::{InputsMonitor, NoData, Period, ServiceMonitor, StaleMonitor};
use tidemill_stats::interval::{Interval, wilson};

use crate::verdict::{Evidence, Exposure, State, Verdict};

/// Requests of a window, as they were answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceSeen {
    /// Requests.
    pub requests: u64,
    /// Of these, how many the server or the model failed.
    pub failed: u64,
    /// Latency of each in microseconds, in any order.
    pub latencies_us: Vec<u64>,
}

/// Requests and answers of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputsSeen {
    /// Requests.
    pub requests: u64,
    /// Those that were refused as invalid.
    pub invalid: u64,
    /// Those with values outside of what the model was trained on.
    pub outside: u64,
    /// Rows that were answered.
    pub rows: u64,
    /// Those with an answer that is NaN or infinite.
    pub not_finite: u64,
}

/// How old a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleSeen {
    /// The model and its version.
    pub model: String,
    /// Its age at the end of the window; none where it is not known.
    pub age: Option<Duration>,
}

/// Requests from which on a share is judged.
const ENOUGH: u64 = 20;
/// Level of intervals.
const LEVEL: f64 = 0.95;

/// The lower end of a share's interval must lie above the limit: one slow request of three is no breach.
fn share(hits: u64, of: u64) -> Option<Interval> {
    (of >= ENOUGH).then(|| wilson(hits.min(of) as f64, of as f64, LEVEL)).flatten()
}

pub(crate) fn service(rule: &ServiceMonitor, seen: &ServiceSeen, exposure: Exposure) -> Verdict {
    let slow = rule.p99_ms.map(|limit| {
        seen.latencies_us.iter().filter(|latency| **latency as f64 > limit * 1_000.0).count() as u64
    });
    let timed = seen.latencies_us.len() as u64;
    let p99 = p99_ms(&seen.latencies_us);
    let evidence = Evidence::Service { requests: seen.requests, failed: seen.failed, p99_ms: p99, slow };
    if seen.requests == 0 && rule.no_data != NoData::Hold {
        let state = if rule.no_data == NoData::Alert { State::Broken } else { State::Ok };
        return Verdict { evidence: Some(evidence), ..Verdict::of(state, "no request came") };
    }
    let errors = rule.error_rate.and_then(|limit| Some((limit, share(seen.failed, seen.requests)?)));
    let slowness = rule.p99_ms.and_then(|limit| Some((limit, share(slow?, timed)?)));
    if errors.is_none() && slowness.is_none() {
        let why = format!("{} requests are fewer than {ENOUGH}", seen.requests);
        return Verdict { evidence: Some(evidence), ..Verdict::no_data(why) };
    }
    // A 99th percentile above the limit is a share above one of a hundred.
    let mut broken = Vec::new();
    let (mut value, mut limit, mut ends) = (p99, rule.p99_ms, None);
    if let Some((_, found)) = slowness.filter(|(_, found)| found.low > 0.01) {
        broken.push(format!(
            "the 99th percentile of latency is {:.1} ms, above {} ms: {:.1} % of {timed} requests took longer",
            p99.unwrap_or_default(),
            rule.p99_ms.unwrap_or_default(),
            100.0 * found.estimate
        ));
    }
    if let Some((most, found)) = errors
        && (found.low > most || rule.p99_ms.is_none())
    {
        (value, limit, ends) = (Some(found.estimate), Some(most), Some(found));
        if found.low > most {
            broken.push(format!(
                "{} of {} requests failed, {:.2} %, above {:.2} %",
                seen.failed,
                seen.requests,
                100.0 * found.estimate,
                100.0 * most
            ));
        }
    }
    let state = if broken.is_empty() { State::Ok } else { State::Broken };
    let why = if broken.is_empty() {
        let p99 = p99.map(|p99| format!(", 99th percentile {p99:.1} ms")).unwrap_or_default();
        format!("{} requests, {} failed{p99}", seen.requests, seen.failed)
    } else {
        broken.join("; ")
    };
    let lost = seen.failed as f64 / seen.requests.max(1) as f64;
    Verdict {
        value,
        low: ends.map(|found| found.low),
        high: ends.map(|found| found.high),
        limit,
        at_risk: if state == State::Broken { exposure.of_share(lost) } else { None },
        evidence: Some(evidence),
        ..Verdict::of(state, why)
    }
}

/// The 99th percentile in milliseconds: the least latency that 99 % do not exceed (numpy's `inverted_cdf`).
fn p99_ms(latencies_us: &[u64]) -> Option<f64> {
    let mut sorted = latencies_us.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * 99).div_ceil(100).checked_sub(1)?;
    sorted.get(place).map(|latency| *latency as f64 / 1_000.0)
}

pub(crate) fn inputs(rule: &InputsMonitor, seen: InputsSeen, exposure: Exposure) -> Verdict {
    let evidence = Evidence::Inputs {
        requests: seen.requests,
        invalid: seen.invalid,
        outside: seen.outside,
        rows: seen.rows,
        not_finite: seen.not_finite,
    };
    let wrong = seen.invalid + seen.outside;
    let violations = share(wrong, seen.requests);
    let answers = share(seen.not_finite, seen.rows);
    let mut broken = Vec::new();
    if let (Some(limit), Some(found)) = (rule.violations, violations)
        && found.low > limit
    {
        broken.push(format!(
            "{wrong} of {} requests do not fit the model ({} refused, {} outside of its training range), above {:.2} %",
            seen.requests,
            seen.invalid,
            seen.outside,
            100.0 * limit
        ));
    }
    // One answer that is no number is one too many, unless a share is allowed.
    let is_bad = match rule.not_finite {
        None => seen.not_finite > 0,
        Some(limit) => answers.is_some_and(|found| found.low > limit),
    };
    if is_bad {
        broken.push(format!("{} of {} answers are NaN or infinite", seen.not_finite, seen.rows));
    }
    let state = match (broken.is_empty(), violations) {
        (false, _) => State::Broken,
        (true, Some(_)) => State::Ok,
        (true, None) => State::NoData,
    };
    let why = match state {
        State::Broken => broken.join("; "),
        State::Ok => format!("{wrong} of {} requests do not fit the model", seen.requests),
        State::NoData => format!("{} requests are fewer than {ENOUGH}", seen.requests),
    };
    let lost = (seen.invalid as f64 / seen.requests.max(1) as f64)
        .max(seen.not_finite as f64 / seen.rows.max(1) as f64);
    Verdict {
        value: violations.map(|found| found.estimate),
        low: violations.map(|found| found.low),
        high: violations.map(|found| found.high),
        limit: rule.violations,
        at_risk: if state == State::Broken { exposure.of_share(lost) } else { None },
        evidence: Some(evidence),
        ..Verdict::of(state, why)
    }
}

pub(crate) fn stale(rule: &StaleMonitor, seen: &StaleSeen) -> Verdict {
    let Some(age) = seen.age else {
        return Verdict::no_data(format!("it is not known when {} was trained", seen.model));
    };
    let (days, most) = (age.as_secs_f64() / 86_400.0, rule.max_age.0.as_secs_f64() / 86_400.0);
    let is_old = age > rule.max_age.0;
    let state = if is_old { State::Broken } else { State::Ok };
    let verb = if is_old { "older than" } else { "within" };
    let why = format!("{} is {days:.1} days old, {verb} {}", seen.model, Period(rule.max_age.0));
    Verdict { value: Some(days), limit: Some(most), ..Verdict::of(state, why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_rule(p99_ms: Option<f64>, error_rate: Option<f64>) -> ServiceMonitor {
        ServiceMonitor { p99_ms, error_rate, window: None, no_data: NoData::Hold, hold: None }
    }

    #[test]
    fn latency_and_errors() {
        let exposure = Exposure { decisions: 0, cost_per_decision: None };
        for (requests, failed, slow, expected) in [
            (10, 10, 10, State::NoData),
            (1_000, 0, 0, State::Ok),
            (1_000, 0, 12, State::Ok),
            (1_000, 0, 30, State::Broken),
            (1_000, 15, 0, State::Ok),
            (1_000, 40, 0, State::Broken),
        ] {
            let latencies_us =
                (0..requests).map(|i| if i < slow { 60_000 } else { 1_000 }).collect::<Vec<u64>>();
            let seen = ServiceSeen { requests, failed, latencies_us };
            let found = service(&service_rule(Some(50.0), Some(0.01)), &seen, exposure);
            assert_eq!(found.state, expected, "{requests} {failed} {slow}: {}", found.why);
        }
        let seen = ServiceSeen { requests: 100, failed: 50, latencies_us: vec![1_000; 100] };
        let found = service(
            &service_rule(None, Some(0.1)),
            &seen,
            Exposure { decisions: 100, cost_per_decision: Some(2.0) },
        );
        assert_eq!((found.state, found.value, found.at_risk), (State::Broken, Some(0.5), Some(100.0)));
        assert_eq!(found.why, "50 of 100 requests failed, 50.00 %, above 10.00 %");
        assert_eq!(
            (p99_ms(&(1..=100).map(|i| i * 1_000).collect::<Vec<_>>()), p99_ms(&[])),
            (Some(99.0), None)
        );
    }

    #[test]
    fn what_silence_means_is_declared() {
        for (no_data, expected) in
            [(NoData::Hold, State::NoData), (NoData::Alert, State::Broken), (NoData::Ok, State::Ok)]
        {
            let rule = ServiceMonitor { no_data, ..service_rule(None, Some(0.01)) };
            assert_eq!(service(&rule, &ServiceSeen::default(), Exposure::default()).state, expected);
        }
    }

    #[test]
    fn requests_that_do_not_fit_and_answers_that_are_no_numbers() {
        let rule =
            |violations, not_finite| InputsMonitor { violations, not_finite, window: None, hold: None };
        let seen = |invalid, outside, not_finite| InputsSeen {
            requests: 1_000,
            invalid,
            outside,
            rows: 1_000,
            not_finite,
        };
        let few = InputsSeen { requests: 3, invalid: 3, ..InputsSeen::default() };
        for (rule, seen, expected) in [
            (rule(Some(0.01), None), seen(5, 4, 0), State::Ok),
            (rule(Some(0.01), None), seen(20, 10, 0), State::Broken),
            (rule(Some(0.01), None), seen(0, 0, 1), State::Broken),
            (rule(None, Some(0.01)), seen(900, 0, 9), State::Ok),
            (rule(None, Some(0.01)), seen(0, 0, 40), State::Broken),
            (rule(Some(0.01), None), few, State::NoData),
        ] {
            let found = inputs(&rule, seen, Exposure::default());
            assert_eq!(found.state, expected, "{rule:?} {seen:?}: {}", found.why);
        }
    }

    #[test]
    fn age() {
        let rule = StaleMonitor { max_age: "45d".parse().unwrap(), hold: None };
        let of = |days: Option<u64>| {
            let seen = StaleSeen {
                model: "late@3".to_owned(),
                age: days.map(|days| Duration::from_secs(days * 86_400)),
            };
            let found = stale(&rule, &seen);
            (found.state, found.why)
        };
        assert_eq!(of(Some(45)), (State::Ok, "late@3 is 45.0 days old, within 45d".to_owned()));
        assert_eq!(of(Some(46)), (State::Broken, "late@3 is 46.0 days old, older than 45d".to_owned()));
        assert_eq!(of(None).0, State::NoData);
    }
}
