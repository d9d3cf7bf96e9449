//! The lock file's text: its form, its errors, its merge.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidemill_core::declare::DataFormat;

use super::*;
use crate::{ActionText, ContentKind, EnvRecord};

fn content(text: &str, kind: ContentKind) -> Content {
    Content { digest: Digest::of(text.as_bytes()), kind, bytes: text.len() as u64 }
}

fn locked(action: ActionText, deps: &[&str], outs: &[&str]) -> LockedStep {
    let files = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| ((*path).to_owned(), content(path, ContentKind::File)))
            .collect::<BTreeMap<_, _>>()
    };
    let record = ActionRecord {
        action,
        builtin: None,
        inputs: BTreeMap::new(),
        formats: BTreeMap::new(),
        deps: files(deps),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        outs: outs.iter().map(|path| (*path).to_owned()).collect(),
    };
    LockedStep { record, outs: files(outs) }
}

fn sample() -> Lock {
    let mut features =
        locked(ActionText::SqlFile("sql/f.sql".to_owned()), &["sql/f.sql", "my data.csv"], &["f.parquet"]);
    features.record.builtin = Some("sql/1".to_owned());
    features.record.inputs.insert("flights".to_owned(), vec!["my data.csv".to_owned()]);
    features.record.formats.insert("flights".to_owned(), DataFormat::Tsv);
    features.record.params.insert("from".to_owned(), json!("2013-01-01"));
    features.record.params.insert("share".to_owned(), json!(0.5));
    features.record.env.insert("TZ".to_owned(), EnvRecord::Value("UTC".to_owned()));
    features.record.env.insert("TOKEN".to_owned(), EnvRecord::Secret);
    features.record.env.insert("HOST".to_owned(), EnvRecord::Inherited(None));
    let report = locked(ActionText::Run("echo \"a\nb\" > r.txt".to_owned()), &["f.parquet"], &["r.txt"]);
    Lock { steps: [("report@a=1".to_owned(), report), ("features".to_owned(), features)].into() }
}

#[test]
fn the_text_is_sorted_lines() {
    let lock = sample();
    let key = |step: &str| lock.steps[step].key().to_string();
    let id = |path: &str| Digest::of(path.as_bytes());
    let expected = format!(
        "# Written by `tidemill run`: what every step read and wrote. Commit this file, do not edit it.
version 1

step features
  key {}
  sql-file sql/f.sql
  builtin sql/1
  input flights \"my data.csv\"
  format flights tsv
  dep {} file 11 \"my data.csv\"
  dep {} file 9 sql/f.sql
  param from \"2013-01-01\"
  param share 0.5
  env HOST unset
  env TOKEN secret
  env TZ value \"UTC\"
  out {} file 9 f.parquet
  check {}

step report@a=1
  key {}
  run \"echo \\\"a\\nb\\\" > r.txt\"
  dep {} file 9 f.parquet
  out {} file 5 r.txt
  check {}
",
        key("features"),
        id("my data.csv"),
        id("sql/f.sql"),
        id("f.parquet"),
        Digest::of(format!("{}\n{} file 9 f.parquet", key("features"), id("f.parquet")).as_bytes()),
        key("report@a=1"),
        id("f.parquet"),
        id("r.txt"),
        Digest::of(format!("{}\n{} file 5 r.txt", key("report@a=1"), id("r.txt")).as_bytes()),
    );
    assert_eq!(lock.render(), expected);
    assert_eq!(Lock::parse("tidemill.lock", expected.as_bytes()), Ok(lock.clone()));
    // Git may have changed the ends of lines.
    assert_eq!(Lock::parse("tidemill.lock", expected.replace('\n', "\r\n").as_bytes()), Ok(lock));
    assert_eq!(Lock::parse("tidemill.lock", b""), Ok(Lock::default()));
}

#[test]
fn a_hand_edited_file_is_refused_with_the_line_and_the_reason() {
    let good = sample().render();
    let replaced = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    let key = sample().steps["features"].key().to_string();
    for (text, line, message) in [
        (
            replaced("\nstep report", "\n<<<<<<< HEAD\nstep report"),
            20,
            "unresolved merge conflict (`<<<<<<<`)".to_owned(),
        ),
        (
            replaced(&key, "b3:xyz"),
            5,
            "`b3:xyz` is not a digest: expected `b3:` and 64 lower-case hexadecimal digits".to_owned(),
        ),
        (
            replaced("sql/1", "sql/2"),
            5,
            "the key of step `features` does not belong to what its block says; was it edited?".to_owned(),
        ),
        (
            replaced("step report@a=1", "step features"),
            20,
            "step `features` is here a second time, first at line 4".to_owned(),
        ),
        (
            replaced("  param share", "  parm share"),
            13,
            "unknown field `parm` of step `features`; did you mean `param`?".to_owned(),
        ),
        (
            replaced("  param share 0.5", "  param from 0.5"),
            13,
            "`param` of step `features` is here a second time".to_owned(),
        ),
        (
            replaced("share 0.5", "share 0.5.5"),
            13,
            "expected a value as JSON: trailing characters".to_owned(),
        ),
        (replaced("share 0.5", "share 0.5 more"), 13, "`more` is too much at the end of the line".to_owned()),
        (replaced("share 0.5", "share"), 13, "a value is missing".to_owned()),
        (replaced("share 0.5", "share no"), 13, "expected a value as JSON: expected ident".to_owned()),
        (replaced("file 11", "file -11"), 10, "`-11` is not a number of bytes".to_owned()),
        (
            replaced("file 11", "pipe 11"),
            10,
            "`pipe` is none of `file`, `executable`, `folder`, `remote`".to_owned(),
        ),
        (replaced("flights tsv", "flights xml"), 9, "`xml` is not the format of a table".to_owned()),
        (
            replaced("TZ value", "TZ was"),
            16,
            "`was` is none of `value`, `inherited`, `unset`, `secret`".to_owned(),
        ),
        (
            replaced("  sql-file sql/f.sql\n", ""),
            4,
            "step `features` has none of `run`, `sql`, `sql-file`, `train`".to_owned(),
        ),
        (replaced("version 1", "version 2"), 2, "version `2` is not known here".to_owned()),
        (replaced("version 1\n", ""), 1, "the line `version 1` is missing".to_owned()),
        (
            replaced("\nstep features", "\nstpe features"),
            4,
            "`stpe` is not known at the beginning of a line; did you mean `step`?".to_owned(),
        ),
        (
            replaced("  builtin", "builtin"),
            5,
            "the key of step `features` does not belong to what its block says; was it edited?".to_owned(),
        ),
        ([good.as_bytes(), b"\xff"].concat(), 26, "the line is not UTF-8".to_owned()),
    ] {
        let error = Lock::parse("tidemill.lock", &text).unwrap_err();
        let expected = format!("tidemill.lock:{line}: {message}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn edited_outputs_are_refused_and_older_files_without_a_checksum_are_read() {
    let lock = sample();
    let good = lock.render();
    let (id, other) = (Digest::of(b"f.parquet"), Digest::of(b"r.txt"));
    let out = format!("  out {id} file 9 f.parquet\n");
    for edited in [
        format!("  out {other} file 9 f.parquet\n"),
        format!("  out {id} folder 9 f.parquet\n"),
        format!("  out {id} file 8 f.parquet\n"),
    ] {
        let error = Lock::parse("tidemill.lock", good.replacen(&out, &edited, 1).as_bytes()).unwrap_err();
        let expected = "tidemill.lock:18: the outputs of step `features` do not belong to the checksum of its block; \
                        were they edited?";
        assert_eq!(error.to_string(), expected);
    }
    let older: String =
        good.lines().filter(|line| !line.starts_with("  check")).map(|line| format!("{line}\n")).collect();
    assert_ne!(older, good);
    assert_eq!(Lock::parse("tidemill.lock", older.as_bytes()), Ok(lock));
}

#[test]
fn fractions_keep_every_bit() {
    // A reader that is off by one bit gives this number another key.
    let mut step = locked(ActionText::Run("x".to_owned()), &[], &["x"]);
    step.record.params.insert("rate".to_owned(), json!(-428_429_511_262.810_36));
    let lock = Lock { steps: [("a".to_owned(), step)].into() };
    assert_eq!(Lock::parse("x", lock.render().as_bytes()), Ok(lock));
}

#[test]
fn conflicts_say_how_to_get_rid_of_them() {
    let text = "version 1\n=======\n";
    let error = Lock::parse("tidemill.lock", text.as_bytes()).unwrap_err();
    assert!(error.hint().unwrap().contains("git checkout --ours tidemill.lock"), "{:?}", error.hint());
}

#[test]
fn merging_decides_per_step() {
    let step = |text: &str| locked(ActionText::Run(text.to_owned()), &[], &["x"]);
    let lock = |steps: &[(&str, &str)]| Lock {
        steps: steps.iter().map(|(name, text)| ((*name).to_owned(), step(text))).collect(),
    };
    let base = lock(&[("a", "0"), ("b", "0"), ("c", "0"), ("d", "0"), ("gone", "0"), ("fought", "0")]);
    let ours = lock(&[("a", "1"), ("b", "0"), ("c", "1"), ("d", "1"), ("new", "1")]);
    let theirs = lock(&[
        ("a", "0"),
        ("b", "2"),
        ("c", "1"),
        ("d", "2"),
        ("gone", "0"),
        ("fought", "2"),
        ("newer", "2"),
    ]);
    let merged = Lock::merge(&base, &ours, &theirs);
    let expected = lock(&[
        ("a", "1"),
        ("b", "2"),
        ("c", "1"),
        ("d", "1"),
        ("fought", "2"),
        ("new", "1"),
        ("newer", "2"),
    ]);
    assert_eq!(merged, LockMerge { lock: expected, conflicts: vec!["d".to_owned(), "fought".to_owned()] });
}

#[test]
fn writing_replaces_the_file_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (root, lock) = (folder.path(), sample());
    assert_eq!(Lock::read(root).unwrap(), Lock::default());
    lock.write(root).unwrap();
    assert_eq!(Lock::read(root).unwrap(), lock);
    let before = fs::metadata(root.join(LOCK_FILE)).unwrap().modified().unwrap();
    lock.write(root).unwrap();
    assert_eq!(fs::metadata(root.join(LOCK_FILE)).unwrap().modified().unwrap(), before);
    // What a killed process left goes with the next write.
    fs::write(root.join(".tidemill.lock.4711.tmp"), "half").unwrap();
    Lock::default().write(root).unwrap();
    let names: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [LOCK_FILE]);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e12..1e12_f64).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/.]{1,8}",
        "\\PC{1,6}",
        ".{0,6}",
        Just("\"quoted\"".to_owned()),
        Just("a\nb\r".to_owned())
    ]
}

fn contents() -> impl Strategy<Value = Content> {
    let kind = prop_oneof![
        Just(ContentKind::File),
        Just(ContentKind::Executable),
        Just(ContentKind::Folder),
        Just(ContentKind::Remote)
    ];
    (any::<[u8; 32]>(), kind, any::<u64>()).prop_map(|(digest, kind, bytes)| Content {
        digest: Digest::from_bytes(digest),
        kind,
        bytes,
    })
}

fn steps() -> impl Strategy<Value = LockedStep> {
    let action = prop_oneof![
        ".*".prop_map(ActionText::Run),
        ".*".prop_map(ActionText::Sql),
        names().prop_map(ActionText::SqlFile),
        values().prop_map(ActionText::Train),
    ];
    let env = prop_oneof![
        ".*".prop_map(EnvRecord::Value),
        prop::option::of(any::<[u8; 32]>()).prop_map(|d| EnvRecord::Inherited(d.map(Digest::from_bytes))),
        Just(EnvRecord::Secret),
    ];
    let parts = (
        action,
        prop::option::of(names()),
        prop::collection::btree_map(names(), prop::collection::vec(names(), 0..3), 0..3),
        prop::collection::btree_map(names(), prop::sample::select(DataFormat::ALL.to_vec()), 0..2),
        prop::collection::btree_map(names(), contents(), 0..4),
        prop::collection::btree_map(names(), values(), 0..3),
        prop::collection::btree_map(names(), env, 0..3),
        prop::collection::btree_map(names(), contents(), 0..3),
    );
    parts.prop_map(|(action, builtin, inputs, formats, deps, params, env, outs)| LockedStep {
        record: ActionRecord {
            action,
            builtin,
            inputs,
            formats,
            deps,
            params,
            env,
            outs: outs.keys().cloned().collect::<BTreeSet<_>>(),
        },
        outs,
    })
}

fn locks() -> impl Strategy<Value = Lock> {
    prop::collection::btree_map(names(), steps(), 0..4).prop_map(|steps| Lock { steps })
}

proptest! {
    #[test]
    fn every_lock_survives_the_round_trip(lock in locks()) {
        let text = lock.render();
        prop_assert_eq!(Lock::parse("x", text.as_bytes()), Ok(lock));
    }

    #[test]
    fn any_damage_is_read_or_refused(lock in locks(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = lock.render().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        prop_assert_eq!(fuzz_lock(&text), Ok(()));
    }

    #[test]
    fn one_side_without_changes_gives_the_other(base in locks(), other in locks()) {
        let expected = LockMerge { lock: other.clone(), conflicts: Vec::new() };
        prop_assert_eq!(&Lock::merge(&base, &base, &other), &expected);
        prop_assert_eq!(&Lock::merge(&base, &other, &base), &expected);
        prop_assert_eq!(&Lock::merge(&base, &other, &other), &expected);
    }
}
