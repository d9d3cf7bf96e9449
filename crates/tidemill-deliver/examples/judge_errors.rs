//! How often the judge errs and how soon it decides, against other rules on the same streams, as tables or, with `--json`, for
//! `cargo xtask bench judge`, which records them.
//!
//! `cargo run --release -p tidemill-deliver --example judge_errors -- [REPETITIONS] [--json]`

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

#[path = "../tests/it/stream.rs"]
mod stream;

#[path = "judge_errors/rows.rs"]
mod rows;

use rows::{AtLimit, Healthy, Speed, Tables};
use stream::{Outcome, Race, Setting, World, median, play};

/// Kind of metric, what requests are like, the effect that is looked for as a part of the mean, and the looks of a horizon.
const WORLDS: [(&str, World, f64, u64); 6] = [
    ("event_rate: errors 2 %", World::Errors(0.02), 0.5, 200),
    ("binary: failures 11 %", World::Failures(0.11), 0.2, 200),
    ("binary: failures 0.5 %", World::Failures(0.005), 0.5, 400),
    ("continuous: normal, sd 30 %", World::Normal(30.0), 0.02, 200),
    ("continuous: log-normal, sd 1", World::LogNormal(1.0), 0.05, 200),
    ("bounded_mean: cost by matrix", World::Cost(0.05), 0.2, 200),
];
/// Tails that are too heavy for a fair race: the reference, which trusts its variance, errs too often on them. That errors keep to the
/// budget is asked of the judge here too.
const HEAVY: [(&str, World, f64, u64); 2] = [
    ("continuous: log-normal, sd 1.5", World::LogNormal(1.5), 0.1, 200),
    ("continuous: revenue, sd 1.5", World::Revenue(1.5), 0.1, 200),
];
const SHARES: [f64; 2] = [0.1, 0.5];
/// Requests of both arms in a look.
const BATCH: u64 = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let repetitions = arguments.iter().find_map(|text| text.parse().ok()).unwrap_or(400);
    let tables = Tables {
        repetitions,
        healthy: healthy(repetitions),
        at_limit: at_limit(repetitions),
        speed: speed(repetitions.min(200)),
    };
    if arguments.iter().any(|text| text == "--json") {
        println!("{}", serde_json::to_string(&tables).unwrap_or_default());
    } else {
        print(&tables);
    }
}

/// So many streams of a setting, on two threads.
fn races(setting: Setting, repetitions: u64, to_verdict: bool) -> Vec<Race> {
    let half = repetitions / 2;
    let some = move |seeds: std::ops::Range<u64>| -> Vec<Race> {
        seeds.map(|seed| play(setting, seed, to_verdict)).collect()
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(move || some(0..half));
        let second = some(half..repetitions);
        let mut all = first.join().unwrap_or_default();
        all.extend(second);
        all
    })
}

fn setting((world, effect, looks): (World, f64, u64), share: f64, alpha: f64) -> Setting {
    Setting { world, share, harm: 0.0, effect, margin: None, alpha, batch: BATCH, looks }
}

fn healthy(repetitions: u64) -> Vec<Healthy> {
    let mut rows = Vec::new();
    for (kind, world, effect, looks) in WORLDS.into_iter().chain(HEAVY) {
        for share in SHARES {
            for budget in [0.05, 0.01] {
                let races = races(setting((world, effect, looks), share, budget), repetitions, false);
                let of = |test: &dyn Fn(&Race) -> bool| {
                    races.iter().filter(|race| test(race)).count() as f64 / races.len() as f64
                };
                rows.push(Healthy {
                    kind: kind.to_owned(),
                    share,
                    budget,
                    judge: of(&|race| race.judge.is_some_and(|outcome| outcome.harm)),
                    reference: of(&|race| race.reference.is_some_and(|outcome| outcome.harm)),
                    peeking_z: of(&|race| race.peeking),
                    argo_limit_0: of(&|race| race.limit_0),
                    argo_limit_3: of(&|race| race.limit_3),
                    flagger_count_5: of(&|race| race.count_5),
                });
            }
        }
    }
    rows
}

/// Harm and margin are twice the effect.
fn at_limit(repetitions: u64) -> Vec<AtLimit> {
    let mut rows = Vec::new();
    for (kind, world, effect, looks) in WORLDS.into_iter().chain(HEAVY) {
        for share in SHARES {
            let budget = 0.05;
            let margin = 2.0 * effect;
            let setting = Setting {
                harm: margin,
                margin: Some(margin),
                ..setting((world, effect, looks), share, budget)
            };
            let races = races(setting, repetitions, false);
            let shipped = races.iter().filter(|race| race.judge.is_some_and(|outcome| !outcome.harm)).count();
            let shipped = shipped as f64 / races.len() as f64;
            rows.push(AtLimit { kind: kind.to_owned(), share, budget, shipped });
        }
    }
    rows
}

fn speed(repetitions: u64) -> Vec<Speed> {
    let mut rows = Vec::new();
    for (kind, world, effect, looks) in WORLDS {
        for share in SHARES {
            for (harm, certifies) in [(0.5, false), (1.0, false), (2.5, false), (0.0, true)] {
                let setting = Setting {
                    harm: harm * effect,
                    margin: certifies.then_some(2.0 * effect),
                    looks: looks * 5,
                    ..setting((world, effect, looks), share, 0.05)
                };
                let races = races(setting, repetitions, true);
                let requests = |of: fn(&Race) -> Option<Outcome>| {
                    median(races.iter().map(|race| of(race).map(|outcome| outcome.looks * BATCH)).collect())
                };
                let (judge, reference) = (requests(|race| race.judge), requests(|race| race.reference));
                let (kind, harm) = (kind.to_owned(), harm * effect);
                rows.push(Speed { kind, share, harm, certifies, judge, reference });
            }
        }
    }
    rows
}

fn print(tables: &Tables) {
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    println!("healthy candidate, {} streams, {BATCH} requests a look: rolled back", tables.repetitions);
    println!("{:<30} share budget  judge  reference peeking z limit 0 limit 3 count 5", "kind");
    for row in &tables.healthy {
        let figures = [
            row.share,
            row.budget,
            row.judge,
            row.reference,
            row.peeking_z,
            row.argo_limit_0,
            row.argo_limit_3,
            row.flagger_count_5,
        ];
        let figures: Vec<String> = figures.into_iter().map(|part| format!("{:>8}", percent(part))).collect();
        println!("{:<30} {}", row.kind, figures.join(" "));
    }
    println!("\nat the reject limit: shipped");
    for row in &tables.at_limit {
        println!("{:<30} {:>6} {:>6}", row.kind, percent(row.share), percent(row.shipped));
    }
    println!("\nmedian requests to the verdict: judge, reference, ratio");
    for row in &tables.speed {
        let number =
            |found: Option<u64>| found.map_or_else(|| "-".to_owned(), |requests| requests.to_string());
        let ratio = row
            .judge
            .zip(row.reference)
            .map_or(f64::NAN, |(judge, reference)| judge as f64 / reference as f64);
        let what = if row.certifies { "certified".to_owned() } else { format!("harm {}", percent(row.harm)) };
        println!(
            "{:<30} {:>6} {what:<12} {:>8} {:>8} {ratio:>5.2}",
            row.kind,
            percent(row.share),
            number(row.judge),
            number(row.reference)
        );
    }
}
