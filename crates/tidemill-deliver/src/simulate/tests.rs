//! What plans come to on drawn traffic, as tables.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::approval::Rule;
use crate::judge::{Amount, Better, Kind, Metric, Spec, Tier};
use crate::rollout::{Stage, Until};

const HOUR: Duration = Duration::from_secs(3_600);

fn canary(share: u32, at_most: Option<Duration>) -> Stage {
    let tiers = BTreeSet::from([Tier::Operational, Tier::Label, Tier::Business]);
    Stage::Canary { share, until: Until { at_most, tiers, ..Until::default() } }
}

fn full() -> Stage {
    Stage::Full { settle: Duration::ZERO }
}

fn rate() -> Kind {
    Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: None }
}

/// One metric and what it is like.
fn one(kind: Kind, distribution: Distribution) -> (Metric, Option<Source>) {
    let level = distribution.mean();
    let metric = Metric { name: "m".into(), kind, tier: Tier::Operational, critical: true, required: true };
    (metric, Some(Source { distribution, level, per_request: 1.0, delay: 0.0 }))
}

fn scene(metrics: Vec<(Metric, Option<Source>)>, stages: Vec<Stage>, an_hour: f64) -> Scene {
    let (metrics, sources) = metrics.into_iter().unzip();
    Scene {
        stages,
        judge: Spec { error_budget: 0.05, metrics, slices: None },
        candidates: 1,
        sources,
        slices: Vec::new(),
        pace: Pace::constant(an_hour),
        round: Duration::from_secs(1),
        horizon: 240 * HOUR,
    }
}

fn summary(scene: &Scene, harm: Harm, repetitions: u64) -> Summary {
    summary_of(scene, &harms(harm), repetitions)
}

fn harms(harm: Harm) -> Harms {
    Harms { by: if harm == Harm::None { vec![] } else { vec![(0, harm)] }, within: None }
}

fn summary_of(scene: &Scene, harms: &Harms, repetitions: u64) -> Summary {
    Summary::of(&scene.judge, &simulate(scene, harms, (7, repetitions), 2, &|| true).unwrap())
}

fn kinds() -> Vec<(&'static str, Kind, Distribution)> {
    let better = Better::Lower;
    let (none, some) = (Amount::Absolute(0.0), Amount::Relative(0.2));
    vec![
        ("rate", rate(), Distribution::Rate(0.02)),
        (
            "share",
            Kind::Binary {
                better,
                tolerate: none,
                reject: Amount::Relative(0.3),
                effect: Amount::Relative(0.3),
            },
            Distribution::Rate(0.1),
        ),
        (
            "numbers",
            Kind::Continuous { better: Better::Higher, tolerate: none, reject: some, effect: some },
            Distribution::of(&(0..400).map(|i| f64::from(i % 37) * 1.5).collect::<Vec<_>>()).unwrap(),
        ),
        (
            "money",
            Kind::BoundedMean { better, least: 0.0, most: 120.0, tolerate: 0.0, reject: 3.0 },
            Distribution::Values(vec![(0.0, 0.8), (15.0, 0.15), (120.0, 0.05)]),
        ),
        (
            "differences",
            Kind::Paired { better, least: -120.0, most: 120.0, tolerate: 0.0, reject: 3.0 },
            Distribution::Values(vec![(-120.0, 0.03), (0.0, 0.94), (120.0, 0.03)]),
        ),
    ]
}

#[test]
fn errors_stay_in_the_budget_and_large_harm_is_found() {
    for (name, kind, distribution) in kinds() {
        let stages = match kind {
            Kind::Paired { .. } => {
                vec![
                    Stage::Shadow {
                        share: 10_000,
                        until: Until { tiers: BTreeSet::from([Tier::Operational]), ..Until::default() },
                    },
                    full(),
                ]
            }
            _ => vec![canary(2_000, None), full()],
        };
        let is_paired = matches!(kind, Kind::Paired { .. });
        let (metric, source) = one(kind, distribution);
        let level = if is_paired { 6.0 } else { source.as_ref().unwrap().level };
        let source = source.map(|source| Source { level, ..source });
        let scene = scene(vec![(metric, source)], stages, 5_000.0);
        let healthy = summary(&scene, Harm::None, 150);
        // Five per cent of 150, and three standard deviations.
        assert!(healthy.rolled_back.count <= 15, "{name}: {healthy:?}");
        assert!(healthy.shipped.share > 0.8, "{name}: {healthy:?}");
        let at_limit = summary(&scene, Harm::Reject, 150);
        assert!(at_limit.shipped.count <= 15, "{name}: {at_limit:?}");
        let doubled = summary(&scene, if name == "rate" { Harm::Times(3.0) } else { Harm::Times(2.0) }, 100);
        assert!(doubled.rolled_back.share > 0.9, "{name}: {doubled:?}");
        assert!(doubled.hours.median.unwrap() < healthy.hours.median.unwrap() * 4.0, "{name}");
    }
}

#[test]
fn a_seed_is_the_same_on_any_number_of_threads_and_another_one_is_not() {
    let (metric, source) = one(rate(), Distribution::Rate(0.05));
    let scene =
        scene(vec![(metric, source)], vec![canary(1_000, None), canary(5_000, None), full()], 2_000.0);
    let runs = |seed, threads| simulate(&scene, &harms(Harm::None), (seed, 24), threads, &|| true).unwrap();
    assert_eq!(runs(1, 1), runs(1, 3));
    assert_ne!(runs(1, 1), runs(2, 1));
    assert_eq!(
        runs(1, 1)[..9],
        simulate(&scene, &harms(Harm::None), (1, 9), 2, &|| true).unwrap()[..],
        "fewer are the first ones"
    );
}

/// Harm in a tenth of requests is lost among all, and found where slices are looked at; healthy candidates are not rolled back more often for
/// it.
#[test]
fn harm_in_one_slice_is_found_there() {
    let column = Column {
        name: "origin".into(),
        values: vec![(Some("JFK".into()), 0.6), (Some("LGA".into()), 0.1), (None, 0.3)],
    };
    for (name, kind, distribution) in
        kinds().into_iter().filter(|(name, ..)| ["rate", "money"].contains(name))
    {
        let (metric, source) = one(kind, distribution);
        let mut scene = scene(vec![(metric, source)], vec![canary(5_000, None), full()], 5_000.0);
        let slices = |by: &str| crate::judge::Slices { by: vec![by.to_owned()], most: 50, min_samples: 300 };
        scene.judge.slices = Some(slices("origin"));
        scene.slices = vec![column.clone()];
        // A stage long enough that the slice has its requests.
        let Stage::Canary { until, .. } = &mut scene.stages[0] else { panic!() };
        until.at_least = 20 * HOUR;
        let healthy = summary(&scene, Harm::None, 120);
        assert!(healthy.rolled_back.count <= 12, "{name}: {healthy:?}");
        assert!(healthy.shipped.share > 0.8, "{name}: {healthy:?}");
        let slice = crate::judge::Slice { column: "origin".into(), value: Some("LGA".into()) };
        let harm = |within: Option<crate::judge::Slice>| Harms { by: vec![(0, Harm::Times(3.0))], within };
        let found = summary_of(&scene, &harm(Some(slice.clone())), 60);
        assert!(found.rolled_back.share > 0.9, "{name}: {found:?}");
        assert_eq!(found.slices[0].0, "origin = LGA", "{name}: {found:?}");
        assert!(found.slices[0].1 > 15, "{name}: {found:?}");
        // Without anybody who looks at the slice it is a fifth more of all, which an error rate may be.
        let unseen = Scene { judge: Spec { slices: None, ..scene.judge.clone() }, ..scene.clone() };
        let missed = summary_of(&unseen, &harm(Some(slice)), 60);
        assert!(missed.slices.is_empty(), "{name}: {missed:?}");
        assert!(name != "rate" || missed.rolled_back.count < 8, "{name}: {missed:?}");
        // Everywhere it is the metric itself that says so.
        let everywhere = summary_of(&scene, &harm(None), 40);
        assert!(everywhere.rolled_back.share > 0.9, "{name}: {everywhere:?}");
    }
    let (metric, source) = one(rate(), Distribution::Rate(0.02));
    let scene = scene(vec![(metric, source)], vec![canary(5_000, None), full()], 5_000.0);
    let slice = crate::judge::Slice { column: "origin".into(), value: None };
    let nowhere = Harms { by: vec![(0, Harm::Reject)], within: Some(slice) };
    let refused = simulate(&scene, &nowhere, (1, 1), 1, &|| true).unwrap_err();
    assert_eq!(refused.to_string(), "nothing is known of the slice `other values of origin`");
}

#[test]
fn stages_end_as_in_a_rollout() {
    let (metric, source) = one(rate(), Distribution::Rate(0.05));
    let gate = Stage::Gate {
        approve: Rule { role: "owner".into(), people: vec![], count: 1, expires: None, authenticated: false },
    };
    let samples = Until { verdict: false, samples: 1_000, ..Until::default() };
    let time = Until { verdict: false, at_least: 3 * HOUR, ..Until::default() };
    let stages = vec![
        gate,
        Stage::Shadow { share: 10_000, until: samples },
        Stage::Canary { share: 500, until: time },
        canary(5_000, None),
        full(),
    ];
    let scene = scene(vec![(metric, source)], stages, 500.0);
    let found = summary(&scene, Harm::None, 40);
    assert_eq!(found.stages.iter().map(|one| one.stage).collect::<Vec<_>>(), [1, 2, 3]);
    let shadow = &found.stages[0];
    assert!((1.9..2.2).contains(&shadow.hours.median.unwrap()), "{shadow:?}");
    assert_eq!(found.stages[1].hours, Quantiles { median: Some(3.0), p90: Some(3.0) });
    let (all, candidate) =
        (found.stages[1].requests.median.unwrap(), found.stages[1].candidate.median.unwrap());
    assert!((all - 1_500.0).abs() < 100.0 && (candidate - 75.0).abs() < 20.0, "{all} {candidate}");
    assert_eq!(found.waited_for.first().map(|(metric, _)| metric.as_str()), Some("m"));
}

#[test]
fn too_little_traffic_decides_nothing() {
    let table = [
        // Requests an hour, the longest time of the stage, what becomes of it.
        (0.0, None, "open"),
        (2.0, None, "open"),
        (2.0, Some(24 * HOUR), "timed out"),
        (50_000.0, Some(24 * HOUR), "shipped"),
    ];
    for (an_hour, at_most, wanted) in table {
        let (metric, source) = one(rate(), Distribution::Rate(0.02));
        let scene = scene(vec![(metric, source)], vec![canary(1_000, at_most), full()], an_hour);
        let found = summary(&scene, Harm::None, 20);
        let all = |part: Part| part.count >= 18;
        let is = match wanted {
            "open" => all(found.undecided) && found.hours.median.is_none(),
            "timed out" => all(found.timed_out) && found.stages[0].undecided >= 18,
            _ => all(found.shipped) && found.hours.p90.is_some(),
        };
        assert!(is, "{an_hour} {at_most:?}: {found:?}");
    }
    // Of what is not known nothing is seen, and without it there is no advance.
    let (metric, _) = one(rate(), Distribution::Rate(0.02));
    let unseen = scene(vec![(metric, None)], vec![canary(1_000, None), full()], 5_000.0);
    assert!(summary(&unseen, Harm::None, 5).undecided.count == 5);
    let refused = simulate(&unseen, &harms(Harm::Reject), (1, 1), 1, &|| true);
    assert_eq!(refused, Err(SimulateError::Harm("m".into())));
}

#[test]
fn outcomes_are_judged_when_they_are_known() {
    let (_, kind, distribution) = kinds().remove(3);
    let (metric, source) = one(kind, distribution);
    let times: Vec<f64> = [0.0, 12.0]
        .into_iter()
        .map(|delay| {
            let source = source.clone().map(|source| Source { delay, ..source });
            let scene = scene(vec![(metric.clone(), source)], vec![canary(5_000, None), full()], 20_000.0);
            summary(&scene, Harm::None, 30).hours.median.unwrap()
        })
        .collect();
    assert!((11.9..13.5).contains(&(times[1] - times[0])), "{times:?}");
}

#[test]
fn harm_moves_the_mean_by_its_amount() {
    for (name, kind, distribution) in kinds() {
        let source = Source { level: distribution.mean(), distribution, per_request: 1.0, delay: 0.0 };
        let sign = if name == "numbers" { -1.0 } else { 1.0 };
        for (harm, by) in
            [(Harm::None, 0.0), (Harm::Times(1.05), 0.05 * source.level), (Harm::By(0.01), 0.01)]
        {
            let moved = source.harmed(&kind, harm).unwrap().mean() - source.distribution.mean();
            assert!((moved - sign * by).abs() < 1e-9, "{name} {harm:?}: {moved}");
        }
    }
    let money = kinds().remove(3);
    let source = Source { level: 8.25, distribution: money.2, per_request: 1.0, delay: 0.0 };
    let Distribution::Values(points) = source.harmed(&money.1, Harm::Reject).unwrap() else { panic!() };
    assert_eq!(
        points.iter().map(|(value, _)| *value).collect::<Vec<_>>(),
        [0.0, 15.0, 120.0],
        "no value is new"
    );
}

#[test]
fn many_values_become_few_with_the_same_mean_and_variance() {
    let values: Vec<f64> = (1..=1_000).map(|i| (f64::from(i) / 100.0).exp()).collect();
    let Some(Distribution::Values(points)) = Distribution::of(&values) else { panic!() };
    assert_eq!(points.len(), MOST_POINTS);
    let mean = values.iter().sum::<f64>() / 1_000.0;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1_000.0;
    let of = |f: &dyn Fn(f64) -> f64| points.iter().map(|(value, chance)| chance * f(*value)).sum::<f64>();
    assert!((of(&|value| value) - mean).abs() < 1e-9 * mean);
    assert!((of(&|value| (value - mean).powi(2)) - variance).abs() < 1e-9 * variance);
    assert_eq!(Distribution::of(&[f64::NAN]), None);
    assert_eq!(
        Distribution::of(&[1.0, 2.0, 1.0, 1.0]),
        Some(Distribution::Values(vec![(1.0, 0.75), (2.0, 0.25)]))
    );
}

#[test]
fn what_is_assumed_has_the_mean_and_the_deviation_that_are_said() {
    for (mean, deviation, range) in
        [(8.0, 25.0, (0.0, 120.0)), (0.2, 0.2, (0.0, 1.0)), (5.0, 0.0, (0.0, 9.0))]
    {
        let Some(Distribution::Values(points)) = Distribution::skewed((mean, deviation), range) else {
            panic!()
        };
        let of =
            |f: &dyn Fn(f64) -> f64| points.iter().map(|(value, chance)| chance * f(*value)).sum::<f64>();
        assert!((of(&|value| value) - mean).abs() < 1e-9, "{points:?}");
        assert!((of(&|value| (value - mean).powi(2)).sqrt() - deviation).abs() < 1e-9, "{points:?}");
    }
    for (moments, range) in
        [((8.0, 200.0), (0.0, 120.0)), ((-1.0, 1.0), (0.0, 1.0)), ((2.0, 0.1), (0.0, 1.0))]
    {
        assert_eq!(Distribution::skewed(moments, range), None, "{moments:?}");
    }
    let Distribution::Values(points) = kinds().remove(3).2.differences(0.1) else { panic!() };
    let mean: f64 = points.iter().map(|(value, chance)| value * chance).sum();
    let zero = points.iter().find(|(value, _)| *value == 0.0).unwrap().1;
    let same = 0.9 + 0.1 * (0.8 * 0.8 + 0.15 * 0.15 + 0.05 * 0.05);
    assert!(mean.abs() < 1e-12 && (zero - same).abs() < 1e-12, "{points:?}");
}

#[test]
fn harm_at_the_limit_is_none_that_is_negligible() {
    let kind = Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: Some(0.005) };
    for (rate, wanted) in [(0.0001, 0.005), (0.01, 0.02)] {
        let source =
            Source { distribution: Distribution::Rate(rate), level: rate, per_request: 1.0, delay: 0.0 };
        assert!((source.harmed(&kind, Harm::Reject).unwrap().mean() - wanted).abs() < 1e-12);
    }
}

#[test]
fn the_power_of_a_plan_in_words() {
    let table = [
        (50_000.0, 48, None, "at 50000 requests an hour this plan decides in"),
        (120.0, 48, None, "at 120 requests an hour this plan needs about"),
        (
            0.01,
            48,
            None,
            "at 0.0 requests an hour this plan needs more than 180 days to decide `m`, and has 48 h",
        ),
        (0.0, 48, None, "no requests were seen, so this plan decides nothing in 48 h"),
        (
            120.0,
            480,
            Some(6 * HOUR),
            "at 120 requests an hour the longest time of a stage (`max`) is over before `m` is decided",
        ),
    ];
    for (an_hour, within, at_most, wanted) in table {
        let (metric, source) = one(rate(), Distribution::Rate(0.02));
        let scene = scene(vec![(metric, source)], vec![canary(1_000, at_most), full()], an_hour);
        let power = Power { decide_within: within * HOUR, otherwise: Otherwise::Warn };
        let found = adequacy(&scene, power, &|| true).unwrap();
        assert!(found.words.starts_with(wanted), "{}", found.words);
        assert_eq!(found.is_enough, an_hour > 1_000.0, "{found:?}");
    }
    let (metric, _) = one(rate(), Distribution::Rate(0.02));
    let unseen = scene(vec![(metric, None)], vec![canary(1_000, None), full()], 120.0);
    let found =
        adequacy(&unseen, Power { decide_within: HOUR, otherwise: Otherwise::Refuse }, &|| true).unwrap();
    assert!(found.words.starts_with("nothing is known of `m`"), "{}", found.words);
}
