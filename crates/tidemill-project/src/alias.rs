//! Expectations as dbt, Soda and Great Expectations write them, turned into our names before anything else looks at them.
//!
//! Only names and shapes change; places in the text stay, so that messages point to what the author wrote.

use serde_json::Number;

use crate::node::{Entry, Kind, Node};

/// Their name and ours.
const RULES: [(&str, &str); 42] = [
    ("accepted_range", "between"),
    ("accepted_values", "in_set"),
    ("compound_unique", "unique"),
    ("duplicate", "unique"),
    ("expect_column_max_to_be_between", "quantile_between"),
    ("expect_column_mean_to_be_between", "mean_between"),
    ("expect_column_median_to_be_between", "quantile_between"),
    ("expect_column_min_to_be_between", "quantile_between"),
    ("expect_column_pair_values_a_to_be_greater_than_b", "compare"),
    ("expect_column_proportion_of_null_values_to_be_between", "null_share"),
    ("expect_column_stdev_to_be_between", "std_between"),
    ("expect_column_sum_to_be_between", "sum_between"),
    ("expect_column_unique_value_count_to_be_between", "distinct_count"),
    ("expect_column_value_lengths_to_be_between", "length"),
    ("expect_column_values_to_be_between", "between"),
    ("expect_column_values_to_be_decreasing", "monotonic"),
    ("expect_column_values_to_be_in_set", "in_set"),
    ("expect_column_values_to_be_increasing", "monotonic"),
    ("expect_column_values_to_be_null", "null_share"),
    ("expect_column_values_to_be_unique", "unique"),
    ("expect_column_values_to_match_regex", "regex"),
    ("expect_column_values_to_not_be_in_set", "not_in_set"),
    ("expect_column_values_to_not_be_null", "not_null"),
    ("expect_column_values_to_not_match_regex", "not_regex"),
    ("expect_compound_columns_to_be_unique", "unique"),
    ("expect_table_column_count_to_be_between", "column_count"),
    ("expect_table_column_count_to_equal", "column_count"),
    ("expect_table_row_count_to_be_between", "row_count"),
    ("expect_table_row_count_to_equal", "row_count"),
    ("length_between", "length"),
    ("match_regex", "regex"),
    ("max_between", "quantile_between"),
    ("median_between", "quantile_between"),
    ("min_between", "quantile_between"),
    ("not_accepted_values", "not_in_set"),
    ("not_match_regex", "not_regex"),
    ("null_share_between", "null_share"),
    ("relationships", "foreign_key"),
    ("row_count_between", "row_count"),
    ("train_test_disjoint", "no_leakage"),
    ("unique_combination_of_columns", "unique"),
    ("distinct_count_between", "distinct_count"),
];

/// Their keys inside of a rule and ours.
const KEYS: [(&str, &str); 10] = [
    ("min_value", "min"),
    ("max_value", "max"),
    ("value_set", "values"),
    ("regex", "pattern"),
    ("field", "key"),
    ("column_list", "columns"),
    ("combination_of_columns", "columns"),
    ("strictly", "strict"),
    ("column_A", "left"),
    ("column_B", "right"),
];

/// Renames what stands under `data: …: expect:`.
pub(crate) fn apply(root: &mut Node) {
    let Some(datasets) = below(root, "data") else { return };
    let Kind::Map(datasets) = &mut datasets.kind else { return };
    for dataset in datasets {
        let Some(expect) = below(&mut dataset.value, "expect") else { continue };
        let Kind::List(rules) = &mut expect.kind else { continue };
        rules.iter_mut().for_each(expectation);
    }
}

fn below<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let Kind::Map(entries) = &mut node.kind else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

fn expectation(node: &mut Node) {
    let Kind::Map(entries) = &mut node.kind else { return };
    let mut moved = Vec::new();
    for entry in entries.iter_mut() {
        let theirs = entry.key.clone();
        rename(&mut entry.key, &RULES);
        keys(&mut entry.value, &mut moved);
        match entry.key.as_str() {
            "not_null" | "unique" => columns(&mut entry.value),
            "foreign_key" => reference(&mut entry.value),
            "monotonic" if theirs.ends_with("decreasing") => {
                put(entry, "order", Kind::String("decreasing".to_owned()));
            }
            "quantile_between" => {
                if let Some(quantile) = quantile(&theirs) {
                    put(entry, "quantile", Kind::Number(quantile));
                }
            }
            "compare" if theirs != entry.key => {
                let or_equal = taken(entry, "or_equal");
                let is_wide = matches!(or_equal.map(|value| value.kind), Some(Kind::Bool(true)));
                put(entry, "is", Kind::String(if is_wide { ">=" } else { ">" }.to_owned()));
            }
            "row_count" | "column_count" if theirs.ends_with("_to_equal") => {
                if let Some(value) = taken(entry, "value") {
                    put(entry, "min", value.kind.clone());
                    put(entry, "max", value.kind);
                }
            }
            "null_share" if theirs.ends_with("_to_be_null") => {
                // The share of rows that must hold is here the share of nulls.
                let mostly = moved.iter().position(|other: &Entry| other.key == "mostly");
                let least = mostly.map(|place| moved.remove(place).value.kind);
                put(entry, "min", least.unwrap_or_else(|| Kind::Number(1.into())));
            }
            _ => {}
        }
    }
    entries.extend(moved);
}

/// The quantile that a rule of another name means.
fn quantile(theirs: &str) -> Option<Number> {
    match theirs {
        "min_between" | "expect_column_min_to_be_between" => Some(0.into()),
        "median_between" | "expect_column_median_to_be_between" => Number::from_f64(0.5),
        "max_between" | "expect_column_max_to_be_between" => Some(1.into()),
        _ => None,
    }
}

/// Adds what a rule's name says to what stands in it.
fn put(rule: &mut Entry, key: &str, kind: Kind) {
    let span = rule.key_span.clone();
    if let Kind::Map(inside) = &mut rule.value.kind {
        inside.push(Entry { key: key.to_owned(), key_span: span.clone(), value: Node::new(kind, span) });
    }
}

/// Takes a key out of a rule.
fn taken(rule: &mut Entry, key: &str) -> Option<Node> {
    let Kind::Map(inside) = &mut rule.value.kind else { return None };
    let place = inside.iter().position(|entry| entry.key == key)?;
    Some(inside.remove(place).value)
}

/// Their name becomes ours.
fn rename(key: &mut String, names: &[(&str, &str)]) {
    if let Some((_, ours)) = names.iter().find(|(theirs, _)| *theirs == *key) {
        (*ours).clone_into(key);
    }
}

/// Renames the keys of a rule, and takes `mostly` out of it.
fn keys(node: &mut Node, moved: &mut Vec<Entry>) {
    let Kind::Map(entries) = &mut node.kind else { return };
    for entry in entries.iter_mut() {
        rename(&mut entry.key, &KEYS);
    }
    if let Some(place) = entries.iter().position(|entry| entry.key == "mostly") {
        moved.push(entries.remove(place));
    }
}

/// A column, or a map that names columns, as the list that it means.
fn columns(node: &mut Node) {
    match &mut node.kind {
        Kind::String(_) => listed(node),
        Kind::Map(entries)
            if entries.len() == 1 && matches!(entries[0].key.as_str(), "column" | "columns") =>
        {
            let inside = entries.remove(0).value;
            *node = inside;
            if matches!(node.kind, Kind::String(_)) {
                listed(node);
            }
        }
        _ => {}
    }
}

fn listed(node: &mut Node) {
    let one = node.clone();
    node.kind = Kind::List(vec![one]);
}

/// `column` and `key` as lists; `ref('planes')` as `planes`.
fn reference(node: &mut Node) {
    let Kind::Map(entries) = &mut node.kind else { return };
    for entry in entries {
        if entry.key == "column" {
            "columns".clone_into(&mut entry.key);
        }
        let text = matches!(entry.value.kind, Kind::String(_));
        if matches!(entry.key.as_str(), "columns" | "key") && text {
            listed(&mut entry.value);
        }
        if let (Kind::String(to), "to") = (&mut entry.value.kind, entry.key.as_str()) {
            let inside = to.strip_prefix("ref(").and_then(|rest| rest.strip_suffix(')'));
            if let Some(inside) = inside {
                *to = inside.trim_matches(['\'', '"', ' ']).to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn rules_of_other_tools_are_ours() {
        let theirs = "
project: p
data:
  planes: {path: planes.parquet}
  flights:
    path: flights.parquet
    expect:
      - not_null: carrier
      - expect_column_values_to_not_be_null: {column: origin, mostly: 0.9}
      - accepted_values: {column: origin, values: [EWR, JFK]}
      - expect_column_values_to_be_between: {column: distance, min_value: 0, max_value: 6000}
      - unique_combination_of_columns: {combination_of_columns: [a, b]}
      - relationships: {column: tailnum, to: \"ref('planes')\", field: tailnum}
      - expect_column_values_to_match_regex: {column: carrier, regex: '^..$'}
      - expect_column_values_to_be_decreasing: {column: a}
      - expect_column_min_to_be_between: {column: distance, min_value: 0}
      - expect_column_max_to_be_between: {column: distance, max_value: 6000}
      - median_between: {column: distance, min: 200, max: 2000}
      - expect_column_pair_values_a_to_be_greater_than_b: {column_A: a, column_B: b}
      - expect_column_pair_values_a_to_be_greater_than_b: {column_A: a, column_B: b, or_equal: true, mostly: 0.9}
      - expect_table_row_count_to_equal: {value: 336776}
      - expect_column_values_to_be_null: {column: note}
      - expect_column_values_to_be_null: {column: note, mostly: 0.5}
";
        let ours = "
project: p
data:
  planes: {path: planes.parquet}
  flights:
    path: flights.parquet
    expect:
      - not_null: [carrier]
      - {not_null: [origin], mostly: 0.9}
      - in_set: {column: origin, values: [EWR, JFK]}
      - between: {column: distance, min: 0, max: 6000}
      - unique: [a, b]
      - foreign_key: {columns: [tailnum], to: planes, key: [tailnum]}
      - regex: {column: carrier, pattern: '^..$'}
      - monotonic: {column: a, order: decreasing}
      - quantile_between: {column: distance, quantile: 0, min: 0}
      - quantile_between: {column: distance, quantile: 1, max: 6000}
      - quantile_between: {column: distance, quantile: 0.5, min: 200, max: 2000}
      - compare: {left: a, is: '>', right: b}
      - {compare: {left: a, is: '>=', right: b}, mostly: 0.9}
      - row_count: {min: 336776, max: 336776}
      - null_share: {column: note, min: 1}
      - null_share: {column: note, min: 0.5}
";
        let expect =
            |text| parse(text, "tidemill.yaml").map(|project| project.data["flights"].expect.clone());
        assert_eq!(expect(theirs).unwrap(), expect(ours).unwrap());
    }
}
