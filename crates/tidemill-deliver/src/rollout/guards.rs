//! What protects an endpoint beside people's agreement: the judge, the stages, the tests that a version must have passed with what they ask
//! for, the hours, the gate of time and the envelope. All of it
//! comes from the file of whoever releases, so a plan that protects less than the one before it is told from one that does not.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::Window;
use tidemill_core::words::number;

use super::demand::{Demand, less};
use super::held;
use super::plan::{Plan, Stage, Until};
use super::state::Phase;
use crate::approval::Rule;
use crate::envelope::Envelope;
use crate::judge::{Amount, Kind, Metric, Spec};
use crate::outcome::{COST, PAIRED_COST, PAIRED_QUALITY, QUALITY};
use crate::simulate::{Power, span};

/// The most of them that a rollout is held to at once, the oldest first: the one that was in effect, and those of attempts since.
const MOST: usize = 8;
/// Metrics that are measured in two ways: proof in one of them is proof.
const TWINS: [[&str; 2]; 2] = [[PAIRED_COST, COST], [PAIRED_QUALITY, QUALITY]];

/// What a plan protects with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guards {
    /// What decides between stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<Spec>,
    /// The stages, without those in which people agree.
    pub stages: Vec<Stage>,
    /// The tests that a version must have passed, in words; one that is there twice is asked for twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// What these tests ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<Demand>,
    /// When a release may get more requests; always where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// Whether recent requests must be enough to decide in some time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// What triggers may release without anybody who looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
}

impl Guards {
    /// Those of a project file.
    pub fn of(stages: &[Stage], judge: Option<&Spec>, tests: Vec<String>) -> Self {
        let is_kept = |stage: &&Stage| !matches!(stage, Stage::Gate { .. });
        let stages = stages.iter().filter(is_kept).cloned().collect();
        Self { judge: judge.cloned(), stages, tests, ..Self::default() }
    }

    /// In which ways it protects less than `before`, in words; none where it protects as much or more.
    pub fn weaker_than(&self, before: &Self) -> Vec<String> {
        let mut why = Vec::new();
        match (&self.judge, &before.judge) {
            (_, None) => {}
            (None, Some(_)) => why.push("there is no judge any more".to_owned()),
            (Some(own), Some(before)) => weaker_judge(own, before, &mut why),
        }
        self.weaker_stages(before, &mut why);
        let (mut own, mut gone) = (self.tests.clone(), Vec::new());
        for test in &before.tests {
            match own.iter().position(|known| known == test) {
                Some(at) => drop(own.swap_remove(at)),
                None => gone.push(test.as_str()),
            }
        }
        why.extend(gone.iter().map(|test| format!("{test} is not required any more")));
        less(&self.demands, &before.demands, |of| gone.contains(&of), &mut why);
        held::windows(&self.windows, &before.windows, &mut why);
        held::power(self.power, before.power, &mut why);
        held::envelope(self.envelope.as_ref(), before.envelope.as_ref(), &mut why);
        why
    }

    fn weaker_stages(&self, before: &Self, why: &mut Vec<String>) {
        match (self.shadow(), before.shadow()) {
            (_, None) => {}
            (None, Some(_)) => why.push("there is no shadow stage any more".to_owned()),
            (Some((own, until)), Some((share, of_before))) => {
                if own < share {
                    why.push(format!("the shadow gets {} of requests, not {}", percent(own), percent(share)));
                }
                weaker_until("the shadow stage", until, of_before, why);
            }
        }
        let own: Vec<(u32, &Until)> = self.canaries().collect();
        for (share, until) in before.canaries() {
            if let Some((_, now)) = own.iter().find(|(known, _)| *known == share) {
                weaker_until(&format!("the canary of {}", percent(share)), now, until, why);
                continue;
            }
            let from = own.iter().map(|(known, _)| *known).filter(|known| *known < share).max();
            let to = own.iter().map(|(known, _)| *known).filter(|known| *known > share).min();
            let (from, to) = (percent(from.unwrap_or(0)), percent(to.unwrap_or(10_000)));
            why.push(format!("requests go from {from} to {to} without the canary of {}", percent(share)));
        }
        let (own, kept) = (self.settle(), before.settle());
        if own < kept {
            let (own, kept) = (time(own), time(kept));
            why.push(format!("the release before is kept ready for {own} at the end, not {kept}"));
        }
    }

    fn shadow(&self) -> Option<(u32, &Until)> {
        self.stages.iter().find_map(|stage| match stage {
            Stage::Shadow { share, until } => Some((*share, until)),
            _ => None,
        })
    }

    fn canaries(&self) -> impl Iterator<Item = (u32, &Until)> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Canary { share, until } => Some((*share, until)),
            _ => None,
        })
    }

    fn settle(&self) -> Duration {
        let settle = |stage: &Stage| match stage {
            Stage::Full { settle } => Some(*settle),
            _ => None,
        };
        self.stages.iter().find_map(settle).unwrap_or_default()
    }
}

impl Plan {
    /// What the next rollout of the endpoint is held to: what this one protects with and, until it is complete, also what it was held to
    /// itself. What did not pass its checks bound nobody.
    pub fn guards(&self, phase: &Phase) -> Vec<Guards> {
        let policy = self.policy.as_ref();
        let mut all = policy.map_or_else(Vec::new, |policy| policy.held.clone());
        match phase {
            Phase::Complete => all.clear(),
            Phase::Refused => return all,
            _ => {}
        }
        all.push(self.own_guards());
        // What another one asks for anyway need not be asked for twice.
        let mut kept: Vec<Guards> = Vec::new();
        for one in all {
            if kept.iter().any(|known| known.weaker_than(&one).is_empty()) {
                continue;
            }
            let place = kept.iter().position(|known| one.weaker_than(known).is_empty());
            kept.retain(|known| !one.weaker_than(known).is_empty());
            kept.insert(place.unwrap_or(kept.len()).min(kept.len()), one);
        }
        kept.truncate(MOST);
        kept
    }

    fn own_guards(&self) -> Guards {
        let declared = self.policy.as_ref().and_then(|policy| policy.guards.clone());
        let mut own = declared.unwrap_or_else(|| Guards::of(&self.stages, self.judge.as_ref(), Vec::new()));
        // What plans from before these were recorded did with them.
        own.power = own.power.or(self.power);
        if own.windows.is_empty() {
            own.windows.clone_from(&self.windows);
        }
        own
    }

    /// Holds it to what protected before: where it protects less, somebody must agree before the first request. Gives what became weaker,
    /// in words. A plan that begins with a gate anyway gets no second: whoever agrees there sees what became weaker.
    pub fn guard_as(&mut self, before: &[Guards], approve: Rule) -> Vec<String> {
        let own = self.own_guards();
        let mut weaker: Vec<String> = Vec::new();
        for why in before.iter().flat_map(|before| own.weaker_than(before)) {
            if !weaker.contains(&why) {
                weaker.push(why);
            }
        }
        if !before.is_empty() {
            self.policy.get_or_insert_default().held = before.to_vec();
        }
        if !weaker.is_empty() && !matches!(self.stages.first(), Some(Stage::Gate { .. })) {
            self.stages.insert(0, Stage::Gate { approve });
        }
        weaker
    }
}

fn weaker_judge(own: &Spec, before: &Spec, why: &mut Vec<String>) {
    if is_above(own.error_budget, before.error_budget) {
        let (own, before) = (number(own.error_budget), number(before.error_budget));
        why.push(format!("the error budget is {own}, not {before}"));
    }
    for metric in &before.metrics {
        let name = &metric.name;
        let family: Vec<&str> = match TWINS.iter().find(|twins| twins.contains(&name.as_str())) {
            Some(twins) => twins.to_vec(),
            None => vec![name.as_str()],
        };
        let of = |spec: &Spec| -> Vec<Metric> {
            let is_one = |metric: &&Metric| family.contains(&metric.name.as_str());
            spec.metrics.iter().filter(is_one).cloned().collect()
        };
        let (now, then) = (of(own), of(before));
        // Of twins it is said once, at the first of them.
        let is_first = then.first().is_some_and(|first| first.name == *name);
        if now.is_empty() {
            if is_first {
                why.push(format!("`{name}` is not judged any more"));
            }
            continue;
        }
        if is_first && then.iter().any(|one| one.critical) && !now.iter().any(|one| one.critical) {
            why.push(format!("harm to `{name}` does not roll back any more"));
        }
        if is_first && then.iter().any(|one| one.required) && !now.iter().any(|one| one.required) {
            why.push(format!("no proof is asked for on `{name}` any more"));
        }
        // A way of measuring that is gone went with its stage, of which something is said there.
        if let Some(same) = now.iter().find(|one| one.name == *name) {
            weaker_limits(name, &same.kind, &metric.kind, why);
        }
    }
    let Some(slices) = &before.slices else { return };
    for column in &slices.by {
        if own.slices.as_ref().is_none_or(|own| !own.by.contains(column)) {
            why.push(format!("slices by `{column}` are not judged any more"));
        }
    }
    if let Some(own) = own.slices.as_ref().filter(|own| own.min_samples > slices.min_samples) {
        let (own, before) = (own.min_samples, slices.min_samples);
        why.push(format!("slices are judged from {own} requests on, not from {before}"));
    }
}

fn weaker_limits(name: &str, own: &Kind, before: &Kind, why: &mut Vec<String>) {
    let mut higher = |limit: &str, own: f64, before: f64| {
        if is_above(own, before) {
            why.push(format!("`{limit}` of `{name}` is {}, not {}", number(own), number(before)));
        }
    };
    let is_same = match (own, before) {
        (
            Kind::EventRate { tolerate, reject, negligible },
            Kind::EventRate { tolerate: tolerated, reject: rejected, negligible: neglected },
        ) => {
            higher("tolerate", *tolerate, *tolerated);
            higher("reject", *reject, *rejected);
            higher("negligible", negligible.unwrap_or(0.0), neglected.unwrap_or(0.0));
            true
        }
        (
            Kind::Binary { better, tolerate, reject, .. },
            Kind::Binary { better: way, tolerate: tolerated, reject: rejected, .. },
        )
        | (
            Kind::Continuous { better, tolerate, reject, .. },
            Kind::Continuous { better: way, tolerate: tolerated, reject: rejected, .. },
        ) => {
            let is_alike = |one: &Amount, other: &Amount| {
                matches!((one, other), (Amount::Absolute(_), Amount::Absolute(_)))
                    || matches!((one, other), (Amount::Relative(_), Amount::Relative(_)))
            };
            higher("tolerate", tolerate.number(), tolerated.number());
            higher("reject", reject.number(), rejected.number());
            better == way && is_alike(tolerate, tolerated) && is_alike(reject, rejected)
        }
        (
            Kind::BoundedMean { better, tolerate, reject, most, .. },
            Kind::BoundedMean { better: way, tolerate: tolerated, reject: rejected, most: widest, .. },
        )
        | (
            Kind::Paired { better, tolerate, reject, most, .. },
            Kind::Paired { better: way, tolerate: tolerated, reject: rejected, most: widest, .. },
        ) => {
            higher("tolerate", *tolerate, *tolerated);
            higher("reject", *reject, *rejected);
            // Limits of money stand whatever errors cost by now; those of quality are in the unit of its measure.
            let is_money = [COST, PAIRED_COST].contains(&name);
            better == way && (is_money || !is_above(*most, *widest) && !is_above(*widest, *most))
        }
        (Kind::Event { max }, Kind::Event { max: before }) => {
            higher("max", *max as f64, *before as f64);
            true
        }
        _ => false,
    };
    if !is_same {
        why.push(format!("`{name}` is measured in another way, so its limits cannot be compared"));
    }
}

fn weaker_until(stage: &str, own: &Until, before: &Until, why: &mut Vec<String>) {
    if before.verdict && !own.verdict {
        why.push(format!("{stage} waits for no verdict any more"));
    }
    if own.samples < before.samples {
        why.push(format!("{stage} is over after {} requests, not {}", own.samples, before.samples));
    }
    if own.at_least < before.at_least {
        let (own, before) = (time(own.at_least), time(before.at_least));
        why.push(format!("{stage} is over after {own}, not {before}"));
    }
}

/// Numbers that were written down and read again may differ in their last digit.
pub(super) fn is_above(own: f64, before: f64) -> bool {
    own - before > 1e-9 * before.abs()
}

fn percent(share: u32) -> String {
    format!("{} %", number(f64::from(share) / 100.0))
}

fn time(length: Duration) -> String {
    if length.is_zero() { "no time".to_owned() } else { span(length.as_secs_f64() / 3_600.0) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::demand::Ask;
    use super::*;
    use crate::judge::{Better, Slices, Tier};
    use crate::simulate::Otherwise;

    fn metric(name: &str, kind: Kind) -> Metric {
        Metric { name: name.into(), kind, tier: Tier::Operational, critical: true, required: true }
    }

    fn rate(tolerate: f64, reject: f64) -> Kind {
        Kind::EventRate { tolerate, reject, negligible: Some(0.005) }
    }

    fn money(tolerate: f64, reject: f64) -> Kind {
        Kind::BoundedMean { better: Better::Lower, least: 0.0, most: 120.0, tolerate, reject }
    }

    fn until(verdict: bool, samples: u64, hours: u64) -> Until {
        let at_least = Duration::from_secs(hours * 3_600);
        Until { verdict, samples, at_least, at_most: None, tiers: BTreeSet::new() }
    }

    fn guards(change: impl FnOnce(&mut Guards, &mut Spec)) -> Guards {
        let mut judge = Spec {
            error_budget: 0.01,
            metrics: vec![metric("errors", rate(1.25, 2.0)), metric(COST, money(0.0, 1.2))],
            slices: Some(Slices { by: vec!["origin".into()], most: 50, min_samples: 300 }),
        };
        let stages = vec![
            Stage::Shadow { share: 10_000, until: until(false, 2_000, 1) },
            Stage::Canary { share: 500, until: until(true, 1, 0) },
            Stage::Canary { share: 2_500, until: until(true, 100, 2) },
            Stage::Full { settle: Duration::from_secs(24 * 3_600) },
        ];
        let tests: Vec<String> =
            vec!["the test `metric` of its model".into(), "every test of its data `flights`".into()];
        let floor = Demand::new("the test `metric` of `roc_auc`", tests[0].clone());
        let power = Power { decide_within: Duration::from_secs(48 * 3_600), otherwise: Otherwise::Refuse };
        let mut all = Guards {
            judge: None,
            stages,
            tests,
            demands: vec![floor.ask("min", Ask::Least(0.65))],
            windows: vec!["Mon-Thu 09:00-16:00 UTC".parse().unwrap()],
            power: Some(power),
            envelope: Some(Envelope { flips: Some(0.02), ..Envelope::default() }),
        };
        change(&mut all, &mut judge);
        all.judge = Some(judge);
        all
    }

    #[test]
    fn what_is_weaker_is_said_in_words() {
        let before = guards(|_, _| {});
        type Change = fn(&mut Guards, &mut Spec);
        let table: [(Change, &str); 21] = [
            (|_, _| {}, ""),
            (|_, judge| judge.error_budget = 0.05, "the error budget is 0.05, not 0.01"),
            (|_, judge| drop(judge.metrics.remove(0)), "`errors` is not judged any more"),
            (|_, judge| judge.metrics[0].kind = rate(1.5, 2.0), "`tolerate` of `errors` is 1.5, not 1.25"),
            (|_, judge| judge.metrics[1].kind = money(0.0, 5.0), "`reject` of `cost` is 5, not 1.2"),
            (|_, judge| judge.metrics[0].critical = false, "harm to `errors` does not roll back any more"),
            (|_, judge| judge.metrics[1].required = false, "no proof is asked for on `cost` any more"),
            (
                |_, judge| judge.metrics[0].kind = Kind::Event { max: 0 },
                "`errors` is measured in another way, so its limits cannot be compared",
            ),
            (|_, judge| judge.slices = None, "slices by `origin` are not judged any more"),
            (|all, _| drop(all.stages.remove(0)), "there is no shadow stage any more"),
            (
                |all, _| all.stages[0] = Stage::Shadow { share: 10_000, until: until(false, 10, 1) },
                "the shadow stage is over after 10 requests, not 2000",
            ),
            (|all, _| drop(all.stages.remove(1)), "requests go from 0 % to 25 % without the canary of 5 %"),
            (
                |all, _| all.stages[2] = Stage::Canary { share: 5_000, until: until(true, 100, 2) },
                "requests go from 5 % to 50 % without the canary of 25 %",
            ),
            (
                |all, _| all.stages[1] = Stage::Canary { share: 500, until: until(false, 1, 0) },
                "the canary of 5 % waits for no verdict any more",
            ),
            (
                |all, _| all.stages[2] = Stage::Canary { share: 2_500, until: until(true, 100, 0) },
                "the canary of 25 % is over after no time, not 2.0 h",
            ),
            (
                |all, _| all.stages[3] = Stage::Full { settle: Duration::ZERO },
                "the release before is kept ready for no time at the end, not 24 h",
            ),
            (
                |all, _| {
                    all.tests.remove(0);
                    all.demands.clear();
                },
                "the test `metric` of its model is not required any more",
            ),
            (
                |all, _| drop(all.demands[0].asks.insert("min".into(), Ask::Least(0.5))),
                "`min` of the test `metric` of `roc_auc` is 0.5, not 0.65",
            ),
            (
                |all, _| all.windows.clear(),
                "a release may get more requests at any time, not only Mon-Thu 09:00-16:00 UTC",
            ),
            (
                |all, _| all.power = None,
                "nothing asks any more whether requests are enough to decide in time",
            ),
            (|all, _| all.envelope = None, "there is no envelope any more for what triggers release"),
        ];
        for (change, wanted) in table {
            assert_eq!(guards(change).weaker_than(&before).join("; "), wanted);
        }
        let none = Guards { judge: None, ..before.clone() };
        assert_eq!(none.weaker_than(&before), ["there is no judge any more"]);
        assert!(before.weaker_than(&none).is_empty() && before.weaker_than(&Guards::default()).is_empty());
        // Proof in the shadow takes the place of proof between requests.
        let moved = guards(|_, judge| {
            let kind = Kind::Paired {
                better: Better::Lower,
                least: -120.0,
                most: 120.0,
                tolerate: 0.0,
                reject: 1.2,
            };
            judge.metrics[1].required = false;
            judge.metrics.push(metric(PAIRED_COST, kind));
        });
        assert!(moved.weaker_than(&before).is_empty());
    }

    /// Whatever a plan is like, one that is as strict in each part or stricter passes, and one that is weaker in a part does not.
    fn strict() -> impl Strategy<Value = Guards> {
        let limits = (0.001..0.5_f64, 1.0..3.0_f64, 0.1..3.0_f64, 0.0..5.0_f64, 0.0..5.0_f64);
        let stages = (proptest::bool::ANY, 1..5_000_u64, proptest::collection::btree_set(1..9_999_u32, 0..4));
        (limits, stages, 0..48_u64).prop_map(
            |((budget, tolerate, more, cheap, dear), (verdict, samples, shares), hours)| {
                guards(|all, judge| {
                    judge.error_budget = budget;
                    judge.metrics[0].kind = rate(tolerate, tolerate + more);
                    judge.metrics[1].kind = money(cheap, cheap + dear);
                    all.stages.truncate(0);
                    all.stages.push(Stage::Shadow { share: 10_000, until: until(verdict, samples, hours) });
                    all.stages.extend(
                        shares
                            .into_iter()
                            .map(|share| Stage::Canary { share, until: until(true, samples, hours) }),
                    );
                    all.stages.push(Stage::Full { settle: Duration::from_secs(hours * 60) });
                })
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn what_is_as_strict_or_stricter_passes(before in strict(), step in 0..9_999_u32, part in 0.1..1.0_f64) {
            prop_assert!(before.weaker_than(&before).is_empty());
            let mut own = before.clone();
            if let Some(judge) = &mut own.judge {
                judge.error_budget *= part;
                judge.metrics.push(metric("latency", rate(1.25, 2.0)));
                for metric in &mut judge.metrics {
                    match &mut metric.kind {
                        Kind::EventRate { tolerate, .. } => *tolerate = (*tolerate * part).max(1.0),
                        Kind::BoundedMean { reject, tolerate, .. } => {
                            (*reject, *tolerate) = (*reject * part, *tolerate * part);
                        }
                        _ => {}
                    }
                }
            }
            let last = own.stages.len() - 1;
            own.stages.insert(last, Stage::Canary { share: step, until: until(true, 9_999, 99) });
            own.tests.push("the test `cost` of its model".into());
            let weaker = own.weaker_than(&before);
            // The step that was put in may be one that was there, with conditions that are as strict.
            prop_assert!(weaker.is_empty(), "{weaker:?}");
            prop_assert!(!before.weaker_than(&own).is_empty());
        }

        #[test]
        fn what_was_held_is_held_until_something_is_complete(first in strict(), second in strict()) {
            let rule = || {
                let (role, people) = ("reviewer".into(), Vec::new());
                Rule { role, people, count: 1, expires: None, authenticated: false }
            };
            let of = |guards: &Guards| crate::rollout::tests::guarded(guards.clone());
            let before = of(&first).guards(&Phase::Complete);
            prop_assert_eq!(&before, &vec![first.clone()]);
            let mut plan = of(&second);
            let weaker = plan.guard_as(&before, rule());
            prop_assert_eq!(weaker.is_empty(), second.weaker_than(&first).is_empty());
            prop_assert_eq!(weaker.is_empty(), !matches!(plan.stages[0], Stage::Gate { .. }));
            // Ended before anybody agreed, it takes nothing away; agreed to, it counts.
            for phase in [Phase::Aborted, Phase::Refused, Phase::RolledBack, Phase::Awaiting] {
                let still = plan.guards(&phase);
                prop_assert!(still.iter().any(|one| one.weaker_than(&first).is_empty()), "{:?}", phase);
            }
            prop_assert_eq!(plan.guards(&Phase::Complete), vec![second]);
        }
    }
}
