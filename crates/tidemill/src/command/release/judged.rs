//! From the judge of a project file to metrics with limits, and to how outcomes become their values.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tidemill_core::declare::{Better as Good, Costs, Objective};
use tidemill_deliver::judge::{
    AGREEMENT, Amount, Better, ERRORS, Kind, LATENCY, Metric, REFUSALS, SCORES_APART, Slices, Spec, Tier,
};
use tidemill_deliver::outcome::{COST, KPI, Measures, PAIRED_COST, PAIRED_QUALITY, QUALITY, Quality};
use tidemill_project as project;

/// Error rates below this are no harm, whatever they are a multiple of.
const RARE_ERRORS: f64 = 0.005;
/// The same for the share of slow requests, of which the incumbent has at most one of twenty.
const RARELY_SLOW: f64 = 0.02;
/// The part of a metric's range that must be disproved before there is more traffic.
const REJECT: f64 = 0.01;
/// The same of the mean of a KPI.
const REJECT_KPI: f64 = 0.05;
/// The most values of an input that are slices.
const MOST_VALUES: u32 = 50;
/// When outcomes are known, where nobody says so.
const DELAY: Duration = Duration::from_secs(24 * 3600);

/// What a rollout is judged by.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) spec: Option<Spec>,
    pub(super) measures: Option<Measures>,
    /// On which tiers a stage that waits for a verdict needs proof.
    pub(super) tiers: BTreeSet<Tier>,
}

/// The metric of a judge that a word of the project file means; that which needs proof where it is measured in two ways.
pub(super) fn metric_of(word: project::JudgeWord, spec: &Spec) -> Option<String> {
    let names: &[&str] = match word {
        project::JudgeWord::Errors => &[ERRORS],
        project::JudgeWord::Latency => &[LATENCY],
        project::JudgeWord::Cost => &[COST, PAIRED_COST],
        project::JudgeWord::Quality => &[QUALITY, PAIRED_QUALITY],
        project::JudgeWord::Kpi => &[KPI],
        project::JudgeWord::Agreement => &[AGREEMENT, SCORES_APART],
    };
    let is_meant = |metric: &&Metric| names.contains(&metric.name.as_str());
    let meant = || spec.metrics.iter().filter(is_meant);
    meant().find(|metric| metric.required).or_else(|| meant().next()).map(|metric| metric.name.clone())
}

impl Judged {
    pub(super) fn of(
        declared: &project::Judge,
        stages: &[project::Stage],
        objective: Option<&Objective>,
    ) -> Self {
        let has_canary = stages.iter().any(|stage| matches!(stage, project::Stage::Canary(_)));
        let shadow = stages.iter().find_map(|stage| match stage {
            project::Stage::Shadow(shadow) => Some(shadow),
            _ => None,
        });
        // What the shadow stage proved on the same requests need not be proven again between requests.
        let proves = shadow.is_some_and(|shadow| shadow.until == Some(project::WaitFor::Verdict));
        let mut judged = Build { metrics: Vec::new(), has_shadow: shadow.is_some(), has_canary, proves };
        let mut quality = Quality::default();
        for metric in &declared.metrics {
            match metric {
                project::JudgeMetric::Word(project::JudgeWord::Errors) => {
                    judged.rate(ERRORS, &project::RateLimits::default(), RARE_ERRORS);
                }
                project::JudgeMetric::Limits(project::JudgeLimits::Errors(limits)) => {
                    judged.rate(ERRORS, limits, RARE_ERRORS);
                }
                project::JudgeMetric::Word(project::JudgeWord::Latency) => {
                    judged.rate(LATENCY, &project::RateLimits::default(), RARELY_SLOW);
                }
                project::JudgeMetric::Limits(project::JudgeLimits::Latency(limits)) => {
                    judged.rate(LATENCY, limits, RARELY_SLOW);
                }
                project::JudgeMetric::Word(project::JudgeWord::Cost) => {
                    judged.cost(&project::CostLimits::default(), objective);
                }
                project::JudgeMetric::Limits(project::JudgeLimits::Cost(limits)) => {
                    judged.cost(limits, objective);
                }
                project::JudgeMetric::Word(project::JudgeWord::Quality) => {
                    quality = judged.quality(&project::QualityLimits::default());
                }
                project::JudgeMetric::Limits(project::JudgeLimits::Quality(limits)) => {
                    quality = judged.quality(limits);
                }
                project::JudgeMetric::Word(project::JudgeWord::Kpi) => {
                    judged.kpi(&project::KpiLimits::default(), objective);
                }
                project::JudgeMetric::Limits(project::JudgeLimits::Kpi(limits)) => {
                    judged.kpi(limits, objective);
                }
                project::JudgeMetric::Word(project::JudgeWord::Agreement) => {
                    judged.agreement(&project::AgreementLimits::default());
                }
                project::JudgeMetric::Limits(project::JudgeLimits::Agreement(limits)) => {
                    judged.agreement(limits);
                }
            }
        }
        judged.refusals();
        let metrics = judged.metrics;
        let tiers = metrics.iter().map(|metric| metric.tier).collect();
        let spec = (!metrics.is_empty()).then_some(Spec {
            error_budget: declared.error_budget,
            metrics,
            slices: declared.slices.as_ref().map(slices),
        });
        let measures = spec
            .as_ref()
            .filter(|spec| Measures::feeds(spec))
            .zip(objective)
            .map(|(_, objective)| measures(declared, objective, quality));
        Self { spec, measures, tiers }
    }
}

/// Metrics that are being put together.
struct Build {
    metrics: Vec<Metric>,
    has_shadow: bool,
    has_canary: bool,
    proves: bool,
}

impl Build {
    fn add(&mut self, name: &str, tier: Tier, required: bool, kind: Kind) {
        self.metrics.push(Metric { name: name.to_owned(), kind, tier, critical: true, required });
    }

    fn rate(&mut self, name: &str, limits: &project::RateLimits, negligible: f64) {
        let kind = Kind::EventRate {
            tolerate: limits.tolerate.unwrap_or(project::RateLimits::TOLERATE),
            reject: limits.reject.unwrap_or(project::RateLimits::REJECT),
            negligible: Some(limits.negligible.map_or(negligible, |share| share.0)),
        };
        self.add(name, Tier::Operational, true, kind);
    }

    /// Who answers with errors may as well refuse, so with errors the judge looks for refusals that the incumbent does not make. Nothing waits
    /// for proof that there are none: callers get some things wrong with either.
    fn refusals(&mut self) {
        let errors = self.metrics.iter().find(|metric| metric.name == ERRORS);
        let Some(kind) = errors.map(|errors| errors.kind.clone()) else { return };
        self.add(REFUSALS, Tier::Operational, false, kind);
    }

    /// A metric of values in a range: differences on the same request in the shadow, means of different requests in canaries.
    fn bounded(&mut self, (paired, apart): (&str, &str), (least, most): (f64, f64), limits: (f64, f64)) {
        let (better, (tolerate, reject)) = (Better::Lower, limits);
        if self.has_shadow {
            let widest = most - least;
            let kind = Kind::Paired { better, least: -widest, most: widest, tolerate, reject };
            self.add(paired, Tier::Label, self.proves, kind);
        }
        if self.has_canary {
            let kind = Kind::BoundedMean { better, least, most, tolerate, reject };
            self.add(apart, Tier::Label, !self.proves, kind);
        }
    }

    fn cost(&mut self, limits: &project::CostLimits, objective: Option<&Objective>) {
        let Some(costs) = objective.and_then(|objective| objective.costs.as_ref()) else { return };
        let range = range(costs);
        let reject = limits.reject.unwrap_or(REJECT * (range.1 - range.0));
        self.bounded((PAIRED_COST, COST), range, (limits.tolerate.unwrap_or(0.0), reject));
    }

    fn quality(&mut self, limits: &project::QualityLimits) -> Quality {
        let quality = match limits.metric {
            project::QualityMetric::Brier => Quality::Brier,
            project::QualityMetric::LogLoss => Quality::LogLoss,
            project::QualityMetric::ErrorRate => Quality::ErrorRate,
        };
        let reject = limits.reject.unwrap_or(REJECT * quality.most());
        let limits = (limits.tolerate.unwrap_or(0.0), reject);
        self.bounded((PAIRED_QUALITY, QUALITY), (0.0, quality.most()), limits);
        quality
    }

    /// A shadow changes nothing in the world, so a business number is compared in canaries alone.
    fn kpi(&mut self, limits: &project::KpiLimits, objective: Option<&Objective>) {
        let Some(kpi) = objective.and_then(|objective| objective.kpi.as_ref()).filter(|_| self.has_canary)
        else {
            return;
        };
        let part = |given: Option<project::Share>, default: f64| given.map_or(default, |share| share.0);
        let (tolerate, reject) = (part(limits.tolerate, 0.0), part(limits.reject, REJECT_KPI));
        let kind = Kind::Continuous {
            better: match kpi.better {
                Good::Lower => Better::Lower,
                Good::Higher => Better::Higher,
            },
            tolerate: Amount::Relative(tolerate),
            reject: Amount::Relative(reject),
            effect: Amount::Relative((reject - tolerate).max(REJECT)),
        };
        self.add(KPI, Tier::Business, true, kind);
    }

    /// The shadow answers what the incumbent answered, so each request is a pair.
    fn agreement(&mut self, limits: &project::AgreementLimits) {
        if !self.has_shadow {
            return;
        }
        let name = match limits.of {
            project::AgreementOf::Decisions => AGREEMENT,
            project::AgreementOf::Scores => SCORES_APART,
        };
        let kind = Kind::Paired {
            better: Better::Lower,
            least: 0.0,
            most: 1.0,
            tolerate: limits.tolerate.map_or(project::AgreementLimits::TOLERATE, |share| share.0),
            reject: limits.reject.map_or(project::AgreementLimits::REJECT, |share| share.0),
        };
        self.add(name, Tier::Behavioural, self.proves, kind);
    }
}

fn slices(declared: &project::JudgeSlices) -> Slices {
    Slices { by: declared.by.clone(), most: MOST_VALUES, min_samples: declared.min_samples }
}

fn range(costs: &Costs) -> (f64, f64) {
    let all = [costs.false_negative, costs.false_positive, costs.true_positive, costs.true_negative];
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Equal costs decide nothing; a range must have a width all the same.
    (least, most.max(least + f64::EPSILON.max(least.abs() * 1e-9)))
}

/// From which score on somebody acts, where no release says so: what the costs make of calibrated scores.
pub(super) fn threshold(objective: &Objective) -> f64 {
    objective.costs.as_ref().and_then(tidemill_train::metric::calibrated_threshold).unwrap_or(0.5)
}

fn measures(judge: &project::Judge, objective: &Objective, quality: Quality) -> Measures {
    let declared = judge.outcomes.as_ref();
    let (labels, kpis) = (judge.labels_after(), judge.kpi_after());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Measures {
        label: declared
            .and_then(|declared| declared.label.clone())
            .unwrap_or_else(|| objective.task.target.clone()),
        positive: objective.task.positive.as_ref().map_or_else(|| "1".to_owned(), text),
        threshold: threshold(objective),
        costs: objective.costs.clone(),
        thresholds: Vec::new(),
        quality,
        kpi: objective.kpi.as_ref().map(|kpi| kpi.name.clone()),
        delay: labels.or(kpis).unwrap_or(DELAY),
        kpi_delay: kpis.filter(|kpis| labels.is_some_and(|labels| labels != *kpis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rollout: &str) -> Judged {
        let text = format!(
            "project: flights\nobjective:\n  task: {{kind: classification, target: late, positive: 1}}\n  costs: {{currency: EUR, false_negative: 120, false_positive: 15}}\n  kpi: {{name: missed, better: lower}}\nrelease:\n  model: late\n  environments:\n    prod:\n      rollout: {rollout}\n"
        );
        let project = project::parse_bytes(text.as_bytes(), "tidemill.yaml").unwrap();
        let environment = &project.release.as_ref().unwrap().environments[0];
        let rollout = environment.rollout.as_ref().unwrap();
        Judged::of(rollout.judge.as_ref().unwrap(), &rollout.stages, project.objective.as_ref())
    }

    #[test]
    fn proof_is_asked_once_and_where_it_is_cheapest() {
        let table = [
            ("[{shadow: {until: verdict}}, {full: {}}]", "paired_cost!"),
            ("[{shadow: {until: verdict}}, {canary: 50%}, {full: {}}]", "paired_cost! cost"),
            ("[{shadow: {samples: 9}}, {canary: 50%}, {full: {}}]", "paired_cost cost!"),
            ("[{canary: 50%}, {full: {}}]", "cost!"),
        ];
        for (stages, wanted) in table {
            let judged =
                judged(&format!("{{stages: {stages}, judge: {{error_budget: 0.01, metrics: [cost]}}}}"));
            let metrics = judged.spec.unwrap().metrics;
            let said: Vec<String> = metrics
                .iter()
                .map(|metric| format!("{}{}", metric.name, if metric.required { "!" } else { "" }))
                .collect();
            assert_eq!(said.join(" "), wanted, "{stages}");
        }
    }

    #[test]
    fn agreement_is_judged_where_there_is_a_shadow_and_needs_no_outcome() {
        let of = |stages: &str, metrics: &str| {
            judged(&format!("{{stages: {stages}, judge: {{error_budget: 0.01, metrics: [{metrics}]}}}}"))
        };
        let verdict = "[{shadow: {until: verdict}}, {full: {}}]";
        let decided = of(verdict, "agreement");
        let metric = decided.spec.unwrap().metrics.pop().unwrap();
        let limits = |tolerate, reject| Kind::Paired {
            better: Better::Lower,
            least: 0.0,
            most: 1.0,
            tolerate,
            reject,
        };
        assert_eq!(
            (metric.name.as_str(), metric.kind, metric.required),
            ("agreement", limits(0.02, 0.05), true)
        );
        assert_eq!((decided.measures, decided.tiers), (None, BTreeSet::from([Tier::Behavioural])));
        let counted = "[{shadow: {samples: 9}}, {canary: 5%}, {full: {}}]";
        let scored = of(counted, "{agreement: {of: scores, tolerate: 1%, reject: 3%}}");
        let metric = scored.spec.unwrap().metrics.pop().unwrap();
        assert_eq!(
            (metric.name.as_str(), metric.kind, metric.required),
            ("score_difference", limits(0.01, 0.03), false)
        );
    }

    /// Labels and business values have each their own time where the file says so.
    #[test]
    fn a_business_value_may_be_known_later_than_the_label() {
        let delays = |metrics: &str| {
            let judged = judged(&format!(
                "{{stages: [{{canary: 5%}}, {{full: {{}}}}], judge: {{error_budget: 0.01, outcomes: {{delay: 1h}}, metrics: [{metrics}]}}}}"
            ));
            let measures = judged.measures.unwrap();
            (measures.delay.as_secs(), measures.kpi_delay.map(|delay| delay.as_secs()))
        };
        assert_eq!(delays("cost, kpi"), (3_600, None));
        assert_eq!(delays("cost, {kpi: {delay: 30d}}"), (3_600, Some(30 * 86_400)));
        assert_eq!(delays("{kpi: {delay: 30d}}"), (30 * 86_400, None), "nothing else is waited for");
    }

    #[test]
    fn limits_of_rates_are_those_of_the_file() {
        let judged = judged(
            "{stages: [{canary: 20%}, {full: {}}], judge: {error_budget: 0.01, metrics: [latency, {errors: {tolerate: 1.1, reject: 1.5, negligible: 0.1%}}]}}",
        );
        let spec = judged.spec.unwrap();
        spec.check().unwrap();
        let rate =
            |tolerate, reject, negligible| Kind::EventRate { tolerate, reject, negligible: Some(negligible) };
        let kinds: Vec<Kind> = spec.metrics.into_iter().map(|metric| metric.kind).collect();
        // Refusals have the limits of errors.
        assert_eq!(kinds, [rate(1.25, 2.0, 0.02), rate(1.1, 1.5, 0.001), rate(1.1, 1.5, 0.001)]);
    }

    #[test]
    fn limits_come_from_the_file_or_from_the_costs() {
        let judged = judged(
            "{stages: [{shadow: {until: verdict}}, {canary: 20%}, {full: {}}], judge: {error_budget: 0.01, outcomes: {delay: 12h, label: was_late}, slices: {by: [origin, carrier]}, metrics: [errors, {cost: {tolerate: 0.1, reject: 0.5}}, {quality: {metric: log_loss}}, kpi]}}",
        );
        let spec = judged.spec.unwrap();
        spec.check().unwrap();
        let by = vec!["origin".to_owned(), "carrier".to_owned()];
        assert_eq!(spec.slices, Some(Slices { by, most: 50, min_samples: 300 }));
        let kind =
            |name: &str| spec.metrics.iter().find(|metric| metric.name == name).map(|m| m.kind.clone());
        let (better, tolerate, reject) = (Better::Lower, 0.1, 0.5);
        assert_eq!(
            kind("paired_cost"),
            Some(Kind::Paired { better, least: -120.0, most: 120.0, tolerate, reject })
        );
        assert_eq!(
            kind("cost"),
            Some(Kind::BoundedMean { better, least: 0.0, most: 120.0, tolerate, reject })
        );
        assert!(matches!(kind("quality"), Some(Kind::BoundedMean { most: 6.91, .. })));
        assert!(matches!(kind("kpi"), Some(Kind::Continuous { reject: Amount::Relative(0.05), .. })));
        let measures = judged.measures.unwrap();
        assert_eq!((measures.label.as_str(), measures.quality), ("was_late", Quality::LogLoss));
        assert_eq!(
            (measures.delay, measures.kpi.as_deref()),
            (Duration::from_secs(12 * 3600), Some("missed"))
        );
        assert_eq!(judged.tiers, BTreeSet::from([Tier::Operational, Tier::Label, Tier::Business]));
    }
}
