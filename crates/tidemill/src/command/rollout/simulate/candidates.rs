//! Candidates that are played: a healthy one, one at each limit, and some that are a little worse.

use tidemill_deliver::judge::{AGREEMENT, Kind, Metric, REFUSALS, SCORES_APART, Slice};
use tidemill_deliver::simulate::{Harm, Harms, Scene};

use crate::failure::Failure;

/// Harms that are played where none is named.
const STEPS: [(&str, f64); 4] = [("1 % worse", 1.01), ("2 % worse", 1.02), ("5 % worse", 1.05), ("2x", 2.0)];

/// A harm that somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    metric: String,
    amount: String,
    harm: Harm,
    /// The slice in which it is; none where it is everywhere.
    within: Option<Slice>,
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
    /// The harms.
    pub(super) harms: Harms,
}

/// `errors=2x`, `errors=5%`, `cost=0.5`, `errors=2x@origin=LGA`.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let (metric, amount) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not METRIC=AMOUNT, as in `errors=2x`"))?;
    let (amount, within) = match amount.split_once('@') {
        Some((amount, slice)) => (amount, Some(self::slice(slice)?)),
        None => (amount, None),
    };
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
    Ok(Wanted { metric: metric.to_owned(), amount: amount.to_owned(), harm, within })
}

/// `origin=LGA`.
fn slice(text: &str) -> Result<Slice, String> {
    let named = text.split_once('=').filter(|(column, value)| !column.is_empty() && !value.is_empty());
    let (column, value) =
        named.ok_or_else(|| format!("`{text}` is no slice; expected INPUT=VALUE, as in `origin=LGA`"))?;
    Ok(Slice { column: column.to_owned(), value: Some(value.to_owned()) })
}

/// A part of requests that somebody says: `origin=LGA:30%`.
pub(super) fn part(text: &str) -> Result<(Slice, f64), String> {
    let wrong =
        || format!("`{text}` is no part of requests; expected INPUT=VALUE:SHARE, as in `origin=LGA:30%`");
    let (named, share) = text.rsplit_once(':').ok_or_else(wrong)?;
    let share = share.strip_suffix('%').map_or_else(|| number(share), |share| Some(number(share)? / 100.0));
    let share = share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(wrong)?;
    Ok((slice(named)?, share))
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
    // Of refusals nothing is known before a candidate is asked.
    let is_played = |metric: &&Metric| !matches!(metric.kind, Kind::Event { .. }) && metric.name != REFUSALS;
    for metric in metrics.iter().filter(is_played) {
        if !names.contains(&base(&metric.name)) {
            names.push(base(&metric.name));
        }
    }
    // A candidate that is worse is so in the shadow as in a canary.
    let harmed = |name: &str, amount: &str, harm: Harm| Candidate {
        metric: Some(name.to_owned()),
        amount: amount.to_owned(),
        is_limit: harm == Harm::Reject,
        harms: Harms {
            by: metrics
                .iter()
                .enumerate()
                .filter(|(_, metric)| base(&metric.name) == name)
                .map(|(at, _)| (at, harm))
                .collect(),
            within: None,
        },
    };
    let healthy = Harms::default();
    let mut all =
        vec![Candidate { metric: None, amount: "healthy".to_owned(), is_limit: false, harms: healthy }];
    all.extend(names.iter().map(|name| harmed(name, "at `reject`", Harm::Reject)));
    if harms.is_empty() {
        // A part more of no difference is none.
        for name in names.iter().filter(|name| ![AGREEMENT, SCORES_APART].contains(*name)) {
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
        let mut candidate = harmed(name, &wanted.amount, wanted.harm);
        if let Some(slice) = &wanted.within {
            known(slice, scene)?;
            // What must not pass is what is harmful on all requests; of slices nothing is promised but to look for harm.
            candidate.is_limit = false;
            candidate.amount = format!("{} where {slice}", wanted.amount);
            candidate.harms.within = Some(slice.clone());
        }
        all.push(candidate);
    }
    Ok(all)
}

/// Whether a slice is one of which anything is known.
fn known(slice: &Slice, scene: &Scene) -> anyhow::Result<()> {
    let by = scene.judge.slices.as_ref().map_or(&[][..], |slices| &slices.by);
    if !by.contains(&slice.column) {
        let hint = match by {
            [] => format!("add `slices: {{by: [{}]}}` to the judge", slice.column),
            by => tidemill_core::did_you_mean(&slice.column, by.iter().map(String::as_str))
                .unwrap_or_else(|| format!("its slices are by {}", by.join(", "))),
        };
        let message = format!("the judge has no slices by `{}`", slice.column);
        return Err(Failure::usage(message).hint(hint).into());
    }
    let column = scene.slices.iter().find(|column| column.name == slice.column);
    if column.is_some_and(|column| column.share(slice.value.as_deref()).is_some()) {
        return Ok(());
    }
    let values = column.map_or(&[][..], |column| &column.values).iter();
    let values: Vec<&str> = values.filter_map(|(value, _)| value.as_deref()).collect();
    let hint =
        tidemill_core::did_you_mean(slice.value.as_deref().unwrap_or_default(), values.iter().copied());
    let hint = hint.unwrap_or_else(|| {
        format!(
            "say how many requests it has: `--slice '{}={}:10%'`",
            slice.column,
            slice.value.as_deref().unwrap_or_default()
        )
    });
    Err(Failure::usage(format!("no request with {slice} was seen often enough to be a slice"))
        .hint(hint)
        .into())
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
        let there = wanted("errors=2x@origin=LGA").unwrap();
        assert_eq!(
            (there.harm, there.within.unwrap().to_string()),
            (Harm::Times(2.0), "origin = LGA".into())
        );
        for (text, share) in [("origin=LGA:30%", 0.3), ("origin=LGA:0.3", 0.3), ("t=a:b:100%", 1.0)] {
            assert_eq!(part(text).map(|(_, share)| share), Ok(share), "{text}");
        }
        for wrong in ["origin", "origin=LGA", "origin=LGA:0%", "origin=LGA:101%", "=x:1%", "origin=:1%"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
        assert!(wanted("errors=2x@LGA").is_err());
    }
}
