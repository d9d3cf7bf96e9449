//! The business number over releases: its mean while a version answered, beside what was measured of the version before.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;
use tidemill_stats::correlation::{spearman, spearman_interval};

/// Outcomes that carry the business number, of requests that one version answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnsweredBy {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Sum of the outcomes.
    pub sum: f64,
    /// How many there are.
    pub outcomes: u64,
}

/// Outcomes by the version that answered, over all windows that were judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Releases(Vec<Release>);

/// A version that answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The begin of the first window in which it did.
    pub since: Timestamp,
    /// The end of the last one.
    pub until: Timestamp,
    /// What its outcomes are.
    #[serde(flatten)]
    pub answered: AnsweredBy,
}

impl Release {
    /// Mean of the outcomes.
    pub fn mean(&self) -> f64 {
        self.answered.sum / self.answered.outcomes as f64
    }
}

/// Versions that are remembered; of more those are forgotten that answered longest ago.
const REMEMBERED: usize = 64;
/// Outcomes from which on the mean of a version counts.
const OUTCOMES: u64 = 30;
/// Releases from which on a rank correlation is said: with five the interval of a perfect one is about all there is.
const FEWEST: usize = 6;
/// Level of intervals.
const LEVEL: f64 = 0.95;
/// Metrics that are set beside it.
const METRICS: usize = 50;

impl Releases {
    /// Takes out what a window added, and adds what it is now.
    pub(crate) fn replace(
        &mut self,
        between: (Timestamp, Timestamp),
        before: &[AnsweredBy],
        now: &[AnsweredBy],
    ) {
        for old in before {
            let same = |release: &&mut Release| {
                (&release.answered.model, &release.answered.version) == (&old.model, &old.version)
            };
            if let Some(release) = self.0.iter_mut().find(same) {
                release.answered.sum -= old.sum;
                release.answered.outcomes = release.answered.outcomes.saturating_sub(old.outcomes);
            }
        }
        self.add(between, now);
        self.0.retain(|release| release.answered.outcomes > 0);
    }

    /// Adds the outcomes of a window.
    pub(crate) fn add(&mut self, (from, to): (Timestamp, Timestamp), seen: &[AnsweredBy]) {
        for new in seen.iter().filter(|new| !new.version.is_empty() && new.outcomes > 0) {
            let same = |old: &&mut Release| {
                (&old.answered.model, &old.answered.version) == (&new.model, &new.version)
            };
            match self.0.iter_mut().find(same) {
                Some(old) => {
                    old.answered.sum += new.sum;
                    old.answered.outcomes += new.outcomes;
                    (old.since, old.until) = (old.since.min(from), old.until.max(to));
                }
                None => self.0.push(Release { since: from, until: to, answered: new.clone() }),
            }
        }
        while self.0.len() > REMEMBERED {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, release)| release.until);
            let Some((place, _)) = oldest else { break };
            self.0.remove(place);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The versions, in the order in which they began to answer.
    pub fn in_order(&self) -> Vec<&Release> {
        let mut all: Vec<&Release> = self.0.iter().collect();
        all.sort_by_key(|release| release.since);
        all
    }
}

/// Metrics of versions, by model, version and name.
pub type Metrics = BTreeMap<(String, String), BTreeMap<String, f64>>;

/// The business number beside the metrics of the versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverReleases {
    /// The business number.
    pub kpi: String,
    /// Versions with enough outcomes, in the order in which they began to answer.
    pub releases: Vec<ReleaseMean>,
    /// One a metric, the closest first.
    pub metrics: Vec<Relation>,
    /// What comes of it, in one sentence without a full stop.
    pub why: String,
}

/// The business number while a version answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleaseMean {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The begin of the first window in which it answered.
    pub since: Timestamp,
    /// Outcomes.
    pub outcomes: u64,
    /// Their mean.
    pub mean: f64,
}

/// How the business number goes with a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Relation {
    /// The metric.
    pub metric: String,
    /// Releases that have it.
    pub releases: usize,
    /// Spearman's rank correlation over them; none where they are too few or one side is the same for all.
    pub correlation: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// In words.
    pub why: String,
}

/// Sets the business number of versions beside their metrics.
pub fn over_releases(kpi: &str, releases: &Releases, metrics: &Metrics) -> OverReleases {
    let counted: Vec<&Release> =
        releases.in_order().into_iter().filter(|release| release.answered.outcomes >= OUTCOMES).collect();
    let of =
        |release: &Release| metrics.get(&(release.answered.model.clone(), release.answered.version.clone()));
    let names: BTreeSet<&String> =
        counted.iter().filter_map(|release| of(release)).flat_map(BTreeMap::keys).collect();
    let relation = |name: &String| {
        let pairs: Vec<(f64, f64)> = counted
            .iter()
            .filter_map(|release| Some((*of(release)?.get(name)?, release.mean())))
            .filter(|(value, mean)| value.is_finite() && mean.is_finite())
            .collect();
        relate(kpi, name, &pairs)
    };
    let mut related: Vec<Relation> = names.into_iter().map(relation).collect();
    let close = |relation: &Relation| relation.correlation.map_or(-1.0, f64::abs);
    related.sort_by(|a, b| close(b).total_cmp(&close(a)).then(a.metric.cmp(&b.metric)));
    related.truncate(METRICS);
    let why = match related.first() {
        _ if counted.len() < FEWEST => format!(
            "too few releases to say which metrics go with `{kpi}`: {} with {OUTCOMES} outcomes or more, of at least {FEWEST}",
            counted.len()
        ),
        None => format!("no metrics are recorded with the versions that `{kpi}` could go with"),
        Some(closest) => closest.why.clone(),
    };
    let releases = counted
        .into_iter()
        .map(|release| ReleaseMean {
            model: release.answered.model.clone(),
            version: release.answered.version.clone(),
            since: release.since,
            outcomes: release.answered.outcomes,
            mean: release.mean(),
        })
        .collect();
    OverReleases { kpi: kpi.to_owned(), releases, metrics: related, why }
}

fn relate(kpi: &str, metric: &str, pairs: &[(f64, f64)]) -> Relation {
    let releases = pairs.len();
    let none = |why: String| Relation {
        metric: metric.to_owned(),
        releases,
        correlation: None,
        low: None,
        high: None,
        why,
    };
    if releases < FEWEST {
        return none(format!("too few releases to say: {releases} with `{metric}`, of at least {FEWEST}"));
    }
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let Some((r, count)) = spearman(&x, &y) else {
        return none(format!("`{metric}` or `{kpi}` is the same for all {releases} releases"));
    };
    // A perfect order is as sure as so few releases allow: half a release away from one.
    let bounded = r.clamp(-1.0 + 0.5 / count, 1.0 - 0.5 / count);
    let Some((low, high)) = spearman_interval(bounded, count, LEVEL) else {
        return none(format!("too few releases to say: {releases} with `{metric}`"));
    };
    let (low, high) = (low.min(r), high.max(r));
    let figures = format!("rank correlation {r:.2} ({low:.2} to {high:.2}) over {releases} releases");
    let why = if low > 0.0 {
        format!("higher `{metric}` went with higher `{kpi}`: {figures}")
    } else if high < 0.0 {
        format!("higher `{metric}` went with lower `{kpi}`: {figures}")
    } else {
        format!("no evidence that `{metric}` and `{kpi}` go together: {figures}")
    };
    Relation { correlation: Some(r), low: Some(low), high: Some(high), ..none(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(version: u64, mean: f64, outcomes: u64) -> AnsweredBy {
        let (model, version) = ("late".to_owned(), version.to_string());
        AnsweredBy { model, version, sum: mean * outcomes as f64, outcomes }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * 86_400_000)
    }

    fn metrics(of: &[(u64, f64)]) -> Metrics {
        let one = |(version, value): &(u64, f64)| {
            let key = ("late".to_owned(), version.to_string());
            (key, [("auc".to_owned(), *value), ("constant".to_owned(), 1.0)].into())
        };
        of.iter().map(one).collect()
    }

    #[test]
    fn windows_add_up_by_version_and_few_releases_say_nothing() {
        let mut releases = Releases::default();
        releases.add((at(0), at(1)), &[answered(1, 4.0, 40)]);
        releases.add((at(1), at(2)), &[answered(1, 2.0, 40), answered(2, 1.0, 10), answered(0, 0.0, 0)]);
        let found = over_releases("cost", &releases, &metrics(&[(1, 0.7), (2, 0.8)]));
        assert_eq!(found.releases.len(), 1, "ten outcomes are no mean");
        assert_eq!((found.releases[0].mean, found.releases[0].outcomes), (3.0, 80));
        assert!(found.why.starts_with("too few releases to say"), "{}", found.why);
        assert!(found.metrics.iter().all(|one| one.correlation.is_none() && one.why.contains("1 with")));
        let text = serde_json::to_string(&releases).unwrap();
        assert_eq!(serde_json::from_str::<Releases>(&text).unwrap(), releases);
        for day in 0..200 {
            releases.add((at(day), at(day + 1)), &[answered(day as u64, 1.0, 5)]);
        }
        assert_eq!(releases.0.len(), REMEMBERED);
        assert_eq!(releases.in_order().last().unwrap().answered.version, "199");
    }

    #[test]
    fn what_goes_with_it_stands_first_with_its_interval() {
        let mut releases = Releases::default();
        let quality = [0.6, 0.62, 0.61, 0.7, 0.74, 0.72, 0.8, 0.78];
        for (day, quality) in (0_i64..).zip(quality) {
            let version = day as u64 + 1;
            releases.add((at(day), at(day + 1)), &[answered(version, 10.0 - 5.0 * quality, 100)]);
        }
        let known: Vec<(u64, f64)> = (1..).zip(quality).collect();
        let found = over_releases("cost", &releases, &metrics(&known));
        let (auc, constant) = (&found.metrics[0], &found.metrics[1]);
        assert_eq!((auc.metric.as_str(), auc.correlation, auc.low), ("auc", Some(-1.0), Some(-1.0)));
        assert!(auc.high.is_some_and(|high| (-0.95..-0.5).contains(&high)), "{auc:?}");
        assert_eq!(found.why, auc.why);
        assert!(auc.why.starts_with("higher `auc` went with lower `cost`"), "{}", auc.why);
        assert_eq!(constant.correlation, None);
        assert!(constant.why.contains("the same for all 8 releases"), "{}", constant.why);
        // Half in order, half not: no evidence.
        let mixed: Vec<(u64, f64)> = (1..).zip([1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]).collect();
        let found = over_releases("cost", &releases, &metrics(&mixed));
        assert!(found.why.starts_with("no evidence that `auc` and `cost`"), "{}", found.why);
    }
}
