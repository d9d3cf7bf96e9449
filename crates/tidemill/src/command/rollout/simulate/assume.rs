//! Figures that somebody says instead of measuring them.

use tidemill_deliver::judge::{AGREEMENT, ERRORS, Kind, LATENCY, REFUSALS, SCORES_APART, Spec};
use tidemill_deliver::outcome::{COST, KPI, QUALITY};
use tidemill_deliver::simulate::{Distribution, Known};

use super::candidates::{base, number};
use crate::failure::Failure;

/// What can be assumed, beside metrics.
const OTHERS: [&str; 2] = ["outcomes", "disagreement"];
const METRICS: [&str; 5] = [ERRORS, LATENCY, COST, QUALITY, KPI];

/// `cost=8.5:30`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assumption {
    pub(super) name: String,
    /// A rate, a part, or a mean.
    pub(super) figure: f64,
    /// The standard deviation.
    pub(super) deviation: Option<f64>,
}

pub(super) fn assumption(text: &str) -> Result<Assumption, String> {
    let (name, figures) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=FIGURE"))?;
    if !METRICS.contains(&name) && !OTHERS.contains(&name) {
        let known = [&METRICS[..], &OTHERS[..]].concat();
        let meant = tidemill_core::did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("one of {}", known.join(", ")));
        return Err(format!("nothing can be assumed of `{name}`; {meant}"));
    }
    let said = |text: &str| number(text).ok_or_else(|| format!("`{text}` is no number"));
    let (figure, deviation) = match figures.split_once(':') {
        Some((figure, deviation)) => (said(figure)?, Some(said(deviation)?)),
        None => (said(figures)?, None),
    };
    let is_part = matches!(name, ERRORS | LATENCY | "disagreement");
    if is_part && !(0.0..=1.0).contains(&figure) {
        return Err(format!("`{name}` is {figure}, but is a part of requests: a number from 0 to 1"));
    }
    if deviation.is_some() && (is_part || name == "outcomes") {
        return Err(format!("`{name}` is one number"));
    }
    if (name == "outcomes" && figure <= 0.0) || deviation.is_some_and(|deviation| deviation < 0.0) {
        return Err(format!("`{text}` has a number that must be above 0"));
    }
    Ok(Assumption { name: name.to_owned(), figure, deviation })
}

/// `120/h`.
pub(super) fn traffic(text: &str) -> Result<f64, String> {
    let wrong =
        || format!("`{text}` is no rate; expected a number of requests and a time, as in `120/h` or `2/s`");
    let (requests, unit) = text.split_once('/').ok_or_else(wrong)?;
    let requests = number(requests).ok_or_else(wrong)?;
    let an_hour = match unit.trim() {
        "s" => 3_600.0,
        "m" | "min" => 60.0,
        "h" => 1.0,
        "d" => 1.0 / 24.0,
        "w" => 1.0 / 168.0,
        _ => return Err(wrong()),
    };
    // More than a billion a second is a slip of the hand.
    let rate = requests * an_hour;
    if rate > 0.0 && rate < 3.6e12 { Ok(rate) } else { Err(wrong()) }
}

/// Whether nothing has to be measured.
pub(super) fn covers(assumptions: &[Assumption], judge: &Spec) -> bool {
    // What is slow is a part of requests by its definition, and what is harmless agrees.
    const KNOWN: [&str; 4] = [LATENCY, REFUSALS, AGREEMENT, SCORES_APART];
    let is_said = |name: &str| KNOWN.contains(&name) || assumptions.iter().any(|one| one.name == name);
    judge.metrics.iter().all(|metric| is_said(base(&metric.name)))
}

impl Assumption {
    /// Puts it in the place of what was seen.
    pub(super) fn apply(&self, known: &mut Known, judge: &Spec) -> anyhow::Result<()> {
        match self.name.as_str() {
            ERRORS => known.errors = Some(self.figure),
            LATENCY => known.slow = Some(self.figure),
            "outcomes" => (known.labels, known.kpis) = (self.figure, self.figure),
            "disagreement" => {
                known.disagreement = self.figure;
                (known.paired_cost, known.paired_quality) = (None, None);
            }
            COST => {
                known.cost = Some(self.bounded(judge)?);
                known.paired_cost = None;
            }
            QUALITY => {
                known.quality = Some(self.bounded(judge)?);
                known.paired_quality = None;
            }
            _ => {
                let deviation = self.deviation.unwrap_or_else(|| self.figure.abs());
                let ends = [(self.figure - deviation, 0.5), (self.figure + deviation, 0.5)];
                known.kpi = Distribution::weighted(ends.to_vec());
            }
        }
        Ok(())
    }

    /// A number of this mean in the range of the metric.
    fn bounded(&self, judge: &Spec) -> anyhow::Result<Distribution> {
        let range =
            judge.metrics.iter().filter(|metric| base(&metric.name) == self.name).find_map(|metric| {
                match metric.kind {
                    Kind::BoundedMean { least, most, .. } => Some((least, most)),
                    // Differences reach as far to one side as to the other.
                    Kind::Paired { most, .. } => Some((0.0, most)),
                    _ => None,
                }
            });
        let (least, most) = range.ok_or_else(|| {
            Failure::usage(format!("`{}` is no metric of this judge", self.name))
                .hint("`--assume` is about metrics that the project file names")
        })?;
        let deviation = self.deviation.unwrap_or((self.figure - least).abs().min(most - self.figure));
        Distribution::skewed((self.figure, deviation), (least, most)).ok_or_else(|| {
            let (name, figure) = (&self.name, self.figure);
            Failure::usage(format!(
                "`{name}` cannot have a mean of {figure} and a standard deviation of {deviation} between {least} and {most}"
            ))
            .hint("say a smaller standard deviation: `NAME=MEAN:DEVIATION`")
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_rates_as_people_write_them() {
        let of = |text: &str| assumption(text).map(|one| (one.name, one.figure, one.deviation));
        assert_eq!(of("cost=8.5:30"), Ok(("cost".into(), 8.5, Some(30.0))));
        assert_eq!(of("errors=0.02"), Ok(("errors".into(), 0.02, None)));
        for wrong in [
            "errors",
            "errors=2",
            "error=0.1",
            "latency=20ms",
            "errors=0.1:1",
            "outcomes=0",
            "cost=1:-1",
            "kpi=nan",
        ] {
            assert!(assumption(wrong).is_err(), "{wrong}");
        }
        assert!(assumption("eror=0.1").unwrap_err().contains("errors"));
        for (text, rate) in
            [("120/h", 120.0), ("2/s", 7_200.0), ("30/min", 1_800.0), ("48/d", 2.0), ("168/w", 1.0)]
        {
            assert!((traffic(text).unwrap() - rate).abs() < 1e-9);
        }
        for wrong in ["120", "x/h", "0/h", "-1/s", "5/y", "1e30/s"] {
            assert!(traffic(wrong).is_err(), "{wrong}");
        }
    }
}
