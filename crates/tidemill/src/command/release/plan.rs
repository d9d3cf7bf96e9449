//! From what the project file says of an environment to what a rollout does.

use std::time::Duration;

use tidemill_core::declare::{Objective, Window};
use tidemill_deliver::approval::Rule;
use tidemill_deliver::envelope::Envelope;
use tidemill_deliver::judge::Spec;
use tidemill_deliver::outcome::Measures;
use tidemill_deliver::rollout::{Route, RouteKey, Stage, Until};
use tidemill_deliver::simulate::{Otherwise, Power};
use tidemill_project as project;

use super::judged::{Judged, metric_of};

/// What a rollout does.
pub(super) struct Planned {
    pub(super) stages: Vec<Stage>,
    pub(super) judge: Option<Spec>,
    pub(super) measures: Option<Measures>,
    pub(super) power: Option<Power>,
    pub(super) windows: Vec<Window>,
    /// In ten thousandths.
    pub(super) holdout: u32,
    pub(super) routes: Vec<Route>,
    /// By which metric of the judge the best of several candidates is chosen.
    pub(super) winner: Option<String>,
}

/// The stages and the judge of an environment.
pub(super) fn plan(environment: &project::Environment, objective: Option<&Objective>) -> Planned {
    let rollout = environment.rollout.as_ref();
    let declared = rollout.map_or(&[][..], |rollout| rollout.stages.as_slice());
    let judged = rollout
        .and_then(|rollout| rollout.judge.as_ref())
        .map_or_else(Judged::default, |judge| Judged::of(judge, declared, objective));
    let mut stages = Vec::new();
    if let project::Approve::People(approval) = &environment.approve {
        stages.push(Stage::Gate { approve: rule(approval) });
    }
    stages.extend(declared.iter().map(|declared| stage(declared, &judged)));
    if !matches!(stages.last(), Some(Stage::Full { .. })) {
        stages.push(Stage::Full { settle: Duration::ZERO });
    }
    let power = rollout.and_then(|rollout| rollout.power.as_ref()).map(power);
    let holdout = rollout.and_then(|rollout| rollout.holdout).map_or(0, |share| ten_thousandths(share.0));
    let windows = rollout.and_then(|rollout| rollout.windows.as_ref());
    let windows = windows.map_or_else(Vec::new, |windows| windows.allow.clone());
    let winner = rollout.and_then(|rollout| rollout.winner).zip(judged.spec.as_ref());
    let winner = winner.and_then(|(word, spec)| metric_of(word, spec));
    let routes = rollout.map_or(&[][..], |rollout| &rollout.routes).iter().filter_map(route).collect();
    Planned { stages, judge: judged.spec, measures: judged.measures, power, windows, holdout, routes, winner }
}

/// One that looks at nothing is refused where the file is read.
fn route(declared: &project::Route) -> Option<Route> {
    let header = declared.header.as_ref().map(|name| RouteKey::Header(name.to_ascii_lowercase()));
    let key = header.or_else(|| declared.input.clone().map(RouteKey::Input))?;
    Some(Route { key, one_of: declared.one_of.clone() })
}

fn ten_thousandths(share: f64) -> u32 {
    (share * 10_000.0).round().clamp(1.0, 9_999.0) as u32
}

fn power(declared: &project::Power) -> Power {
    let otherwise = match declared.otherwise {
        project::PowerElse::Warn => Otherwise::Warn,
        project::PowerElse::Refuse => Otherwise::Refuse,
    };
    Power { decide_within: declared.decide_within.0, otherwise }
}

/// What may be released without anybody who looks.
pub(super) fn envelope(declared: &project::Envelope) -> Envelope {
    Envelope {
        data: declared.data.clone(),
        params: declared.params.clone().into_iter().collect(),
        metrics: declared.metrics.clone().into_iter().collect(),
        flips: declared.flips.map(|flips| flips.max.0),
        expires: declared.ends(),
    }
}

fn rule(approval: &project::Approval) -> Rule {
    Rule {
        role: approval.by.clone(),
        people: approval.people.clone(),
        count: approval.count,
        expires: approval.expires.map(|project::Period(expires)| expires),
        authenticated: approval.authenticated,
    }
}

fn stage(declared: &project::Stage, judged: &Judged) -> Stage {
    let period = |given: Option<project::Period>| given.map(|project::Period(period)| period);
    let until = |verdict: bool, samples: Option<u64>, at_least, at_most| Until {
        verdict: verdict && judged.spec.is_some(),
        samples: samples.unwrap_or(1),
        at_least: period(at_least).unwrap_or(Duration::ZERO),
        at_most: period(at_most),
        tiers: judged.tiers.clone(),
    };
    match declared {
        // In the shadow nobody is harmed, and harm that shows there ends the rollout all the same.
        project::Stage::Shadow(shadow) => {
            let verdict = shadow.until == Some(project::WaitFor::Verdict);
            let until = until(verdict, shadow.samples, shadow.duration, shadow.max);
            Stage::Shadow { share: 10_000, until }
        }
        project::Stage::Canary(canary) => {
            let until = match canary {
                project::Canary::Share(_) => until(true, None, None, None),
                project::Canary::Stage(stage) => until(true, stage.samples, stage.duration, stage.max),
            };
            Stage::Canary { share: ten_thousandths(canary.share().0), until }
        }
        project::Stage::Gate(approval) => Stage::Gate { approve: rule(approval) },
        project::Stage::Full(full) => {
            Stage::Full { settle: full.settle.map_or(Duration::ZERO, |project::Period(settle)| settle) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_project_file() {
        let text = "project: flights\nobjective:\n  task: {kind: classification, target: late, positive: 1}\n  costs: {currency: EUR, false_negative: 120, false_positive: 15}\nrelease:\n  model: late\n  environments:\n    prod:\n      approve: {by: owner, count: 2, people: [ada, bob, cid]}\n      rollout:\n        stages: [{shadow: {samples: 2000}}, {canary: 5%}, {gate: {by: risk}}, {canary: 25%}, {full: {settle: 24h}}]\n        judge: {error_budget: 0.01, metrics: [errors, latency, cost]}\n        windows: {allow: ['Mon-Thu 09:00-16:00 Europe/Prague']}\n        holdout: 1%\n        routes: [{header: X-Preview, one_of: [on]}, {input: store}]\n";
        let project = project::parse_bytes(text.as_bytes(), "tidemill.yaml").unwrap();
        let release = project.release.unwrap();
        let planned = plan(&release.environments[0], project.objective.as_ref());
        let names: Vec<String> =
            planned.judge.unwrap().metrics.into_iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["errors", "latency", "paired_cost", "cost", "refusals"]);
        let measures = planned.measures.unwrap();
        assert_eq!((measures.label.as_str(), measures.positive.as_str()), ("late", "1"));
        assert_eq!(measures.delay, Duration::from_secs(24 * 3600));
        assert!((measures.threshold - 15.0 / 135.0).abs() < 1e-12);
        assert_eq!(planned.holdout, 100);
        let words: Vec<String> = planned.routes.iter().map(Route::words).collect();
        assert_eq!(words, ["header x-preview = on", "input store, any value"]);
        assert_eq!(planned.windows, ["Mon-Thu 09:00-16:00 Europe/Prague".parse().unwrap()]);
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
