//! Candidates that are played: a healthy one, one at each limit, and some that are a little worse.

use tidemill_deliver::judge::Kind;
use tidemill_deliver::simulate::{Harm, Scene};

use crate::failure::Failure;

/// Harms that are played where none is named.
const STEPS: [(&str, f64); 4] = [("1 % worse", 1.01), ("2 % worse", 1.02), ("5 % worse", 1.05), ("2x", 2.0)];

/// A harm that somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    metric: String,
    amount: String,
    harm: Harm,
}

/// A candidate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    /// The metric that it harms, as people name it; none where it is healthy.
    pub(super) metric: Option<String>,
    /// How much, in words.
    pub(super) amount: String,
    /// Whether that is what must not pass.
    pub(super) is_limit: bool,
    /// The harms, by the place of their metric.
    pub(super) harms: Vec<(usize, Harm)>,
}

/// `errors=2x`, `errors=5%`, `cost=0.5`.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let (metric, amount) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not METRIC=AMOUNT, as in `errors=2x`"))?;
    let wrong =
        || format!("`{amount}` is no amount of harm; expected `2x`, `5%` or a number in the metric's unit");
    let harm = if amount == "reject" {
        Harm::Reject
    } else if amount == "tolerate" {
        Harm::Tolerate
    } else if let Some(times) = amount.strip_suffix('x') {
        Harm::Times(number(times).filter(|times| *times >= 0.0).ok_or_else(wrong)?)
    } else if let Some(percent) = amount.strip_suffix('%') {
        Harm::Times(1.0 + number(percent).ok_or_else(wrong)? / 100.0)
    } else {
        Harm::By(number(amount).ok_or_else(wrong)?)
    };
    Ok(Wanted { metric: metric.to_owned(), amount: amount.to_owned(), harm })
}

/// A finite number.
pub(super) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The metric as the project file names it: a shadow and a canary look at the same one in two ways.
pub(super) fn base(metric: &str) -> &str {
    metric.strip_prefix("paired_").unwrap_or(metric)
}

/// The healthy one first, then those at the limits, then the others.
pub(super) fn all(harms: &[Wanted], scene: &Scene) -> anyhow::Result<Vec<Candidate>> {
    let metrics = &scene.judge.metrics;
    let mut names: Vec<&str> = Vec::new();
    for metric in metrics.iter().filter(|metric| !matches!(metric.kind, Kind::Event { .. })) {
        if !names.contains(&base(&metric.name)) {
            names.push(base(&metric.name));
        }
    }
    // A candidate that is worse is so in the shadow as in a canary.
    let harmed = |name: &str, amount: &str, harm: Harm| Candidate {
        metric: Some(name.to_owned()),
        amount: amount.to_owned(),
        is_limit: harm == Harm::Reject,
        harms: metrics
            .iter()
            .enumerate()
            .filter(|(_, metric)| base(&metric.name) == name)
            .map(|(at, _)| (at, harm))
            .collect(),
    };
    let mut all =
        vec![Candidate { metric: None, amount: "healthy".to_owned(), is_limit: false, harms: Vec::new() }];
    all.extend(names.iter().map(|name| harmed(name, "at `reject`", Harm::Reject)));
    if harms.is_empty() {
        for name in &names {
            all.extend(STEPS.iter().map(|(amount, times)| harmed(name, amount, Harm::Times(*times))));
        }
    }
    for wanted in harms {
        let name = base(&wanted.metric);
        if !names.contains(&name) {
            let hint = tidemill_core::did_you_mean(name, names.iter().copied())
                .unwrap_or_else(|| format!("the judge looks at {}", names.join(", ")));
            return Err(Failure::usage(format!("`{name}` is no metric of this judge")).hint(hint).into());
        }
        all.push(harmed(name, &wanted.amount, wanted.harm));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harms_as_people_write_them() {
        for (text, metric, harm) in [
            ("errors=2x", "errors", Harm::Times(2.0)),
            ("latency=5%", "latency", Harm::Times(1.05)),
            ("cost=0.5", "cost", Harm::By(0.5)),
            ("cost=reject", "cost", Harm::Reject),
        ] {
            let found = wanted(text).unwrap();
            assert_eq!((found.metric.as_str(), found.harm), (metric, harm));
        }
        for wrong in ["errors", "errors=twice", "errors=-1x", "cost=%", "cost=x", "kpi=inf"] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
        assert_eq!((base("paired_cost"), base("errors")), ("cost", "errors"));
    }
}
