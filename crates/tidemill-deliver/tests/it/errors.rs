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

/// Worlds with tails that are too heavy for verdicts to come soon; errors must not come either.
const HEAVY: [(World, f64); 3] =
    [(World::LogNormal(1.5), 0.4), (World::Revenue(1.5), 0.1), (World::Cost(0.002), 0.8)];

/// What may go wrong in so many streams without being a sign that more than the budget goes wrong: three standard deviations.
fn most_wrong() -> usize {
    let streams = STREAMS as f64;
    (streams * ALPHA + 3.0 * (streams * ALPHA * (1.0 - ALPHA)).sqrt()) as usize
}

fn setting(world: World, effect: f64, share: f64) -> Setting {
    Setting { world, share, harm: 0.0, effect, margin: None, alpha: ALPHA, batch: 500, looks: 100 }
}

/// Small shares are where a mean looks certain too soon; where tails are light they say nothing that larger ones do not.
fn settings() -> impl Iterator<Item = Setting> {
    let worlds = |worlds: &[(World, f64)], shares: [f64; 2]| -> Vec<Setting> {
        let of = |(world, effect): &(World, f64)| shares.map(|share| setting(*world, *effect, share));
        worlds.iter().flat_map(of).collect()
    };
    worlds(&WORLDS, [0.1, 0.5]).into_iter().chain(worlds(&HEAVY, [0.02, 0.1]))
}

/// In how many streams harm was found, and in how many safety.
fn found(setting: Setting) -> (usize, usize) {
    let outcomes: Vec<Outcome> = (0..STREAMS).filter_map(|seed| play(setting, seed, false).judge).collect();
    let harms = outcomes.iter().filter(|outcome| outcome.harm).count();
    (harms, outcomes.len() - harms)
}

#[test]
fn a_healthy_candidate_is_rolled_back_within_the_budget() {
    for setting in settings() {
        let (back, _) = found(setting);
        assert!(back <= most_wrong(), "{back} of {STREAMS} rolled back: {setting:?}");
    }
}

#[test]
fn a_candidate_at_its_limit_is_promoted_and_rolled_back_within_the_budget() {
    for setting in settings() {
        let limit = 2.0 * setting.effect;
        let (back, promoted) = found(Setting { harm: limit, margin: Some(limit), ..setting });
        assert!(promoted <= most_wrong(), "{promoted} of {STREAMS} promoted: {setting:?}");
        assert!(back <= most_wrong(), "{back} of {STREAMS} rolled back: {setting:?}");
    }
}

/// Harm of 1, 2 and 5 points of a hundred: of a rate of failures, and of a mean.
#[test]
fn small_harm_is_found_at_both_shares_and_the_larger_the_sooner() {
    for (world, point) in [(World::Failures(0.11), 1.0 / 0.11), (World::Normal(30.0), 1.0)] {
        for share in [0.1, 0.5] {
            let mut before = u64::MAX;
            for points in [0.01, 0.02, 0.05] {
                let harm = points * point;
                let setting = Setting { harm, looks: 2_000, ..setting(world, harm, share) };
                let outcomes: Vec<_> = (0..60).map(|seed| play(setting, seed, true).judge).collect();
                let found = outcomes.iter().flatten().filter(|outcome| outcome.harm).count();
                assert!(found >= 57, "{found} of 60 found: {setting:?}");
                let looks =
                    median(outcomes.iter().map(|outcome| outcome.map(|outcome| outcome.looks)).collect());
                let looks = looks.unwrap();
                assert!(looks < before, "{looks} looks for more harm, {before} for less: {setting:?}");
                before = looks;
            }
        }
    }
}

/// The same of what is judged by the ratio of rates, as errors are, and by what decisions cost: a point more of them goes wrong.
#[test]
fn small_harm_of_errors_and_of_costs_is_found_too() {
    for (world, point) in [(World::Errors(0.11), 1.0 / 0.11), (World::Cost(0.05), 1.0 / 0.05)] {
        for share in [0.1, 0.5] {
            let mut before = u64::MAX;
            for points in [0.01, 0.02, 0.05] {
                let harm = points * point;
                let setting = Setting { harm, looks: 2_000, ..setting(world, harm, share) };
                let outcomes: Vec<_> = (0..30).map(|seed| play(setting, seed, true).judge).collect();
                let found = outcomes.iter().flatten().filter(|outcome| outcome.harm).count();
                assert!(found >= 28, "{found} of 30 found: {setting:?}");
                let looks =
                    median(outcomes.iter().map(|outcome| outcome.map(|outcome| outcome.looks)).collect());
                let looks = looks.unwrap();
                assert!(looks < before, "{looks} looks for more harm, {before} for less: {setting:?}");
                before = looks;
            }
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
                let (judge, reference) = (judge.unwrap() as f64, reference.unwrap() as f64);
                assert!(
                    judge <= (1.5 * reference).max(reference + 1.0),
                    "{world:?} at {share}, harm {harm}, margin {margin:?}: {judge} looks, reference {reference}"
                );
            }
        }
    }
}
