//! What is printed reads back; what the YAML reader reads is what another reader reads.

use proptest::prelude::*;
use serde_json::Value;
use tidemill_project::{fuzz_entry, parse, print};

use crate::example::EXAMPLE;
use crate::good;

#[test]
fn the_example_reads_back() {
    let project = good(EXAMPLE);
    let printed = print(&project).unwrap();
    assert_eq!(good(&printed), project);
    insta::assert_snapshot!(printed);
}

/// A text that is hard on a YAML printer.
fn hard_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,20}",
        "[ -~\n]{0,30}",
        any::<String>(),
        prop::sample::select(vec![
            "",
            " ",
            "~",
            "null",
            "true",
            "yes",
            "on",
            "1",
            "1e3",
            "0x1f",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "'",
            "\"",
            "\\",
            "|",
            ">",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "{a",
            "[a",
            "a\n",
            "\na",
            "a\n\n",
            "  a\nb",
            "a \nb",
            "\t",
            "---",
            "...",
            "? a",
            "2013-01-01",
            "<<",
            "=",
            "\u{85}",
            "\u{2028}",
            "\u{feff}a",
            "a\r\nb",
            "${x}",
            "\u{7f}",
            "é: ü",
        ])
        .prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
        hard_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(hard_text(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn params() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(hard_text(), value(), 0..6)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// A project with steps that say all kinds of things.
fn project() -> impl Strategy<Value = Value> {
    let step = (
        hard_text(),
        prop::option::of("[1-9][0-9]?[smhd]"),
        prop::option::of(params()),
        any::<bool>(),
        any::<u8>(),
    );
    (params(), prop::collection::vec(step, 0..5), prop::option::of(hard_text())).prop_map(
        |(params, steps, text)| {
            let steps: serde_json::Map<String, Value> = steps
                .into_iter()
                .enumerate()
                .map(|(i, (command, timeout, own, persist, times))| {
                    let mut step = serde_json::json!({
                        "run": format!("echo {command}"),
                        "deps": [format!("in {i}")],
                        "outs": [{"path": format!("out/{i}"), "persist": persist}],
                        "retries": {"times": times % 101},
                    });
                    if let Some(timeout) = timeout {
                        step["timeout"] = timeout.into();
                    }
                    if let Some(own) = own {
                        step["params"] = own;
                    }
                    (format!("step-{i}"), step)
                })
                .collect();
            let mut project = serde_json::json!({"project": "p", "params": params, "pipeline": steps});
            if let Some(text) = text {
                project["description"] = text.into();
            }
            project
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn projects_read_back(value in project()) {
        let project: tidemill_project::Project = serde_json::from_value(value).unwrap();
        let printed = print(&project).unwrap();
        let again = parse(&printed, "tidemill.yaml");
        prop_assert!(again.is_ok(), "{}\n{}", printed, again.unwrap_err().render(false));
        prop_assert_eq!(again.unwrap(), project);
    }

    /// `serde-saphyr` has its own composer and scalars: an independent reader of what we print.
    #[test]
    fn another_reader_agrees(params in params()) {
        let project: tidemill_project::Project =
            serde_json::from_value(serde_json::json!({"project": "p", "params": params})).unwrap();
        let printed = print(&project).unwrap();
        let other: Value = serde_saphyr::from_str(&printed).unwrap();
        prop_assert_eq!(&other["params"], &params, "{}", printed);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_entry(&bytes);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z:{}\\[\\],&*!|>'\"%@#?\\- \t\n$.0-9~<]{0,200}") {
        fuzz_entry(text.as_bytes());
    }

    /// The example with a piece cut out, doubled or replaced: nearly right, which is where it hurts.
    #[test]
    fn no_damage_makes_it_panic(from in 0usize..4000, length in 0usize..60, with in "[a-z:{}\\[\\], \n\\-$&*]{0,12}") {
        let from = from.min(EXAMPLE.len());
        let to = (from + length).min(EXAMPLE.len());
        let damaged = format!("{}{with}{}", &EXAMPLE[..from], &EXAMPLE[to..]);
        fuzz_entry(damaged.as_bytes());
    }

    #[test]
    fn no_value_in_any_place_makes_it_panic(value in value(), key in 0usize..12) {
        let keys = ["project", "owner", "objective", "data", "params", "pipeline", "tests", "release", "monitors", "triggers", "store", "description"];
        let mut project = serde_json::json!({"project": "p"});
        project[keys[key]] = value;
        fuzz_entry(project.to_string().as_bytes());
    }
}
