//! Pairs of columns over windows: a correlation that is lost fires and is named, and luck fires as seldom as declared.

use std::time::Duration;

use tidemill_core::Timestamp;
use tidemill_monitor::alert::Change;
use tidemill_monitor::window::Window;
use tidemill_monitor::{Compared, Declaration, Evidence, Exposure, Memory, Seen, Side, Watch, judge};
use tidemill_stats::dependence::{Beside, Cells, change};
use tidemill_stats::drift::{Column, Level, Pair, Rules, Sampled, Values, judge as decide, measure};
use tidemill_stats::random::Random;
use tidemill_stats::sample::{Sample, sorted};

const NAMES: [&str; 4] = ["distance", "minutes", "wind", "kind"];

fn watch(share: &str) -> Watch {
    let file = format!("project: flights\nmonitors:\n  - drift: {{window: 1d{share}}}\n");
    let project = tidemill_project::parse(&file, "tidemill.yaml").unwrap();
    let declared = Declaration {
        project: "flights".to_owned(),
        endpoint: "late".to_owned(),
        objective: None,
        monitors: project.monitors,
        receivers: Vec::new(),
        redact: Vec::new(),
    };
    declared.watches().remove(0)
}

/// Rows of which `distance` and `minutes` correlate by `r`; `kind` goes with `wind`, and the tails of `wind` are heavy.
fn rows(count: usize, r: f64, seed: u64, item: u64) -> ([Vec<f64>; 3], Vec<u32>) {
    let mut random = Random::new(seed, item);
    let (mut numbers, mut kinds) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    for _ in 0..count {
        let (x, noise) = (random.normal(), random.normal());
        let wind = random.normal() / random.unit().max(1e-9);
        numbers[0].push(x);
        numbers[1].push(r * x + (1.0 - r * r).sqrt() * noise);
        numbers[2].push(wind);
        kinds.push(if wind > 0.0 && random.unit() < 0.5 { 3 } else { random.below(3) });
    }
    (numbers, kinds)
}

fn column(place: usize, importance: f64, values: Values<'_>) -> Column<'_> {
    Column {
        name: NAMES[place],
        importance: Some(importance),
        missing_reference: 0,
        missing_current: 0,
        values,
    }
}

/// A window of so many rows against a reference of 1,000 rows whose correlation is 0.6; a thousand windows share one.
fn compared(count: usize, r: f64, seed: u64, importance: [f64; 4], rules: &Rules) -> Compared {
    let (reference, current) = (rows(1_000, 0.6, 1, seed / 1_000), rows(count, r, 2, seed));
    let measured = (0..4)
        .map(|place| {
            if place == 3 {
                let count = |codes: &[u32]| {
                    let mut counts = vec![0.0; 4];
                    codes.iter().for_each(|code| counts[*code as usize] += 1.0);
                    counts
                };
                let (before, after) = (count(&reference.1), count(&current.1));
                let values =
                    Values::Categorical { labels: &[], reference: &before, current: &after, complete: true };
                return measure(&column(place, importance[place], values), rules);
            }
            let (before, after) = (sorted(reference.0[place].clone()), sorted(current.0[place].clone()));
            let values = Values::Numeric {
                reference: Sample::exact(&before),
                current: Sample::exact(&after),
                moments: None,
            };
            measure(&column(place, importance[place], values), rules)
        })
        .collect();
    let cells = |side: &([Vec<f64>; 3], Vec<u32>), place: usize| match side.0.get(place) {
        Some(numbers) => Cells::Numbers(numbers.clone()),
        None => Cells::Categories(side.1.clone()),
    };
    let beside: Vec<Beside> =
        (0..4).map(|place| Beside::new(cells(&reference, place), cells(&current, place)).unwrap()).collect();
    let mut pairs = Vec::new();
    for i in 0..4 {
        for j in i + 1..4 {
            let Some(found) = change(&beside[i], &beside[j], rules.min_rows) else { continue };
            pairs.push(Pair {
                columns: (NAMES[i], NAMES[j]),
                reference: (found.reference, found.rows.0),
                current: (found.current, found.rows.1),
                sampled: Some(Sampled {
                    z: found.z,
                    p: found.p,
                    of: (None, found.categories.1.map(|_| "gust")),
                }),
            });
        }
    }
    Compared {
        side: Side::Inputs,
        against: "the data that late@1 was trained on".to_owned(),
        rows_reference: 1_000,
        rows: count as u64,
        skipped: Vec::new(),
        battery: decide(measured, &pairs, None, rules),
    }
}

fn day(number: u64) -> Window {
    Window::containing(Timestamp::from_millis(number as i64 * 86_400_000), Duration::from_secs(86_400))
}

fn exposure() -> Exposure {
    Exposure { decisions: 1_000, cost_per_decision: Some(2.0) }
}

#[test]
fn a_correlation_that_is_lost_fires_and_names_its_columns() {
    let (watch, mut memory) = (watch(""), Memory::default());
    let rules = Rules::default();
    for number in 0..5 {
        let seen = Seen::Drift(compared(400, 0.6, 900_000 + number, [1.0; 4], &rules));
        let found = judge(&watch, &memory, day(number), &seen, None, exposure());
        assert_eq!(found.change, None, "{}", found.verdict.why);
        memory = found.memory;
    }
    let lost = compared(400, 0.0, 900_010, [1.0; 4], &rules);
    assert!(
        lost.battery.columns.iter().all(|column| column.level < Level::Major),
        "no column moved by itself"
    );
    let found = judge(&watch, &memory, day(5), &Seen::Drift(lost), None, exposure());
    assert_eq!(found.change, Some(Change::Firing), "{:?}", found.verdict);
    let expected = "inputs moved against the data that late@1 was trained on";
    assert!(found.verdict.why.starts_with(expected), "{}", found.verdict.why);
    assert!(
        found.verdict.why.contains("the correlation of `distance` and `minutes` went from 0."),
        "{}",
        found.verdict.why
    );
    // Two of four columns that matter alike are in it.
    assert_eq!((found.verdict.value, found.verdict.at_risk), (Some(0.5), Some(1_000.0)));
    let Some(Evidence::Drift { pairs, p, level, .. }) = found.verdict.evidence else { panic!() };
    assert_eq!(pairs[0].columns, ["distance", "minutes"]);
    assert!(p.unwrap() < level && pairs[0].level == Level::Major);
}

#[test]
fn pairs_count_by_what_their_columns_matter() {
    let judged = |share: &str, importance: [f64; 4]| {
        let share_of = if share.is_empty() { 0.0 } else { 0.6 };
        let rules = Rules { major_share: share_of, ..Rules::default() };
        let seen = Seen::Drift(compared(400, 0.0, 900_010, importance, &rules));
        judge(&watch(share), &Memory::default(), day(0), &seen, None, exposure()).change
    };
    assert_eq!(judged("", [1.0; 4]), Some(Change::Firing));
    // A share that two of four columns do not reach, and one that they do as they matter more.
    assert_eq!(judged(", share: 0.6", [1.0; 4]), None);
    assert_eq!(judged(", share: 0.6", [3.0, 1.0, 1.0, 1.0]), Some(Change::Firing));
    // The model uses neither.
    assert_eq!(judged("", [0.0, 0.0, 1.0, 1.0]), None);
}

/// 200 monitors of 10 windows without drift, each with a reference of its own: how many ever fire.
#[test]
fn without_drift_pairs_fire_as_seldom_as_declared() {
    let (watch, rules) = (watch(""), Rules::default());
    let mut fired = 0_u32;
    for monitor in 0..200_u64 {
        let (mut memory, mut did) = (Memory::default(), false);
        for number in 0..10 {
            let seen = Seen::Drift(compared(250, 0.6, monitor * 1_000 + number, [1.0; 4], &rules));
            let found = judge(&watch, &memory, day(number), &seen, None, exposure());
            did |= found.change == Some(Change::Firing);
            memory = found.memory;
        }
        fired += u32::from(did);
    }
    // 5 % of 200 and three standard deviations.
    assert!(fired <= 10 + 9, "{fired} of 200 monitors fired");
}
