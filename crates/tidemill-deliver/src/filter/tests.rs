//! The filter as a table of lines.

use super::*;

fn line(run: &str, seq: u64, metric: &str, baseline: (u64, f64, f64), canary: (u64, f64, f64)) -> String {
    format!(
        r#"{{"run":"{run}","seq":{seq},"metric":{metric},"baseline":{{"n":{},"sum":{},"sumsq":{}}},"canary":{{"n":{},"sum":{},"sumsq":{}}}}}"#,
        baseline.0, baseline.1, baseline.2, canary.0, canary.1, canary.2
    )
}

const ACCURACY: &str = r#"{"name":"accuracy","direction":"lower_is_better","type":"binary","alpha":0.05,"effect_scale":0.02,"effect_relative":false}"#;
const GUARDRAIL: &str = r#"{"name":"accuracy","direction":"lower_is_better","type":"binary","alpha":0.05,"effect_scale":0.02,"margin":0.02}"#;

#[test]
fn the_line_of_the_documentation() {
    let mut filter = Filter::new(10);
    let text = r#"{"run":"r12","seq":17,"metric":{"name":"accuracy","direction":"lower_is_better","type":"binary","alpha":0.05,"effect_scale":0.02,"effect_relative":false},"baseline":{"n":100,"sum":11,"sumsq":11},"canary":{"n":100,"sum":9,"sumsq":9}}"#;
    assert_eq!(filter.answer(text.as_bytes()), r#"{"run":"r12","seq":17,"decision":"continue"}"#);
}

#[test]
fn runs_interleave_and_decisions_are_final() {
    let mut filter = Filter::new(10);
    let mut last = (String::new(), String::new());
    for seq in 0..60 {
        last.0 = filter.answer(line("bad", seq, ACCURACY, (100, 10., 10.), (100, 16., 16.)).as_bytes());
        last.1 = filter.answer(line("good", seq, ACCURACY, (100, 16., 16.), (100, 10., 10.)).as_bytes());
    }
    assert_eq!(last.0, r#"{"run":"bad","seq":59,"decision":"rollback"}"#);
    assert_eq!(last.1, r#"{"run":"good","seq":59,"decision":"promote"}"#);
    let healed = filter.answer(line("bad", 60, ACCURACY, (100_000, 9e4, 9e4), (100_000, 1., 1.)).as_bytes());
    assert_eq!(healed, r#"{"run":"bad","seq":60,"decision":"rollback"}"#);
}

#[test]
fn direction_turns_harm_round() {
    let higher = ACCURACY.replace("lower_is_better", "higher_is_better");
    let mut filter = Filter::new(10);
    let mut last = String::new();
    for seq in 0..60 {
        last = filter.answer(line("r", seq, &higher, (100, 90., 90.), (100, 84., 84.)).as_bytes());
    }
    assert!(last.contains("rollback"), "{last}");
}

#[test]
fn a_margin_makes_equal_arms_pass_and_harm_within_it_is_none() {
    let (mut filter, mut equal, mut harmful) = (Filter::new(10), String::new(), String::new());
    for seq in 0..400 {
        equal = filter.answer(line("equal", seq, GUARDRAIL, (100, 10., 10.), (100, 10., 10.)).as_bytes());
        harmful = filter.answer(line("harmful", seq, GUARDRAIL, (100, 10., 10.), (100, 15., 15.)).as_bytes());
    }
    assert!(equal.contains("promote"), "{equal}");
    assert!(harmful.contains("rollback"), "{harmful}");
}

#[test]
fn a_candidate_without_any_failure_passes_a_margin() {
    let (mut filter, mut last) = (Filter::new(10), String::new());
    for seq in 0..300 {
        last = filter.answer(line("clean", seq, GUARDRAIL, (100, 0., 0.), (100, 0., 0.)).as_bytes());
    }
    assert!(last.contains("promote"), "{last}");
}

#[test]
fn a_margin_relative_to_the_baseline() {
    let metric = r#"{"name":"latency","type":"continuous","alpha":0.01,"effect_scale":0.05,"effect_relative":true,"margin":0.1}"#;
    let (mut filter, mut last) = (Filter::new(10), [String::new(), String::new()]);
    for seq in 0..200 {
        // Means 50 and 52 (4 % more) or 60 (20 % more), standard deviation 10.
        let sums = |mean: f64| (100, mean * 100.0, (mean * mean + 100.0) * 100.0);
        last[0] = filter.answer(line("within", seq, metric, sums(50.0), sums(52.0)).as_bytes());
        last[1] = filter.answer(line("beyond", seq, metric, sums(50.0), sums(60.0)).as_bytes());
    }
    assert!(last[0].contains("promote"), "{}", last[0]);
    assert!(last[1].contains("rollback"), "{}", last[1]);
}

#[test]
fn arms_that_report_in_turns_are_compared() {
    let (mut filter, mut last) = (Filter::new(10), String::new());
    for seq in 0..120 {
        let (baseline, canary) =
            if seq % 2 == 0 { ((100, 10., 10.), (0, 0., 0.)) } else { ((0, 0., 0.), (100, 18., 18.)) };
        last = filter.answer(line("r", seq, ACCURACY, baseline, canary).as_bytes());
    }
    assert!(last.contains("rollback"), "{last}");
}

#[test]
fn no_data_is_never_a_decision() {
    let mut filter = Filter::new(10);
    for seq in 0..2_000 {
        let answer = filter.answer(line("r", seq, GUARDRAIL, (0, 0., 0.), (0, 0., 0.)).as_bytes());
        assert!(answer.contains("continue"));
    }
}

#[test]
fn bad_lines_say_what_is_wrong_and_stop_nothing() {
    let mut filter = Filter::new(2);
    let good = line("a", 1, ACCURACY, (100, 11., 11.), (100, 9., 9.));
    assert!(filter.answer(good.as_bytes()).contains("continue"));
    let cases: Vec<(String, &str)> = vec![
        (String::new(), r#"{"run":null,"seq":null,"error":"the line is empty"}"#),
        ("nonsense".into(), "the line is not JSON"),
        ("[1]".into(), "not a JSON object"),
        (r#"{"seq":1}"#.into(), "`run` is missing"),
        (r#"{"run":"x"}"#.into(), "`seq` is missing"),
        (r#"{"run":"x","seq":-1}"#.into(), "`seq` is missing, or is no whole number"),
        (r#"{"run":"x","seq":1}"#.into(), r#"{"run":"x","seq":1,"error":"`metric` is missing"}"#),
        (good.replace("binary", "ternary"), "unknown variant `ternary`"),
        (good.replace("\"alpha\":0.05", "\"alpha\":1.5"), "`metric.alpha` is 1.5"),
        (good.replace("\"effect_scale\":0.02", "\"effect_scale\":0"), "`effect_scale` is 0"),
        (good.replace("\"alpha\"", "\"alhpa\""), "unknown field `alhpa`"),
        (good.replace("\"n\":100,\"sum\":11", "\"n\":10,\"sum\":11"), "`baseline.sum` is 11"),
        (good.replace("\"sumsq\":9", "\"sumsq\":8"), "`canary.sumsq` is 8"),
        (good.replace("\"n\":100,\"sum\":9", "\"n\":-3,\"sum\":9"), "`canary.n` is -3"),
        (good.replace("\"n\":100,\"sum\":9", "\"n\":1e999,\"sum\":9"), "not JSON"),
        (good.replace("\"seq\":1", "\"seq\":0"), "`seq` is 0, but this run is at 1 already"),
        (good.replace("\"seq\":1", "\"seq\":2").replace("0.02", "0.03"), "`metric` is not what it was"),
        (
            line("b", 1, ACCURACY, (1, 0., 0.), (1, 0., 0.))
                .replace("binary", "continuous")
                .replace("\"sumsq\":0", "\"sumsq\":-1"),
            "squares of at least 0",
        ),
        ("x".repeat(MAX_LINE + 1), "longer than"),
    ];
    for (text, expected) in &cases {
        let answer = filter.answer(text.as_bytes());
        assert!(answer.contains(expected), "{text:.100}\n{answer}");
        assert!(answer.contains("\"error\"") && !answer.contains('\n'));
    }
    assert_eq!(filter.refused(), cases.len() as u64);
    assert!(filter.answer(good.replace("\"seq\":1", "\"seq\":2").as_bytes()).contains("continue"));
    assert!(filter.answer(good.replace("\"a\"", "\"b\"").as_bytes()).contains("continue"));
    assert!(filter.answer(good.replace("\"a\"", "\"c\"").as_bytes()).contains("more than 2 runs"));
}

#[test]
fn a_line_that_is_delivered_twice_counts_once() {
    let (mut once, mut twice) = (Filter::new(10), Filter::new(10));
    for seq in 0..40 {
        let text = line("r", seq, ACCURACY, (100, 10., 10.), (100, 14., 14.));
        let answer = once.answer(text.as_bytes());
        assert_eq!(twice.answer(text.as_bytes()), answer);
        assert_eq!(twice.answer(text.as_bytes()), answer);
    }
}
