//! How often the judge errs and how soon it decides, against other rules on the same streams, as a table.
//!
//! `cargo run --release -p tidemill-deliver --example judge_errors -- [REPETITIONS]`

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

#[path = "../tests/it/stream.rs"]
mod stream;

use stream::{Setting, World, median, play};

fn main() {
    let repetitions: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(400);
    let worlds = [
        ("failures 11 %", World::Failures(0.11), 0.2, 200),
        ("failures 0.5 %", World::Failures(0.005), 0.5, 400),
        ("normal, sd 30", World::Normal(30.0), 0.02, 200),
        ("log-normal, sd 1", World::LogNormal(1.0), 0.05, 200),
        ("cost by matrix", World::Cost(0.05), 0.2, 200),
    ];
    println!("healthy candidate, {repetitions} streams, 1,000 requests a look: share of streams rolled back");
    println!("kind               share alpha   judge  reference  peeking z  limit 0  limit 3  count 5");
    for (name, world, effect, looks) in worlds {
        for share in [0.1, 0.5] {
            for alpha in [0.05, 0.01] {
                let setting =
                    Setting { world, share, harm: 0.0, effect, margin: None, alpha, batch: 1000, looks };
                let races: Vec<_> = (0..repetitions).map(|seed| play(setting, seed, false)).collect();
                let part = |count: usize| 100.0 * count as f64 / repetitions as f64;
                let of = |test: &dyn Fn(&stream::Race) -> bool| {
                    part(races.iter().filter(|race| test(race)).count())
                };
                println!(
                    "{name:<18} {:>4} % {alpha:>5} {:>6.2} % {:>8.2} % {:>8.1} % {:>6.1} % {:>6.1} % {:>6.1} %",
                    share * 100.0,
                    of(&|race| race.judge.is_some_and(|outcome| outcome.harm)),
                    of(&|race| race.reference.is_some_and(|outcome| outcome.harm)),
                    of(&|race| race.peeking),
                    of(&|race| race.limit_0),
                    of(&|race| race.limit_3),
                    of(&|race| race.count_5),
                );
            }
        }
    }
    println!(
        "\nat the margin (alpha 0.05): share of streams promoted, and rolled back; harm = margin = twice the effect"
    );
    for (name, world, effect, looks) in worlds {
        for share in [0.1, 0.5] {
            let margin = 2.0 * effect;
            let setting = Setting {
                world,
                share,
                harm: margin,
                effect,
                margin: Some(margin),
                alpha: 0.05,
                batch: 1000,
                looks,
            };
            let races: Vec<_> = (0..repetitions).map(|seed| play(setting, seed, false)).collect();
            let of = |harm: bool| {
                let wrong =
                    races.iter().filter(|race| race.judge.is_some_and(|outcome| outcome.harm == harm));
                100.0 * wrong.count() as f64 / repetitions as f64
            };
            println!("{name:<18} {:>4} % {:>6.2} % {:>6.2} %", share * 100.0, of(false), of(true));
        }
    }
    println!("\nmedian looks to the verdict (alpha 0.05): judge, reference");
    for (name, world, effect, looks) in worlds {
        for share in [0.1, 0.5] {
            for (harm, margin) in [(0.5, None), (1.0, None), (2.5, None), (0.0, Some(1.0))] {
                let margin = margin.map(|margin: f64| margin * 2.0 * effect);
                let setting = Setting {
                    world,
                    share,
                    harm: harm * effect,
                    effect,
                    margin,
                    alpha: 0.05,
                    batch: 1000,
                    looks: looks * 5,
                };
                let races: Vec<_> = (0..repetitions.min(200)).map(|seed| play(setting, seed, true)).collect();
                let looks = |of: fn(&stream::Race) -> Option<stream::Outcome>| {
                    median(races.iter().map(|race| of(race).map(|outcome| outcome.looks)).collect())
                };
                let (judge, reference) = (looks(|race| race.judge), looks(|race| race.reference));
                let ratio = judge.zip(reference).map(|(judge, reference)| judge as f64 / reference as f64);
                println!(
                    "{name:<18} {:>4} % harm {:>4.1} % {} {:>6} {:>6} {:>5.2}",
                    share * 100.0,
                    harm * effect * 100.0,
                    if margin.is_some() { "margin" } else { "      " },
                    judge.map_or("-".to_owned(), |looks| looks.to_string()),
                    reference.map_or("-".to_owned(), |looks| looks.to_string()),
                    ratio.unwrap_or(f64::NAN)
                );
            }
        }
    }
}
