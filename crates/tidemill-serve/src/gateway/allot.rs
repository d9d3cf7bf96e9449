//! Which keys belong to which arm of an endpoint: ten thousand slots, handed from arm to arm.
//!
//! A key's hash names its slot. When shares change, only arms that get less give slots away and only arms that get more
//! take them, and exactly as many as the change asks for. So raising one arm's share moves keys to that arm only,
//! whatever the number of arms. No rule that computes the owner of a key from the shares alone can do that for three
//! candidates: with any two of them at one half each, the third pair would have to share keys. Hence the allotment is
//! part of the table and is stored with it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Slots of an endpoint: one is a hundredth of a percent.
pub const SLOTS: u32 = 10_000;

/// So many slots in a row that belong to an arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SlotStretch)]
pub struct Stretch {
    /// The arm.
    pub arm: String,
    /// How many slots.
    pub slots: u32,
}

/// The slots of each weight, largest remainders first; together [`SLOTS`], or none where no weight is above zero.
/// Weights that are not whole slots are rounded, so that a change of two weights may move single slots between others.
pub fn shares(weights: &[f64]) -> Vec<u32> {
    let sum: f64 = weights.iter().sum();
    if !(sum > 0.0 && sum.is_finite()) {
        return vec![0; weights.len()];
    }
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * f64::from(SLOTS)).collect();
    let mut slots: Vec<u32> = exact.iter().map(|exact| exact.floor() as u32).collect();
    let left = SLOTS.saturating_sub(slots.iter().sum());
    let mut order: Vec<usize> = (0..weights.len()).filter(|at| exact[*at] > 0.0).collect();
    let rest = |at: usize| exact[at] - exact[at].floor();
    order.sort_by(|a, b| rest(*b).total_cmp(&rest(*a)).then(a.cmp(b)));
    for at in order.into_iter().cycle().take(left as usize) {
        slots[at] += 1;
    }
    slots
}

/// Hands slots over so that each arm has its share, moving as few as possible.
pub fn reallot(before: &[Stretch], wanted: &[(&str, u32)]) -> Vec<Stretch> {
    let mut owners: Vec<Option<usize>> = Vec::with_capacity(SLOTS as usize);
    for stretch in before {
        let arm = wanted.iter().position(|(name, _)| *name == stretch.arm);
        let room = (SLOTS as usize).saturating_sub(owners.len());
        owners.extend(std::iter::repeat_n(arm, room.min(stretch.slots as usize)));
    }
    owners.resize(SLOTS as usize, None);
    let mut need: Vec<i64> = wanted.iter().map(|(_, slots)| i64::from(*slots)).collect();
    for owner in owners.iter().flatten() {
        need[*owner] -= 1;
    }
    // The last slots are given away first: what was taken last goes back to whom it came from.
    for owner in owners.iter_mut().rev() {
        if let Some(arm) = *owner
            && need[arm] < 0
        {
            need[arm] += 1;
            *owner = None;
        }
    }
    let mut takers =
        (0..wanted.len()).filter(|arm| need[*arm] > 0).collect::<Vec<_>>().into_iter().peekable();
    for owner in owners.iter_mut().filter(|owner| owner.is_none()) {
        while takers.peek().is_some_and(|arm| need[*arm] <= 0) {
            takers.next();
        }
        let Some(arm) = takers.peek() else { break };
        need[*arm] -= 1;
        *owner = Some(*arm);
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for name in owners.into_iter().flatten().filter_map(|arm| wanted.get(arm)).map(|(name, _)| *name) {
        match stretches.last_mut() {
            Some(last) if last.arm == name => last.slots += 1,
            _ => stretches.push(Stretch { arm: name.to_owned(), slots: 1 }),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owners(allotment: &[Stretch]) -> Vec<&str> {
        allotment.iter().flat_map(|one| std::iter::repeat_n(one.arm.as_str(), one.slots as usize)).collect()
    }

    fn stretches(text: &[(&str, u32)]) -> Vec<Stretch> {
        text.iter().map(|(arm, slots)| Stretch { arm: (*arm).to_owned(), slots: *slots }).collect()
    }

    #[test]
    fn weights_become_slots() {
        for (weights, expect) in [
            (vec![90.0, 10.0], vec![9000, 1000]),
            (vec![1.0, 1.0, 1.0], vec![3334, 3333, 3333]),
            (vec![0.0, 5.0], vec![0, 10_000]),
            (vec![99.995, 0.005], vec![10_000, 0]),
            (vec![0.0, 0.0], vec![0, 0]),
            (vec![f64::NAN, 1.0], vec![0, 0]),
        ] {
            assert_eq!(shares(&weights), expect, "{weights:?}");
        }
    }

    #[test]
    fn a_step_up_and_back_leaves_everything_where_it_was() {
        let start = reallot(&[], &[("a", 10_000), ("b", 0)]);
        assert_eq!(start, stretches(&[("a", 10_000)]));
        let step = reallot(&start, &[("a", 9_000), ("b", 1_000)]);
        assert_eq!(step, stretches(&[("a", 9_000), ("b", 1_000)]));
        assert_eq!(reallot(&step, &[("a", 10_000), ("b", 0)]), start);
        // An arm that is gone leaves its slots to the others.
        assert_eq!(reallot(&step, &[("b", 10_000)]), stretches(&[("b", 10_000)]));
    }

    #[test]
    fn a_broken_allotment_is_mended() {
        let long = stretches(&[("a", 9_999), ("b", 500), ("x", 1)]);
        let mended = reallot(&long, &[("a", 5_000), ("b", 5_000)]);
        assert_eq!(mended.iter().map(|one| one.slots).sum::<u32>(), SLOTS);
        assert!(reallot(&[], &[("a", 0)]).is_empty());
    }

    proptest! {
        /// Whatever the shares were, a change moves keys only from arms that get less to arms that get more, and only
        /// as many as it must.
        #[test]
        fn changes_are_monotone_and_least(
            steps in proptest::collection::vec(proptest::collection::vec(0.0_f64..100.0, 4), 2..8)
        ) {
            const ARMS: [&str; 4] = ["a", "b", "c", "d"];
            let mut now: Vec<Stretch> = Vec::new();
            let mut had = [0_u32; 4];
            for (round, weights) in steps.iter().enumerate() {
                let shares = shares(weights);
                let wanted: Vec<(&str, u32)> = ARMS.into_iter().zip(shares.iter().copied()).collect();
                let next = reallot(&now, &wanted);
                let (before, after) = (owners(&now), owners(&next));
                prop_assert_eq!(after.len() as u32, shares.iter().sum::<u32>());
                for (arm, share) in &wanted {
                    prop_assert_eq!(after.iter().filter(|owner| *owner == arm).count() as u32, *share);
                }
                if round > 0 && before.len() == after.len() {
                    let place = |name: &str| ARMS.iter().position(|arm| *arm == name).unwrap();
                    let moved: Vec<_> = before.iter().zip(&after).filter(|(from, to)| from != to).collect();
                    for (from, to) in &moved {
                        prop_assert!(shares[place(from)] < had[place(from)], "`{}` gave without getting less", from);
                        prop_assert!(shares[place(to)] > had[place(to)], "`{}` took without getting more", to);
                    }
                    let gains: u32 = (0..4).map(|arm| shares[arm].saturating_sub(had[arm])).sum();
                    prop_assert_eq!(moved.len() as u32, gains);
                }
                had.copy_from_slice(&shares);
                now = next;
            }
        }
    }
}
