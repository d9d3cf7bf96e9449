//! Bad input gets a clear message with its place.

use tidemill_core::Hint as _;
use tidemill_project::{parse, parse_bytes};

use crate::bad;

#[test]
fn misspelt_keys_and_values() {
    insta::assert_snapshot!(bad(include_str!("misspelt.yaml")));
}

#[test]
fn names_that_do_not_exist() {
    insta::assert_snapshot!(bad(include_str!("names.yaml")));
}

#[test]
fn values_that_make_no_sense() {
    insta::assert_snapshot!(bad(include_str!("values.yaml")));
}

#[test]
fn streams_that_make_no_sense() {
    insta::assert_snapshot!(bad(include_str!("streams.yaml")));
    let sane = "project: p\nmonitors:\n  - stream: {of: error}\n  - stream: {of: {column: x}, detector: page_hinkley, threshold: 9}\n";
    tidemill_project::parse(sane, "tidemill.yaml").unwrap();
    let values = include_str!("streams.yaml").lines().take(4).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("streams_with_values_that_make_no_sense", bad(&values));
}

#[test]
fn model_tests_of_the_wrong_shape() {
    insta::assert_snapshot!(bad(include_str!("model_tests_shape.yaml")));
}

#[test]
fn model_tests_that_make_no_sense() {
    insta::assert_snapshot!(bad(include_str!("model_tests.yaml")));
}

#[test]
fn model_tests_that_are_not_for_regression() {
    insta::assert_snapshot!(bad(include_str!("model_tests_regression.yaml")));
}

#[test]
fn steps_that_make_no_graph() {
    insta::assert_snapshot!(bad(include_str!("graph.yaml")));
}

#[test]
fn texts_that_are_no_yaml() {
    let mut all = String::new();
    for text in [
        "",
        "# only a comment\n",
        "just text",
        "- a\n- b\n",
        "project: p\n\tdata: {}\n",
        "project: p\ndata: {a: {path: x}\n",
        "project: p\nproject: q\n",
        "project: p\ndata:\n  a: {path: x}\n a: 1\n",
        "project: 'p\n",
        "project: *nobody\n",
        "project: p\n---\nproject: q\n",
        "project: p\nparams: {x: .nan, y: 1e999, z: !mine 3}\n",
        "project: p\nparams: {[a]: 1}\n",
        "project: p\ndescription: a: b\n",
        "project: p\nparams: &a {x: *a}\n",
        "project: p\n? {a: 1}\n: 2\n",
    ] {
        all.push_str(&format!("───── {text:?}\n{}\n", bad(text)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn bytes_that_are_no_text() {
    let mut all = String::new();
    let large = vec![b'#'; 50 << 20];
    for bytes in [&b"project: p\ndescription: caf\xe9\n"[..], b"\xff\xfep\0r\0", b"\0\0\0", &large] {
        all.push_str(&parse_bytes(bytes, "tidemill.yaml").unwrap_err().render(false));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn deep_and_wide_input_is_refused_in_time() {
    let deep_flow = format!("project: p\nparams: {{x: {}", "[".repeat(100_000));
    let deep_block: String = (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    let closed = format!("project: p\nparams: {{x: {}{}}}\n", "[".repeat(80), "]".repeat(80));
    // Every anchor holds ten of the one before: 10^12 nodes if anybody filled them in.
    let bomb: String = (1..=12).fold("project: p\nparams:\n  a0: &a0 [x]\n".to_owned(), |text, i| {
        let before = vec![format!("*a{}", i - 1); 10].join(", ");
        format!("{text}  a{i}: &a{i} [{before}]\n")
    });
    let chain: String = (1..200).fold("project: p\nparams:\n  a0: &a0 [x]\n".to_owned(), |text, i| {
        format!("{text}  a{i}: &a{i} [*a{}]\n", i - 1)
    });
    let mut all = String::new();
    for text in [deep_flow, deep_block, closed, bomb, chain] {
        let report = parse(&text, "tidemill.yaml").unwrap_err();
        all.push_str(&format!("{}\n", report.diagnostics[0].message));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_report_is_an_error_and_json() {
    let report = parse("projct: p\n", "dir/tidemill.yaml").unwrap_err();
    assert_eq!(report.to_string(), "dir/tidemill.yaml:1:1: unknown key `projct`");
    assert_eq!(report.hint().as_deref(), Some("did you mean `project`?"));
    insta::assert_json_snapshot!(report);
    assert!(report.render(true).contains('\u{1b}'));
    assert!(!report.render(false).contains('\u{1b}'));
}

#[test]
fn no_more_than_fifty_problems_are_told() {
    let text: String = (0..200).map(|i| format!("key{i}: 1\n")).collect();
    let report = parse(&text, "tidemill.yaml").unwrap_err();
    assert_eq!(report.diagnostics.len(), 50);
    assert_eq!(report.omitted, 151);
    assert!(report.render(false).ends_with("and 151 more\n"));
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let text = format!(
        "project: p\nparams: {{a: {}}}\ndata: {{x: {{pth: '{}'}}}}\n",
        "é".repeat(3_000),
        "y".repeat(3_000)
    );
    let drawn = bad(&text);
    assert!(drawn.lines().all(|line| line.chars().count() < 400), "{drawn}");
    assert!(drawn.contains("did you mean `path`?"));
}

/// Both would be accepted and never say anything.
#[test]
fn calibration_error_is_no_metric_of_windows_and_rollouts() {
    let head = "project: p\nobjective:\n  task: {kind: classification, target: late, positive: 1}\n";
    let rollout = "release:\n  model: late\n  environments:\n    prod:\n      rollout:\n        stages: [{canary: 5%}, {full: {}}]\n        judge: {error_budget: 0.01, metrics: [{quality: {metric: calibration_error}}]}\n";
    let monitor = "monitors:\n  - quality: {metric: calibration_error, max: 0.05}\n";
    insta::assert_snapshot!(bad(&format!("{head}{rollout}")));
    insta::assert_snapshot!(bad(&format!("{head}{monitor}")));
    // Tests of a model before its release measure it.
    parse(&format!("{head}tests:\n  - metric: {{name: calibration_error, max: 0.05}}\n"), "tidemill.yaml")
        .unwrap();
}

#[test]
fn a_gate_of_time_needs_a_judge_and_a_time() {
    let text = |rollout: &str| {
        format!("project: p\nrelease:\n  model: late\n  environments:\n    prod:\n      rollout: {rollout}\n")
    };
    insta::assert_snapshot!(bad(&text("{stages: [{full: {}}], power: {decide_within: 0s, else: shout}}")));
    insta::assert_snapshot!(bad(&text("{stages: [{full: {}}], power: {decide_within: 0s}}")));
    let good = text(
        "{stages: [{canary: 5%}, {full: {}}], judge: {error_budget: 0.01, metrics: [errors]}, power: {decide_within: 48h, else: refuse}}",
    );
    parse(&good, "tidemill.yaml").unwrap();
}

#[test]
fn hours_slices_and_holdouts_that_make_no_sense() {
    let text = |more: &str, slices: &str| {
        format!(
            "project: p\nrelease:\n  model: late\n  environments:\n    prod:\n      rollout:\n        stages: [{{canary: 50%}}, {{full: {{}}}}]\n        judge: {{error_budget: 0.01, metrics: [errors], slices: {slices}}}\n        {more}\n"
        )
    };
    let hours = "windows: {allow: ['Mon-Thy 09:00-16:00', 'Mon 09:00-16:00 Europe/Pragu', 7]}";
    insta::assert_snapshot!(bad(&text(hours, "{by: [origin]}")));
    insta::assert_snapshot!(bad(&text("windows: {allow: []}", "{by: [origin, origin]}")));
    insta::assert_snapshot!(bad(&text("windows: {allow: [Mon 09:00-16:00 Europe/Pragu]}", "{by: []}")));
    insta::assert_snapshot!(bad(&text("holdout: 50%", "{by: [origin]}")));
    insta::assert_snapshot!(bad(&text("winner: kpi", "{by: [origin]}")));
    let good = text(
        "windows: {allow: ['Mon-Thu 09:00-16:00 Europe/Prague']}\n        holdout: 1%",
        "{by: [origin, carrier], min_samples: 500}",
    );
    parse(&good, "tidemill.yaml").unwrap();
}

#[test]
fn a_stage_that_is_over_before_outcomes_are_there() {
    let text = |stages: &str, metrics: &str, outcomes: &str| {
        format!(
            "project: p\nobjective:\n  task: {{kind: classification, target: y, positive: 1}}\n  costs: {{currency: EUR, false_negative: 5, false_positive: 1}}\n\
             release:\n  model: late\n  environments:\n    prod:\n      rollout:\n        stages: [{stages}, {{full: {{}}}}]\n        \
             judge: {{error_budget: 0.01, metrics: {metrics}{outcomes}}}\n"
        )
    };
    let canary = "{canary: {share: 5%, max: 6h}}";
    insta::assert_snapshot!(bad(&text(canary, "[errors, cost]", ", outcomes: {delay: 12h}")));
    // A day where nothing is said.
    insta::assert_snapshot!(bad(&text("{shadow: {until: verdict, max: 24h}}", "[cost]", "")));
    for good in [
        text(canary, "[errors, latency]", ""),
        text(canary, "[cost]", ", outcomes: {delay: 5h}"),
        text("{shadow: {samples: 10, max: 1h}}", "[cost]", ""),
    ] {
        parse(&good, "tidemill.yaml").unwrap();
    }
}

#[test]
fn tests_that_are_required_and_limits_of_rates() {
    let text = |require: &str, metrics: &str| {
        format!(
            "project: p\nrelease:\n  model: late\n  require: {require}\n  environments:\n    prod:\n      rollout:\n        \
             stages: [{{canary: 5%}}, {{full: {{}}}}]\n        judge: {{error_budget: 0.01, metrics: {metrics}}}\n"
        )
    };
    insta::assert_snapshot!(bad(&text("[model_tests, data_tests]", "[errors]")));
    insta::assert_snapshot!(bad(&text("[model_test]", "[errors]")));
    let wrong = "[{errors: {tolerate: 0.5, reject: 0.4}}, {latency: {tolerate: 3, negligible: 100%}}]";
    insta::assert_snapshot!(bad(&text("[]", wrong)));
    let good = "[{errors: {tolerate: 1.1, reject: 1.5, negligible: 0.1%}}, {latency: {}}]";
    parse(&text("[]", good), "tidemill.yaml").unwrap();
}

#[test]
fn a_release_is_of_one_step_that_writes_a_model() {
    let train =
        "train: {algorithm: gbdt, features: rows.csv, task: {kind: classification, target: y}}, outs:";
    let project = |names: [&str; 2], release: &str| {
        format!(
            "project: p\ndata: {{rows: {{path: rows.csv}}}}\npipeline:\n  table: {{sql: select 1, outs: [t.parquet]}}\n  \
             {}: {{{train} [one]}}\n  {}: {{{train} [two]}}\nrelease: {{model: m, {release}environments: {{prod: {{}}}}}}\n",
            names[0], names[1]
        )
    };
    let wrong = [
        project(["one", "two"], ""),
        project(["one", "two"], "step: tow, "),
        project(["one", "two"], "step: table, "),
        project(
            ["one", "two"],
            "step: one, envelope: {data: [row, sql/*], params: {rate: {}}, metrics: {roc_auk: {min: 1}}, flips: {max: 2%}, expires: June}, ",
        ),
    ];
    insta::assert_snapshot!(wrong.map(|text| bad(&text)).join("\n"));
    for text in [
        project(["one", "train"], ""),
        project(["one", "two"], "step: two, "),
        project(["one", "two"], "step: two@size=3, "),
        project(
            ["one", "two"],
            "step: two, envelope: {data: [rows, '*.sql'], params: {rate: {max: 1}}, metrics: {cost: {max: 9}}, expires: 2027-06-01}, ",
        ),
    ] {
        parse(&text, "tidemill.yaml").unwrap();
    }
}

#[test]
fn where_the_champion_and_the_records_in_git_are() {
    let project = |more: &str, environments: &str| {
        format!("project: p\nrelease: {{model: m, {more}, environments: {environments}}}\n")
    };
    for (more, environments, messages) in [
        ("champion: pord", "{prod: {}}", &["there is no environment `pord`", "did you mean `prod`?"][..]),
        ("git: {branch: 'a b'}", "{prod: {}}", &["`a b` is no name of a branch"]),
        (
            "git: {branch: main, push: 'https://example.com/r.git'}",
            "{prod: {}}",
            &["`https://example.com/r.git` is not the name of a remote", "`git remote add NAME ADDRESS`"],
        ),
        ("git: {branch: main, path: ../p.yaml}", "{prod: {}}", &["`../p.yaml` may lead out of the project"]),
        (
            "git: {branch: main, path: runs.yaml}",
            "{dev: {}, prod: {}, other: {git: {branch: other, path: runs.yaml}}}",
            &["`dev` and `prod` are both written to `runs.yaml`", "let `path` contain `{environment}`"],
        ),
    ] {
        let said = bad(&project(more, environments));
        assert!(messages.iter().all(|message| said.contains(message)), "{said}");
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
    }
    for more in ["champion: false", "champion: prod, git: {branch: main, push: origin, pull_request: true}"] {
        parse(&project(more, "{prod: {}}"), "tidemill.yaml").unwrap();
    }
}

#[test]
fn parameters_in_paths_of_datasets_are_refused() {
    for path in ["data/${year}.csv", "s3://bucket/${year}/"] {
        let told =
            bad(&format!("project: p\nparams: {{year: 2013}}\ndata:\n  flights: {{path: '{path}'}}\n"));
        assert!(told.contains("paths of datasets are not filled") && told.contains(":4:"), "{told}");
    }
}

#[test]
fn a_pattern_stays_inside_a_part_of_a_path() {
    parse(
        "project: p\npipeline:\n  clean: {run: a, deps: [data/*.csv], outs: [data/clean/x.csv]}\n",
        "tidemill.yaml",
    )
    .unwrap();
    let told =
        bad("project: p\npipeline:\n  clean: {run: a, deps: ['data/**/*.csv'], outs: [data/clean/x.csv]}\n");
    assert!(told.contains("reads `data/**/*.csv`, where it writes `data/clean/x.csv` itself"), "{told}");
    // What is kept between runs is no input either; the way out is named.
    let told =
        bad("project: p\npipeline:\n  kept: {run: a, deps: [state], outs: [{path: state, persist: true}]}\n");
    assert!(told.contains("`kept` reads `state`, which it writes itself"), "{told}");
    assert!(told.contains("take it out of what the step reads"), "{told}");
}

#[test]
fn a_command_s_model_is_tested_on_rows_that_are_declared() {
    let text = |more: &str, tests: &str| {
        format!(
            "project: p\npipeline:\n  train: {{train: {{algorithm: gbdt, features: f.csv}}, outs: [m]}}\n  export: {{run: x, deps: [m], outs: \
             [late.onnx]}}\nobjective: {{task: {{kind: classification, target: y}}}}\ntests: [{tests}]\nrelease: {{model: late, environments: \
             {{prod: {{}}}}{more}\n"
        )
    };
    let metric = "{metric: {name: roc_auc, min: 0.6}}";
    let all = [
        // Nothing says on which rows.
        bad(&text(", step: export}", metric)),
        // What asks for a training.
        bad(&text(
            ", step: export}\nheld_out: {table: t.csv}",
            "{parity: {max_abs: 1}}, {baseline: {beats: prior}}, {leakage: {}}, {smoke: {}}",
        )),
        // A training holds out rows itself.
        bad(&text(", step: train}\nheld_out: {table: ../t.csv, threshold: 2}", metric)),
        // No training, and nothing says which step it is.
        bad(&format!("project: p\npipeline: {{make: {{run: x, outs: [m.onnx]}}}}\ntests: [{metric}]\n")),
        bad(
            "project: p\npipeline: {make: {run: x, outs: [m.onnx]}}\nheld_out: {table: t.csv}\nrelease: {model: m, step: make, environments: {prod: {}}}\n",
        ),
    ];
    insta::assert_snapshot!(all.join("\n─────\n"));
    parse(&text(", step: export}\nheld_out: {table: t.csv, threshold: 0.3}", metric), "tidemill.yaml")
        .unwrap();
}

#[test]
fn triggers_release_to_environments_that_are_there_and_are_not_their_own() {
    let with = |trigger: &str| {
        format!(
            "project: p\nrelease:\n  model: late\n  environments: {{staging: {{}}, prod: {{}}}}\ntriggers:\n  - {trigger}\n"
        )
    };
    let parsed =
        parse(&with("{when: {environment: staging}, actions: [release], to: prod}"), "tidemill.yaml")
            .unwrap();
    let trigger = parsed.resolved_triggers().remove(0);
    assert_eq!((trigger.name.as_str(), trigger.to.as_deref()), ("environment-staging", Some("prod")));
    for (trigger, said) in [
        ("{when: {environment: stagin}, actions: [release], to: prod}", "there is no environment `stagin`"),
        ("{when: {webhook: go}, actions: [release], to: prd}", "there is no environment `prd`"),
        ("{when: {webhook: go}, actions: [run], to: prod}", "nothing is released, so `to` says nothing"),
        ("{when: {git: main}, actions: [test], to: prod}", "nothing is released, so `to` says nothing"),
        ("{when: {git: main}, actions: [ci], to: prd}", "there is no environment `prd`"),
        ("{when: {git: main}, actions: [ci, release]}", "`ci` releases what it has tested"),
        ("{when: {environment: staging}, actions: [release]}", "would be released to `staging` again"),
        ("{when: {environment: prod}, actions: [release], to: prod}", "would be released to `prod` again"),
    ] {
        let report = bad(&with(trigger));
        assert!(report.contains(said), "{trigger}: {report}");
    }
}

#[test]
fn how_sure_an_interval_is_lies_between_a_half_and_one() {
    let test = |test: &str| {
        let objective = "objective: {task: {kind: classification, target: y}}\n";
        bad(&format!("project: p\n{objective}tests:\n  - {test}\n"))
    };
    for (name, fields) in [
        ("metric", "name: roc_auc, min: 0.6, by: interval"),
        ("baseline", "beats: prior"),
        ("robustness", "metric: roc_auc, max_loss: 0.1, noise: 0.1"),
    ] {
        for confidence in [0.5, 1.0, 95.0] {
            let said = test(&format!("{name}: {{{fields}, confidence: {confidence}}}"));
            assert!(said.contains("not a confidence"), "{said}");
        }
        let said =
            test(&format!("{name}: {{{fields}, confidence: 0.9, by: chance}}").replace("by: interval, ", ""));
        assert!(said.contains("`interval`") && !said.contains("not a confidence"), "{said}");
    }
}
