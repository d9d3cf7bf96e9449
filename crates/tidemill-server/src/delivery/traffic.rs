//! From the traffic that a rollout wants to the declaration of an endpoint.

use std::collections::BTreeMap;

use tidemill_core::Digest;
use tidemill_db::Db;
use tidemill_deliver::rollout::{Plan, Route, RouteKey, Traffic};
use tidemill_registry::Error;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::led::{apart, led_name};
use tidemill_serve::gateway::route::{Arm, Key, MOST_RULES, Rule};

use super::step::internal;

/// All requests, in ten thousandths.
const WHOLE: u32 = 10_000;

/// The model and version of a release.
pub(super) type Names = BTreeMap<Digest, (String, u64)>;

/// Models and versions of all releases of a plan.
pub(super) async fn names(db: &Db, plan: &Plan) -> Result<Names, Error> {
    let mut names = Names::new();
    for digest in plan.incumbent.into_iter().chain(plan.candidates()) {
        let release = db
            .release(digest)
            .await?
            .ok_or_else(|| internal(&format!("release {digest} of a rollout is not there")))?;
        names.insert(digest, (release.model, release.version));
    }
    Ok(names)
}

/// The name of a release's arm.
pub(crate) fn arm_name(release: Digest) -> String {
    format!("r-{}", release.short())
}

/// The declaration of an endpoint under the wanted traffic of a plan: arms are the rollout's, everything else stays.
pub(super) fn spec(before: EndpointSpec, plan: &Plan, traffic: &Traffic, names: &Names) -> EndpointSpec {
    let arm = |release: Digest, weight: f64, shadow: bool| {
        let (model, version) = names.get(&release)?;
        Some(Arm {
            name: arm_name(release),
            model: model.clone(),
            version: Some(version.to_string()),
            weight,
            shadow,
            threshold: plan.threshold_of(release),
        })
    };
    let answering =
        traffic.arms.iter().filter_map(|(release, share)| arm(*release, f64::from(*share), false));
    let shadows = traffic.shown().filter_map(|(release, share)| arm(release, f64::from(share) / 100.0, true));
    let warm = traffic.warm.iter().filter_map(|release| arm(*release, 0.0, false));
    let arms: Vec<Arm> = answering.chain(shadows).chain(warm).collect();
    let own = routes(plan);
    let is_tried =
        arms.iter().any(|arm| arm.name == arm_name(plan.candidate)) && traffic.share(plan.candidate) < WHOLE;
    let by_hand = before.rules.into_iter().filter(|rule| !own.contains(rule));
    let rules = own.iter().filter(|_| is_tried).cloned().chain(by_hand).take(MOST_RULES);
    // A rule may only name an arm that is there, and what it leads is not judged.
    let answer_decision = plan.decides.as_ref().map_or(before.answer_decision, |decides| decides.always);
    apart(EndpointSpec { arms, rules: rules.collect(), answer_decision, ..before })
}

/// The rules that a plan's routes become.
fn routes(plan: &Plan) -> Vec<Rule> {
    let rule = |route: &Route| {
        let key = match &route.key {
            RouteKey::Header(name) => Key::Header(name.clone()),
            RouteKey::Input(name) => Key::Input(name.clone()),
        };
        Rule { key, one_of: route.one_of.clone(), arm: led_name(&arm_name(plan.candidate)), shadows: false }
    };
    plan.routes.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemill_deliver::rollout::{Decides, Stage};

    use super::*;

    fn plan(candidate: Digest, incumbent: Digest) -> Plan {
        Plan {
            endpoint: "churn".to_owned(),
            environment: "prod".to_owned(),
            candidate,
            incumbent: Some(incumbent),
            contest: None,
            holdout: 0,
            routes: Vec::new(),
            author: "ada".to_owned(),
            stages: vec![Stage::Full { settle: Duration::ZERO }],
            judge: None,
            measures: None,
            decides: None,
            power: None,
            envelope: None,
            windows: Vec::new(),
            alias: None,
            starters: Vec::new(),
            policy: None,
            inputs: candidate,
        }
    }

    /// Whoever is led to the candidate is so in the shadow and in every canary, on an arm of its own, and nobody is when it has all requests or
    /// is gone; what somebody set by hand stays, for any release that is there.
    #[test]
    fn requests_that_rules_lead_have_an_arm_of_their_own() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let names = Names::from([(old, ("churn".to_owned(), 1)), (new, ("churn".to_owned(), 2))]);
        let route = Route { key: RouteKey::Header("x-preview".into()), one_of: vec!["on".into()] };
        let plan = Plan { routes: vec![route], ..plan(new, old) };
        let rule = |header: &str, arm: String| Rule {
            key: Key::Header(header.into()),
            one_of: vec![if header == "x-preview" { "on".into() } else { "vip".into() }],
            shadows: !arm.ends_with("-by-rule"),
            arm,
        };
        let by_hand =
            [rule("x-old", arm_name(old)), rule("x-new", arm_name(new)), rule("x-gone", "r-gone".into())];
        let mut now = EndpointSpec { rules: by_hand.to_vec(), ..EndpointSpec::default() };
        let shadow = Traffic { arms: vec![(old, WHOLE)], shadow: Some((new, WHOLE)), ..Traffic::default() };
        let canary = Traffic { arms: vec![(old, 9_000), (new, 1_000)], ..Traffic::default() };
        let full = Traffic { arms: vec![(new, WHOLE)], warm: vec![old], ..Traffic::default() };
        let back = Traffic { arms: vec![(old, WHOLE)], ..Traffic::default() };
        let (led_old, led_new) = (led_name(&arm_name(old)), led_name(&arm_name(new)));
        let own = rule("x-preview", led_new.clone());
        let hand = [rule("x-old", led_old.clone()), rule("x-new", led_new.clone())];
        for (traffic, wanted, answering) in [
            (&shadow, vec![own.clone(), hand[0].clone(), hand[1].clone()], vec![(arm_name(old), WHOLE)]),
            (
                &canary,
                vec![own.clone(), hand[0].clone(), hand[1].clone()],
                vec![(arm_name(new), 1_000), (arm_name(old), 9_000)],
            ),
            (
                &canary,
                vec![own, hand[0].clone(), hand[1].clone()],
                vec![(arm_name(new), 1_000), (arm_name(old), 9_000)],
            ),
            (&full, hand.to_vec(), vec![(arm_name(new), WHOLE)]),
            (&back, vec![hand[0].clone()], vec![(arm_name(old), WHOLE)]),
        ] {
            now = spec(now.clone(), &plan, traffic, &names).settle(Some(&now)).unwrap();
            assert_eq!(now.rules, wanted);
            let mut answering = answering;
            answering.sort();
            let shares: Vec<(String, u32)> =
                now.shares().into_iter().map(|(name, share)| (name.to_owned(), share)).collect();
            assert_eq!(shares, answering, "nobody is drawn to the arm of a rule");
            for rule in &now.rules {
                let arm = now.arms.iter().find(|arm| arm.name == rule.arm).unwrap();
                assert!(!arm.shadow && arm.weight == 0.0);
            }
        }
        assert_eq!(now.arms.len(), 2, "{:?}", now.arms);
    }

    /// Slots of keys are handed over so that the first ones are never the candidate's, in no stage and no rollout.
    #[test]
    fn who_is_held_out_is_the_same_in_every_stage_and_every_rollout() {
        let releases = [Digest::of(b"one"), Digest::of(b"two"), Digest::of(b"three")];
        let names =
            releases.iter().zip(1..).map(|(release, version)| (*release, ("churn".to_owned(), version)));
        let names: Names = names.collect();
        let table = |arms: &[(Digest, u32)]| Traffic { arms: arms.to_vec(), ..Traffic::default() };
        let mut known: Option<EndpointSpec> = None;
        let mut moved = Vec::new();
        for pair in releases.windows(2) {
            let [old, new] = pair else { unreachable!() };
            for given in [0, 500, 2_500, 9_900, 10_000] {
                let arms = [(*old, 10_000 - given), (*new, given)];
                let arms: Vec<(Digest, u32)> = arms.into_iter().filter(|(_, share)| *share > 0).collect();
                let before = known.clone();
                let next = spec(before.clone().unwrap_or_default(), &plan(*new, *old), &table(&arms), &names);
                let next = next.settle(before.as_ref()).unwrap();
                let first = &next.allotment[0];
                let is_spared = first.arm == arm_name(*old) && first.slots >= 100;
                assert!(is_spared || given == 10_000, "{given}: {:?}", next.allotment);
                // What has the candidate keeps it while the share grows: what stays with the incumbent are first slots.
                moved.push(next.allotment.len());
                known = Some(next);
            }
        }
        assert_eq!(
            moved,
            [1, 2, 2, 2, 1, 1, 2, 2, 2, 1],
            "an arm has one stretch, so it grows at its edge alone"
        );
    }

    /// Shares grow, and candidates are taken out one after the other, in any order: whoever is with one that is in stays with it, and
    /// what one had that is out is the incumbent's again.
    #[test]
    fn nobody_is_moved_from_one_candidate_to_another() {
        let [old, one, two, three] = [b"old".as_slice(), b"one", b"two", b"three"].map(Digest::of);
        let names = [old, one, two, three].into_iter().zip(1..).map(|(d, v)| (d, ("churn".to_owned(), v)));
        let names: Names = names.collect();
        let owners = |spec: &EndpointSpec| -> Vec<String> {
            let stretches = spec.allotment.iter();
            stretches.flat_map(|one| std::iter::repeat_n(one.arm.clone(), one.slots as usize)).collect()
        };
        for order in [[one, two, three], [two, three, one], [three, one, two], [three, two, one]] {
            let (mut spec_now, mut living) = (EndpointSpec::default(), vec![one, two, three]);
            let mut before: Option<Vec<String>> = None;
            for (at, given) in [300, 300, 1_500, 1_500, 3_300].into_iter().enumerate() {
                // Every second change takes one out.
                if at % 2 == 1 {
                    living.retain(|release| *release != order[at / 2]);
                }
                let rest = 10_000 - given * living.len() as u32;
                let arms = std::iter::once((old, rest)).chain(living.iter().map(|release| (*release, given)));
                let table = Traffic { arms: arms.collect(), ..Traffic::default() };
                let next =
                    spec(spec_now.clone(), &plan(one, old), &table, &names).settle(Some(&spec_now)).unwrap();
                let now = owners(&next);
                for (was, is) in before.iter().flatten().zip(&now) {
                    let is_in = living.iter().any(|release| arm_name(*release) == *was);
                    assert!(!is_in || is == was, "{at}: from {was} to {is}");
                    assert!(is_in || *was == arm_name(old) || is == &arm_name(old), "{at}: {was} to {is}");
                }
                assert!(now[..100].iter().all(|owner| *owner == arm_name(old)), "who is held out");
                (before, spec_now) = (Some(now), next);
            }
        }
    }

    /// Each arm decides by the threshold of its own release, the shadow and the arm of a rule among them.
    #[test]
    fn every_arm_has_the_threshold_of_its_release() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let names = Names::from([(old, ("churn".to_owned(), 1)), (new, ("churn".to_owned(), 2))]);
        let shadow = Traffic { arms: vec![(old, WHOLE)], shadow: Some((new, WHOLE)), ..Traffic::default() };
        let of = |decides: Option<Decides>| {
            let plan = Plan { decides, ..plan(new, old) };
            let spec = spec(EndpointSpec::default(), &plan, &shadow, &names).settle(None).unwrap();
            (spec.arms.iter().map(|arm| arm.threshold).collect::<Vec<_>>(), spec.answer_decision)
        };
        let decides = Decides { threshold: Some(0.4), thresholds: vec![(new, 0.2)], always: true };
        assert_eq!(of(Some(decides.clone())), (vec![Some(0.4), Some(0.2)], true));
        assert_eq!(
            of(Some(Decides { threshold: None, always: false, ..decides })),
            (vec![None, Some(0.2)], false)
        );
        assert_eq!(of(None), (vec![None, None], false));
    }

    #[test]
    fn shares_shadows_and_warm_releases_become_arms() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let names = Names::from([(old, ("churn".to_owned(), 1)), (new, ("churn".to_owned(), 2))]);
        let before = EndpointSpec { timeout_ms: Some(70), ..EndpointSpec::default() };
        let canary = Traffic { revision: 2, arms: vec![(old, 9_000), (new, 1_000)], ..Traffic::default() };
        let settled = spec(before.clone(), &plan(new, old), &canary, &names).settle(None).unwrap();
        assert_eq!(settled.timeout_ms, Some(70));
        let shares = settled.shares();
        assert_eq!((shares[&*arm_name(old)], shares[&*arm_name(new)]), (9_000, 1_000));

        let shadow = Traffic {
            revision: 1,
            arms: vec![(old, 10_000)],
            shadow: Some((new, 5_000)),
            ..Traffic::default()
        };
        let settled = spec(before.clone(), &plan(new, old), &shadow, &names).settle(None).unwrap();
        assert!(settled.arms[1].shadow);
        assert_eq!((settled.arms[1].weight, settled.shares().len()), (50.0, 1));

        let full = Traffic { revision: 3, arms: vec![(new, 10_000)], warm: vec![old], ..Traffic::default() };
        let settled = spec(before, &plan(new, old), &full, &names).settle(None).unwrap();
        assert_eq!(settled.shares(), BTreeMap::from([(&*arm_name(new), 10_000)]));
        assert_eq!(settled.arms.len(), 2, "the old release stays loaded");
    }
}
