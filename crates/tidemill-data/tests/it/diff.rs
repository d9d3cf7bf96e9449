//! Differences between tables whose edits are known.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tidemill_core::{Cancel, Hint, Quiet};
use tidemill_data::diff::SAMPLE_ROWS;
use tidemill_data::{Profile, Row, Table, TableDiff, diff, diff_profiles, diff_rows};

use crate::python::months;
use crate::read::{Files, generated, open};

type Cells = (Option<String>, Option<f64>);

fn table(rows: &[(i64, Cells)]) -> Table {
    generated(
        rows.iter().map(|(id, _)| *id).collect(),
        rows.iter().map(|(_, (name, _))| name.clone()).collect(),
        rows.iter().map(|(_, (_, value))| *value).collect(),
    )
}

fn key() -> Vec<String> {
    vec!["id".to_owned()]
}

fn cells() -> impl Strategy<Value = Cells> {
    (proptest::option::of("[ab]{0,2}"), proptest::option::of((0..4).prop_map(f64::from)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn counts_are_those_of_the_edits(
        old in proptest::collection::btree_map(0i64..60, cells(), 0..40),
        new in proptest::collection::btree_map(0i64..60, cells(), 0..40),
        shuffle in any::<u64>(),
    ) {
        let before: Vec<_> = old.clone().into_iter().collect();
        let mut after: Vec<_> = new.clone().into_iter().collect();
        let length = after.len().max(1);
        after.rotate_left(shuffle as usize % length);
        let found = diff(&table(&before), &table(&after), Some(&key())).unwrap();
        let both = || old.iter().filter_map(|(id, a)| new.get(id).map(|b| (a, b)));
        prop_assert_eq!(found.rows.added, new.keys().filter(|id| !old.contains_key(id)).count() as u64);
        prop_assert_eq!(found.rows.removed, old.keys().filter(|id| !new.contains_key(id)).count() as u64);
        prop_assert_eq!(found.rows.changed, both().filter(|(a, b)| a != b).count() as u64);
        prop_assert_eq!(found.rows.unchanged, both().filter(|(a, b)| a == b).count() as u64);
        let names = both().filter(|(a, b)| a.0 != b.0).count() as u64;
        let values = both().filter(|(a, b)| a.1 != b.1).count() as u64;
        prop_assert_eq!(found.changed_cells.get("name").copied().unwrap_or(0), names);
        prop_assert_eq!(found.changed_cells.get("value").copied().unwrap_or(0), values);
        prop_assert_eq!(found.added_sample.len() as u64, found.rows.added.min(SAMPLE_ROWS as u64));
        for row in &found.changed_sample {
            let id = row.key["id"].as_i64().unwrap();
            let (a, b) = (&old[&id], &new[&id]);
            prop_assert_eq!(row.old.contains_key("name"), a.0 != b.0);
            prop_assert_eq!(row.new.get("value").is_some(), a.1 != b.1);
        }
    }

    #[test]
    fn without_a_key_rows_are_a_bag(
        old in proptest::collection::vec((0i64..4, cells()), 0..40),
        new in proptest::collection::vec((0i64..4, cells()), 0..40),
    ) {
        let mut bag: BTreeMap<String, i64> = BTreeMap::new();
        for row in &old {
            *bag.entry(format!("{row:?}")).or_default() -= 1;
        }
        for row in &new {
            *bag.entry(format!("{row:?}")).or_default() += 1;
        }
        let found = diff(&table(&old), &table(&new), None).unwrap();
        prop_assert_eq!(found.rows.added as i64, bag.values().filter(|n| **n > 0).sum::<i64>());
        prop_assert_eq!(found.rows.removed as i64, -bag.values().filter(|n| **n < 0).sum::<i64>());
        prop_assert_eq!(found.rows.changed, 0);
        prop_assert_eq!(found.rows.unchanged + found.rows.added, new.len() as u64);
    }
}

#[test]
fn schema_and_statistics() {
    let files = Files::new();
    let old = open(&files.write("old.csv", "id,n,gone\n1,1,x\n2,2,y\n3,3,z\n")).unwrap();
    let new = open(&files.write("new.csv", "id,extra,n\n1,p,1\n2,q,2.5\n4,r,4\n")).unwrap();
    let found = diff(&old, &new, Some(&key())).unwrap();
    let names = |fields: &[tidemill_data::SchemaField]| -> Vec<String> {
        fields.iter().map(|field| field.name.clone()).collect()
    };
    assert_eq!(names(&found.schema.added), ["extra"]);
    assert_eq!(names(&found.schema.removed), ["gone"]);
    assert_eq!(found.schema.retyped.len(), 1);
    assert_eq!(
        (found.schema.retyped[0].0.name.as_str(), found.schema.retyped[0].1.as_str()),
        ("n", "Float64")
    );
    // 1 as a whole number and as a float is the same value.
    let rows = found.rows;
    assert_eq!((rows.added, rows.removed, rows.changed, rows.unchanged), (1, 1, 1, 1));
    assert_eq!(found.changed_cells.get("n"), Some(&1));
    assert_eq!(
        found.added_sample[0],
        Row::from_iter([
            ("id".to_owned(), json!(4)),
            ("extra".to_owned(), json!("r")),
            ("n".to_owned(), json!(4.0)),
        ])
    );
    let n = found.columns.iter().find(|column| column.name == "n").unwrap();
    assert_eq!(n.change.unwrap().mean, Some(0.5));
    let gone = found.columns.iter().find(|column| column.name == "gone").unwrap();
    assert!(gone.old.is_some() && gone.new.is_none() && gone.change.is_none());
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<tidemill_data::TableDiff>(&text).unwrap(), found);
}

#[test]
fn duplicate_keys_match_in_order_and_are_counted() {
    let row = |id: i64, value: f64| (id, (None, Some(value)));
    let found = diff(
        &table(&[row(1, 1.0), row(1, 2.0), row(2, 1.0)]),
        &table(&[row(1, 1.0), row(1, 3.0), row(1, 4.0), row(2, 1.0)]),
        Some(&key()),
    )
    .unwrap();
    let duplicates = found.key.unwrap();
    assert_eq!((duplicates.duplicates_old, duplicates.duplicates_new), (1, 2));
    assert_eq!(
        (found.rows.added, found.rows.removed, found.rows.changed, found.rows.unchanged),
        (1, 0, 1, 2)
    );
}

#[test]
fn unknown_keys_are_named() {
    let one = table(&[]);
    let error = diff(&one, &one, Some(&["ids".to_owned()])).unwrap_err();
    assert_eq!(error.to_string(), "there is no column `ids` in `the old table`");
    assert_eq!(error.hint().as_deref(), Some("did you mean `id`?"));
}

#[test]
fn months_of_flights() {
    let (january, both) = (Table::open(&months(1), None).unwrap(), Table::open(&months(2), None).unwrap());
    let key: Vec<String> =
        ["year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"].map(str::to_owned).to_vec();
    for key in [Some(key.as_slice()), None] {
        let found = diff(&january, &both, key).unwrap();
        let rows = found.rows;
        assert_eq!((rows.old, rows.new, rows.added), (27_004, 51_955, 24_951));
        assert_eq!((rows.removed, rows.changed, rows.unchanged), (0, 0, 27_004));
        assert!(found.schema.is_empty());
    }
}

#[test]
fn rows_and_profiles_alone_say_what_a_whole_comparison_says() {
    let row = |id, name: &str, value| (id, (Some(name.to_owned()), Some(value)));
    let (old, new) = (
        table(&[row(1, "secret", 1.0), row(2, "b", 2.0), row(3, "c", 3.0)]),
        table(&[row(1, "secret", 5.0), row(2, "hidden", 2.0), row(4, "d", 4.0)]),
    );
    let whole = diff(&old, &new, Some(&key())).unwrap();
    let rows = diff_rows(&old, &new, Some(&key()), 1 << 20, &Quiet).unwrap();
    assert_eq!(TableDiff { columns: whole.columns.clone(), ..rows }, whole);
    let profiles = [&old, &new].map(|table| Profile::of(table).unwrap());
    assert_eq!(diff_profiles(&profiles[0], &profiles[1]), (whole.schema.clone(), whole.columns.clone()));
    let stop = Cancel::new();
    stop.cancel();
    let stopped = diff_rows(&old, &new, None, 1 << 20, &stop);
    assert!(matches!(stopped, Err(tidemill_data::Error::Cancelled)));
    // What is hidden is in no sample and no figure; counts and other columns stay.
    let mut shown = whole.clone();
    shown.redact(&["name".to_owned()]);
    let text = serde_json::to_string(&shown).unwrap();
    for word in ["secret", "hidden", "\"b\"", "\"c\"", "\"d\""] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert_eq!((shown.rows, shown.changed_cells), (whole.rows, whole.changed_cells));
    assert_eq!(shown.added_sample[0]["id"], whole.added_sample[0]["id"]);
    assert_eq!(shown.added_sample[0]["name"], tidemill_data::diff::HIDDEN);
}
