//! Requests that rules lead to an arm, kept apart from those that were drawn to it by lot.
//!
//! A comparison of two arms is fair where requests were drawn to them. A rule leads testers, or a cohort, so what it leads gets an arm of its
//! own with the same model and version: it is counted and recorded under another name, and the arm that is compared has drawn requests only.

use super::endpoint::EndpointSpec;
use super::route::{Arm, MOST_ARMS, Rule};

/// What the name of such an arm ends with.
const BY_RULE: &str = "-by-rule";

/// The name of the arm for what a rule leads to `arm`.
pub fn led_name(arm: &str) -> String {
    format!("{arm}{BY_RULE}")
}

/// The arms that requests are drawn to, or that are shown them: all but those of rules.
pub fn drawn(arms: &[Arm]) -> impl Iterator<Item = &Arm> {
    arms.iter().filter(|arm| !arm.name.ends_with(BY_RULE))
}

/// The same endpoint whose rules all lead to arms of their own. What they lead is shown to no shadow: nobody who is compared with it
/// answered. A rule to an arm that is not there is left out, and so is one for whose arm there is no room.
#[must_use]
pub fn apart(mut spec: EndpointSpec) -> EndpointSpec {
    let mut arms: Vec<Arm> = drawn(&spec.arms).cloned().collect();
    let kept = std::mem::take(&mut spec.rules).into_iter().filter_map(|rule| {
        let to = rule.arm.strip_suffix(BY_RULE).unwrap_or(&rule.arm);
        let name = led_name(to);
        if !arms.iter().any(|arm| arm.name == name) {
            let base = arms.iter().find(|arm| arm.name == to).filter(|_| arms.len() < MOST_ARMS)?.clone();
            arms.push(Arm { name: name.clone(), weight: 0.0, shadow: false, ..base });
        }
        Some(Rule { arm: name, shadows: false, ..rule })
    });
    let rules = kept.collect();
    EndpointSpec { arms, rules, ..spec }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::route::Key;

    #[test]
    fn rules_lead_to_arms_of_their_own_and_only_as_long_as_they_are_there() {
        let arm = |name: &str, weight, shadow| Arm {
            name: name.into(),
            model: "churn".into(),
            version: Some("3".into()),
            weight,
            shadow,
            threshold: None,
        };
        let rule = |value: &str, arm: &str| Rule {
            key: Key::Header("x-team".into()),
            one_of: vec![value.into()],
            arm: arm.into(),
            shadows: true,
        };
        let spec = EndpointSpec {
            arms: vec![arm("a", 90.0, false), arm("s", 100.0, true), arm("gone-by-rule", 0.0, false)],
            rules: vec![rule("1", "a"), rule("2", "s"), rule("3", "a-by-rule"), rule("4", "gone-by-rule")],
            ..EndpointSpec::default()
        };
        let apart_once = apart(spec);
        let names: Vec<&str> = apart_once.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names, ["a", "s", "a-by-rule", "s-by-rule"]);
        assert_eq!(apart_once.arms[3], arm("s-by-rule", 0.0, false));
        let led: Vec<(&str, bool)> =
            apart_once.rules.iter().map(|rule| (rule.arm.as_str(), rule.shadows)).collect();
        assert_eq!(led, [("a-by-rule", false), ("s-by-rule", false), ("a-by-rule", false)]);
        assert_eq!(apart(apart_once.clone()), apart_once, "what is apart stays so");
        assert_eq!(drawn(&apart_once.arms).count(), 2);
        apart_once.settle(None).unwrap();
    }

    #[test]
    fn an_endpoint_that_is_full_leaves_out_what_it_has_no_room_for() {
        let arm = |at: usize| Arm {
            name: format!("a{at}"),
            model: "churn".into(),
            version: None,
            weight: 1.0,
            shadow: false,
            threshold: None,
        };
        let rule = |at: usize| Rule {
            key: Key::Input("store".into()),
            one_of: Vec::new(),
            arm: format!("a{at}"),
            shadows: true,
        };
        let arms = (0..MOST_ARMS - 1).map(arm).collect();
        let spec = EndpointSpec { arms, rules: vec![rule(0), rule(1), rule(0)], ..EndpointSpec::default() };
        let full = apart(spec);
        assert_eq!((full.arms.len(), full.rules.len()), (MOST_ARMS, 2));
        full.settle(None).unwrap();
    }
}
