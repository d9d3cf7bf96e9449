//! From the traffic that a rollout wants to the declaration of an endpoint.

use std::collections::BTreeMap;

use tidemill_core::Digest;
use tidemill_db::Db;
use tidemill_deliver::rollout::{Plan, Traffic};
use tidemill_registry::Error;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::route::Arm;

use super::step::internal;

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
pub(super) fn arm_name(release: Digest) -> String {
    format!("r-{}", release.short())
}

/// The declaration of an endpoint under the wanted traffic: arms are the rollout's, everything else stays.
pub(super) fn spec(before: EndpointSpec, traffic: &Traffic, names: &Names) -> EndpointSpec {
    let arm = |release: Digest, weight: f64, shadow: bool| {
        let (model, version) = names.get(&release)?;
        Some(Arm {
            name: arm_name(release),
            model: model.clone(),
            version: Some(version.to_string()),
            weight,
            shadow,
        })
    };
    let answering =
        traffic.arms.iter().filter_map(|(release, share)| arm(*release, f64::from(*share), false));
    let shadows = traffic.shown().filter_map(|(release, share)| arm(release, f64::from(share) / 100.0, true));
    let warm = traffic.warm.iter().filter_map(|release| arm(*release, 0.0, false));
    let arms: Vec<Arm> = answering.chain(shadows).chain(warm).collect();
    // A rule may only name an arm that is there.
    let rules =
        before.rules.into_iter().filter(|rule| arms.iter().any(|arm| arm.name == rule.arm && !arm.shadow));
    EndpointSpec { rules: rules.collect(), arms, ..before }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let next = spec(before.clone().unwrap_or_default(), &table(&arms), &names);
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
                let next = spec(spec_now.clone(), &table, &names).settle(Some(&spec_now)).unwrap();
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

    #[test]
    fn shares_shadows_and_warm_releases_become_arms() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let names = Names::from([(old, ("churn".to_owned(), 1)), (new, ("churn".to_owned(), 2))]);
        let before = EndpointSpec { timeout_ms: Some(70), ..EndpointSpec::default() };
        let canary = Traffic { revision: 2, arms: vec![(old, 9_000), (new, 1_000)], ..Traffic::default() };
        let settled = spec(before.clone(), &canary, &names).settle(None).unwrap();
        assert_eq!(settled.timeout_ms, Some(70));
        let shares = settled.shares();
        assert_eq!((shares[&*arm_name(old)], shares[&*arm_name(new)]), (9_000, 1_000));

        let shadow = Traffic {
            revision: 1,
            arms: vec![(old, 10_000)],
            shadow: Some((new, 5_000)),
            ..Traffic::default()
        };
        let settled = spec(before.clone(), &shadow, &names).settle(None).unwrap();
        assert!(settled.arms[1].shadow);
        assert_eq!((settled.arms[1].weight, settled.shares().len()), (50.0, 1));

        let full = Traffic { revision: 3, arms: vec![(new, 10_000)], warm: vec![old], ..Traffic::default() };
        let settled = spec(before, &full, &names).settle(None).unwrap();
        assert_eq!(settled.shares(), BTreeMap::from([(&*arm_name(new), 10_000)]));
        assert_eq!(settled.arms.len(), 2, "the old release stays loaded");
    }
}
