//! From what the project file says of an environment to what a rollout does.

use std::collections::BTreeSet;
use std::time::Duration;

use tidemill_deliver::approval::Rule;
use tidemill_deliver::judge::{Kind, Metric, Spec, Tier};
use tidemill_deliver::rollout::{Stage, Until};
use tidemill_project as project;

/// Error rates below this are no harm, whatever they are a multiple of.
const RARE_ERRORS: f64 = 0.005;
/// The same for the share of slow requests, of which the incumbent has at most one of twenty.
const RARELY_SLOW: f64 = 0.02;

/// What a rollout does, and what of the project file it cannot do.
pub(super) struct Planned {
    pub(super) stages: Vec<Stage>,
    pub(super) judge: Option<Spec>,
    /// Metrics of the project file that a rollout does not see.
    pub(super) unseen: Vec<&'static str>,
}

/// The stages and the judge of an environment.
pub(super) fn plan(environment: &project::Environment) -> Planned {
    let (judge, unseen) = environment
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.judge.as_ref())
        .map_or((None, Vec::new()), judge);
    let mut stages = Vec::new();
    if let project::Approve::People(approval) = &environment.approve {
        stages.push(Stage::Gate { approve: rule(approval) });
    }
    let declared = environment.rollout.iter().flat_map(|rollout| &rollout.stages);
    stages.extend(declared.map(|declared| stage(declared, judge.is_some())));
    if !matches!(stages.last(), Some(Stage::Full { .. })) {
        stages.push(Stage::Full { settle: Duration::ZERO });
    }
    Planned { stages, judge, unseen }
}

fn rule(approval: &project::Approval) -> Rule {
    Rule {
        role: approval.by.clone(),
        people: approval.people.clone(),
        count: approval.count,
        expires: approval.expires.map(|project::Period(expires)| expires),
    }
}

fn stage(declared: &project::Stage, is_judged: bool) -> Stage {
    // In the shadow nobody is harmed, and harm that shows there ends the rollout all the same.
    let until = |verdict: bool, samples: Option<u64>, duration: Option<project::Period>| Until {
        verdict,
        samples: samples.unwrap_or(1),
        at_least: duration.map_or(Duration::ZERO, |project::Period(at_least)| at_least),
        at_most: None,
        tiers: BTreeSet::from([Tier::Operational]),
    };
    match declared {
        project::Stage::Shadow(shadow) => {
            Stage::Shadow { share: 10_000, until: until(false, shadow.samples, shadow.duration) }
        }
        project::Stage::Canary(canary) => {
            let (samples, duration) = match canary {
                project::Canary::Share(_) => (None, None),
                project::Canary::Stage(stage) => (stage.samples, stage.duration),
            };
            let share = (canary.share().0 * 10_000.0).round().clamp(1.0, 9_999.0) as u32;
            Stage::Canary { share, until: until(is_judged, samples, duration) }
        }
        project::Stage::Gate(approval) => Stage::Gate { approve: rule(approval) },
        project::Stage::Full(full) => {
            Stage::Full { settle: full.settle.map_or(Duration::ZERO, |project::Period(settle)| settle) }
        }
    }
}

fn judge(declared: &project::Judge) -> (Option<Spec>, Vec<&'static str>) {
    let (mut metrics, mut unseen) = (Vec::new(), Vec::new());
    for metric in &declared.metrics {
        let (name, kind) = match metric {
            project::JudgeMetric::Errors => {
                ("errors", Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: Some(RARE_ERRORS) })
            }
            project::JudgeMetric::Latency => {
                ("latency", Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: Some(RARELY_SLOW) })
            }
            project::JudgeMetric::Cost => {
                unseen.push("cost");
                continue;
            }
            project::JudgeMetric::Kpi => {
                unseen.push("kpi");
                continue;
            }
        };
        metrics.push(Metric {
            name: name.to_owned(),
            kind,
            tier: Tier::Operational,
            critical: true,
            required: true,
        });
    }
    let spec =
        (!metrics.is_empty()).then_some(Spec { error_budget: declared.error_budget, metrics, slices: None });
    (spec, unseen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_project_file() {
        let text = "project: flights\nobjective:\n  task: {kind: classification, target: late, positive: 1}\n  costs: {currency: EUR, false_negative: 120, false_positive: 15}\nrelease:\n  model: late\n  environments:\n    prod:\n      approve: {by: owner, count: 2, people: [ada, bob, cid]}\n      rollout:\n        stages: [{shadow: {samples: 2000}}, {canary: 5%}, {gate: {by: risk}}, {canary: 25%}, {full: {settle: 24h}}]\n        judge: {error_budget: 0.01, metrics: [errors, latency, cost]}\n";
        let project = project::parse_bytes(text.as_bytes(), "tidemill.yaml").unwrap();
        let release = project.release.unwrap();
        let planned = plan(&release.environments[0]);
        assert_eq!(planned.unseen, ["cost"]);
        assert_eq!(planned.judge.unwrap().metrics.len(), 2);
        assert_eq!(planned.stages.len(), 6);
        assert!(
            matches!(&planned.stages[0], Stage::Gate { approve } if approve.people.len() == 3 && approve.count == 2)
        );
        assert!(matches!(&planned.stages[1], Stage::Shadow { until, .. } if until.samples == 2000));
        assert!(matches!(&planned.stages[2], Stage::Canary { share: 500, until } if until.verdict));
        assert!(matches!(&planned.stages[3], Stage::Gate { approve } if approve.role == "risk"));
        assert_eq!(planned.stages[5], Stage::Full { settle: Duration::from_secs(24 * 3600) });
    }
}
