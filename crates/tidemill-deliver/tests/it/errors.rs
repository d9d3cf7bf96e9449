//! How often the judge errs, and how soon it decides. The whole table is printed by `examples/judge_errors.rs`.

use crate::stream::{Outcome, Setting, World, median, play};

const STREAMS: u64 = 200;
const ALPHA: f64 = 0.05;

/// Worlds with the effect that is looked for, as a part of the mean.
const WORLDS: [(World, f64); 5] = [
    (World::Failures(0.11), 0.2),
    (World::Failures(0.005), 0.8),
    (World::Normal(30.0), 0.03),
    (World::LogNormal(1.0), 0.1),
    (World::Cost(0.05), 0.3),
];

/// What may go wrong in so many streams without being a sign that more than the budget goes wrong: three standard deviations.
fn most_wrong() -> usize {
    let streams = STREAMS as f64;
    (streams * ALPHA + 3.0 * (streams * ALPHA * (1.0 - ALPHA)).sqrt()) as usize
}

fn setting(world: World, effect: f64, share: f64) -> Setting {
    Setting { world, share, harm: 0.0, effect, margin: None, alpha: ALPHA, batch: 500, looks: 100 }
}

fn wrong(setting: Setting, is_wrong: fn(Outcome) -> bool) -> usize {
    (0..STREAMS).filter(|seed| play(setting, *seed, false).judge.is_some_and(is_wrong)).count()
}

#[test]
fn a_healthy_candidate_is_rolled_back_within_the_budget() {
    for (world, effect) in WORLDS {
        for share in [0.1, 0.5] {
            let wrong = wrong(setting(world, effect, share), |outcome| outcome.harm);
            assert!(wrong <= most_wrong(), "{world:?} at {share}: {wrong} of {STREAMS}");
        }
    }
}

#[test]
fn a_candidate_at_its_limit_is_promoted_and_rolled_back_within_the_budget() {
    for (world, effect) in WORLDS {
        for share in [0.1, 0.5] {
            let at_limit =
                Setting { harm: 2.0 * effect, margin: Some(2.0 * effect), ..setting(world, effect, share) };
            let promoted = wrong(at_limit, |outcome| !outcome.harm);
            assert!(promoted <= most_wrong(), "{world:?} at {share}: {promoted} of {STREAMS} promoted");
            let back = wrong(at_limit, |outcome| outcome.harm);
            assert!(back <= most_wrong(), "{world:?} at {share}: {back} of {STREAMS} rolled back");
        }
    }
}

#[test]
fn a_test_that_is_looked_at_after_every_batch_without_care_is_far_beyond_it() {
    let wrong = (0..STREAMS)
        .filter(|seed| play(setting(World::Failures(0.11), 0.2, 0.5), *seed, false).peeking)
        .count();
    assert!(wrong > 2 * most_wrong(), "{wrong} of {STREAMS}");
}

#[test]
fn verdicts_come_as_soon_as_those_of_the_reference() {
    for (world, effect) in WORLDS {
        for share in [0.1, 0.5] {
            for (harm, margin) in [(1.0, None), (2.0, None), (0.0, Some(2.0))] {
                let setting = Setting {
                    harm: harm * effect,
                    margin: margin.map(|margin: f64| margin * effect),
                    looks: 1000,
                    ..setting(world, effect, share)
                };
                let races: Vec<_> = (0..60).map(|seed| play(setting, seed, true)).collect();
                let judge =
                    median(races.iter().map(|race| race.judge.map(|outcome| outcome.looks)).collect());
                let reference =
                    median(races.iter().map(|race| race.reference.map(|outcome| outcome.looks)).collect());
                // The exact test of money knows nothing of the values' variance before it has seen them.
                let most = if matches!(world, World::Cost(_)) { 2.5 } else { 1.5 };
                let (judge, reference) = (judge.unwrap() as f64, reference.unwrap() as f64);
                assert!(
                    judge <= (most * reference).max(reference + 1.0),
                    "{world:?} at {share}, harm {harm}, margin {margin:?}: {judge} looks, reference {reference}"
                );
            }
        }
    }
}
