//! Detectors of change on streams: against river where it has them, and their false alarms and delays by simulation.

use serde_json::json;
use tidemill_stats::online::{Adwin, Change, Cusum, Direction, Ewma, PageHinkley, PageHinkleySettings};
use tidemill_stats::random::Random;

use crate::python::python;

/// A stream of `calm` values and then as many with another mean; binary or normal.
fn stream(calm: usize, shift: f64, binary: bool, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed, calm as u64);
    (0..2 * calm)
        .map(|at| {
            let shift = if at < calm { 0.0 } else { shift };
            if binary {
                f64::from(u8::from(random.unit() < 0.3 + shift))
            } else {
                0.3 * random.normal() + shift
            }
        })
        .collect()
}

fn streams() -> Vec<Vec<f64>> {
    let mut streams = Vec::new();
    for seed in 0..6 {
        for (calm, shift, binary) in [
            (1_000, 0.0, true),
            (1_000, 0.2, true),
            (500, -0.25, true),
            (3_000, 0.1, true),
            (1_000, 1.0, false),
            (1_000, -0.5, false),
            (2_000, 0.1, false),
        ] {
            streams.push(stream(calm, shift, binary, seed));
        }
    }
    streams
}

#[test]
fn first_alarms_are_rivers() {
    let streams = streams();
    let expected = python(
        "
from river import drift
answer = []
for xs in data:
    row = []
    for d in (drift.ADWIN(delta=.002), drift.PageHinkley(), drift.PageHinkley(min_instances=50, delta=.05, threshold=10, alpha=1.0)):
        first = 0
        for i, x in enumerate(xs, 1):
            d.update(x)
            if d.drift_detected:
                first = i
                break
        row.append(first)
    answer.append(row)
",
        &json!(streams),
    );
    let usual = PageHinkleySettings::default();
    let quick = PageHinkleySettings { allowance: 0.05, threshold: 10.0, forgetting: 1.0, least: 50 };
    let mut alarms = [0; 3];
    for (index, stream) in streams.iter().enumerate() {
        let (mut adwin, mut first, mut second) =
            (Adwin::new(0.002), PageHinkley::new(usual), PageHinkley::new(quick));
        let found = [
            stream.iter().find_map(|x| adwin.update(*x)),
            stream.iter().find_map(|x| first.update(*x)),
            stream.iter().find_map(|x| second.update(*x)),
        ];
        for (place, change) in found.into_iter().enumerate() {
            alarms[place] += u32::from(change.is_some());
            let noticed = change.map_or(0, |change| change.noticed);
            assert_eq!(json!(noticed), expected[index][place], "detector {place} on stream {index}");
        }
    }
    println!("alarms on {} streams: {alarms:?}", streams.len());
    assert!(alarms.iter().all(|count| *count >= 6));
}

/// Share of 100 streams with an alarm before the change, share with one after it, and the mean distances of the alarm and of
/// the estimated time from the change.
fn run(
    mut detector: impl FnMut() -> Box<dyn FnMut(f64) -> Option<Change>>,
    shift: f64,
) -> (f64, f64, f64, f64) {
    let (mut early, mut found, mut delay, mut error) = (0.0, 0.0, 0.0, 0.0);
    for seed in 100..200 {
        let mut update = detector();
        for x in stream(1_000, shift, false, seed) {
            let Some(change) = update(x) else { continue };
            if change.noticed <= 1_000 {
                early += 1.0;
            } else {
                assert_eq!(change.direction, if shift > 0.0 { Direction::Up } else { Direction::Down });
                found += 1.0;
                delay += change.noticed as f64 - 1_000.0;
                error += (change.began as f64 - 1_001.0).abs();
            }
            break;
        }
    }
    (early / 100.0, found / 100.0, delay / f64::max(found, 1.0), error / f64::max(found, 1.0))
}

#[test]
fn changes_are_found_soon_and_dated() {
    for shift in [0.5, -0.5] {
        let adwin = run(
            || {
                let mut detector = Adwin::new(0.002);
                Box::new(move |x| detector.update(x))
            },
            shift,
        );
        let hinkley = run(
            || {
                let settings =
                    PageHinkleySettings { allowance: 0.1, threshold: 8.0, ..PageHinkleySettings::default() };
                let mut detector = PageHinkley::new(settings);
                Box::new(move |x| detector.update(x))
            },
            shift,
        );
        let cusum = run(
            || {
                let mut detector = Cusum::new(0.0, 0.3, 0.5, 10.0);
                Box::new(move |x| detector.update(x))
            },
            shift,
        );
        let ewma = run(
            || {
                let mut detector = Ewma::new(0.0, 0.3, 0.2, 4.3);
                Box::new(move |x| detector.update(x))
            },
            shift,
        );
        for (name, (early, found, delay, error)) in
            [("ADWIN", adwin), ("Page-Hinkley", hinkley), ("CUSUM", cusum), ("EWMA", ewma)]
        {
            println!(
                "{name} at {shift}: early {early:.2}, found {found:.2}, delay {delay:.1}, dated within {error:.1}"
            );
            assert!(early <= 0.07 && found >= 0.93, "{name} at {shift}: {early} {found}");
            assert!(delay <= 64.0 && error <= 40.0, "{name} at {shift}: {delay} {error}");
        }
    }
}

#[test]
fn states_go_through_text_and_go_on() {
    let values = stream(300, 0.8, false, 7);
    let mut adwin = Adwin::new(0.002);
    let mut hinkley = PageHinkley::new(PageHinkleySettings::default());
    let mut cusum = Cusum::new(0.0, 0.3, 0.5, 5.0);
    let mut ewma = Ewma::new(0.0, 0.3, 0.2, 3.0);
    let mut stored = [
        serde_json::to_string(&adwin).unwrap(),
        serde_json::to_string(&hinkley).unwrap(),
        serde_json::to_string(&cusum).unwrap(),
        serde_json::to_string(&ewma).unwrap(),
    ];
    let mut changes = 0;
    for x in values {
        let mut again: (Adwin, PageHinkley, Cusum, Ewma) = (
            serde_json::from_str(&stored[0]).unwrap(),
            serde_json::from_str(&stored[1]).unwrap(),
            serde_json::from_str(&stored[2]).unwrap(),
            serde_json::from_str(&stored[3]).unwrap(),
        );
        let whole = [adwin.update(x), hinkley.update(x), cusum.update(x), ewma.update(x)];
        let parts = [again.0.update(x), again.1.update(x), again.2.update(x), again.3.update(x)];
        for (a, b) in whole.into_iter().zip(parts) {
            assert_eq!(
                a.map(|change| (change.noticed, change.began)),
                b.map(|change| (change.noticed, change.began))
            );
            changes += u32::from(a.is_some());
        }
        stored = [
            serde_json::to_string(&again.0).unwrap(),
            serde_json::to_string(&again.1).unwrap(),
            serde_json::to_string(&again.2).unwrap(),
            serde_json::to_string(&again.3).unwrap(),
        ];
    }
    assert!(changes > 4);
    assert_eq!((adwin.update(f64::NAN), cusum.update(f64::INFINITY)), (None, None));
}

#[test]
fn a_window_stays_small_in_memory() {
    let mut adwin = Adwin::new(0.002);
    let mut random = Random::new(1, 1);
    for _ in 0..100_000 {
        adwin.update(random.unit());
    }
    assert!(adwin.width() > 50_000 && (adwin.mean().unwrap() - 0.5).abs() < 0.01);
    assert!(serde_json::to_string(&adwin).unwrap().len() < 10_000);
}
