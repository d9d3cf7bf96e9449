//! How often monitors alarm where nothing happens, and that they do where something does.

use std::time::Duration;

use serde_json::json;
use tidemill_core::Timestamp;
use tidemill_monitor::window::Window;
use tidemill_monitor::{AnsweredBy, Declaration, Exposure, Memory, Seen, State, Watch, judge};
use tidemill_stats::random::Random;

fn watch(monitor: serde_json::Value) -> (Declaration, Watch) {
    let declaration: Declaration = serde_json::from_value(json!({
        "project": "p", "endpoint": "e", "monitors": [monitor],
        "objective": {
            "task": {"kind": "regression", "target": "y"}, "kpi": {"name": "money", "better": "lower"},
        },
    }))
    .unwrap();
    let watch = declaration.watches().remove(0);
    (declaration, watch)
}

fn minute(number: usize) -> Window {
    Window::containing(Timestamp::from_millis(number as i64 * 60_000), Duration::from_secs(60))
}

/// Whether a stream of so many values alarms.
fn alarms(values: usize, mut value: impl FnMut(usize) -> f64) -> bool {
    let (_, watch) = watch(json!({"stream": {"of": {"column": "x"}}}));
    let mut memory = Memory::default();
    (0..values / 1_000).any(|number| {
        let seen: Vec<f64> = (0..1_000).map(|at| value(number * 1_000 + at)).collect();
        let found = judge(&watch, &memory, minute(number), &Seen::Stream(seen), None, Exposure::default());
        memory = found.memory;
        found.verdict.state == State::Broken
    })
}

/// A stream in which nothing happens, by its distribution.
fn draw(kind: &str, random: &mut Random) -> f64 {
    match kind {
        "normal" => random.normal(),
        "lognormal" => (1.5 * random.normal()).exp(),
        "zeros" => {
            if random.unit() < 0.98 {
                0.0
            } else {
                1.0 + random.unit()
            }
        }
        // Student's t with three degrees of freedom.
        _ => {
            let squares: f64 = (0..3).map(|_| random.normal().powi(2)).sum();
            random.normal() / (squares / 3.0).sqrt()
        }
    }
}

const RUNS: u64 = 6;
const VALUES: usize = 20_000;

#[test]
fn streams_with_heavy_tails_alarm_as_seldom_as_others_and_a_shift_is_found() {
    let mut wrong = Vec::new();
    for kind in ["normal", "lognormal", "zeros", "student"] {
        for run in 0..RUNS {
            let mut random = Random::new(run, 17);
            if alarms(VALUES, |_| draw(kind, &mut random)) {
                wrong.push((kind, run));
            }
        }
        // Half of the way through everything is three tenths more, and a tenth of the zeros is none.
        let mut random = Random::new(99, 17);
        let moved = alarms(VALUES, |at| {
            let value = draw(kind, &mut random);
            let is_later = at >= VALUES / 2;
            match kind {
                "zeros" if is_later && random.unit() < 0.1 => 1.5,
                "lognormal" if is_later => value * 1.5,
                "normal" | "student" if is_later => value + 0.3,
                _ => value,
            }
        });
        assert!(moved, "a shift of `{kind}` is not found");
    }
    // Two of a hundred runs of this length alarm where the promise holds.
    assert!(wrong.len() <= 2, "{wrong:?} of {RUNS} runs of each");
}

/// How many windows of business numbers are broken in which nothing happens, and how many were judged.
fn broken(rule: serde_json::Value, level: impl Fn(usize) -> f64) -> (u32, u32) {
    let (declaration, watch) = watch(json!({ "kpi": rule }));
    let (mut broken, mut judged) = (0, 0);
    for series in 0..40 {
        let (mut random, mut memory) = (Random::new(series, 23), Memory::default());
        for number in 0..70 {
            let day = Window::containing(
                Timestamp::from_millis(number as i64 * 86_400_000),
                Duration::from_secs(86_400),
            );
            let mean = level(number) + random.normal();
            let by = AnsweredBy { model: "m".into(), version: "1".into(), sum: mean * 40.0, outcomes: 40 };
            let seen = Seen::Kpi(vec![by]);
            let found =
                judge(&watch, &memory, day, &seen, declaration.objective.as_ref(), Exposure::default());
            memory = found.memory;
            broken += u32::from(found.verdict.state == State::Broken);
            judged += u32::from(found.verdict.state != State::NoData);
        }
    }
    (broken, judged)
}

#[test]
fn false_alarms_of_the_business_number_are_as_often_as_declared() {
    let near = |(broken, judged): (u32, u32), chance: f64| {
        let expected = f64::from(judged) * chance;
        // Windows share those before them, so they do not alarm one by one.
        let slack = 4.0 * expected.sqrt();
        assert!(
            judged > 2_000 && (f64::from(broken) - expected).abs() < slack,
            "{broken} of {judged}, {chance}"
        );
    };
    near(broken(json!({"name": "money", "false_alarms": 0.02}), |_| 50.0), 0.02);
    // Weekends are another level.
    let week = |number: usize| if number % 7 > 4 { 90.0 } else { 50.0 };
    near(broken(json!({"name": "money", "false_alarms": 0.02, "season": "7d"}), week), 0.02);
    let (found, judged) = broken(json!({"name": "money"}), |_| 50.0);
    assert!(f64::from(found) < 0.001 * f64::from(judged) + 6.0, "{found} of {judged}");
}
