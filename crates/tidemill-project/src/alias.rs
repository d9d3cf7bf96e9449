//! Expectations as dbt, Soda and Great Expectations write them, turned into our names before anything else looks at them.
//!
//! Only names and shapes change; places in the text stay, so that messages point to what the author wrote.

use crate::node::{Entry, Kind, Node};

/// Their name and ours.
const RULES: [(&str, &str); 32] = [
    ("accepted_range", "between"),
    ("accepted_values", "in_set"),
    ("compound_unique", "unique"),
    ("duplicate", "unique"),
    ("expect_column_mean_to_be_between", "mean_between"),
    ("expect_column_proportion_of_null_values_to_be_between", "null_share"),
    ("expect_column_stdev_to_be_between", "std_between"),
    ("expect_column_sum_to_be_between", "sum_between"),
    ("expect_column_unique_value_count_to_be_between", "distinct_count"),
    ("expect_column_value_lengths_to_be_between", "length"),
    ("expect_column_values_to_be_between", "between"),
    ("expect_column_values_to_be_decreasing", "monotonic"),
    ("expect_column_values_to_be_in_set", "in_set"),
    ("expect_column_values_to_be_increasing", "monotonic"),
    ("expect_column_values_to_be_unique", "unique"),
    ("expect_column_values_to_match_regex", "regex"),
    ("expect_column_values_to_not_be_in_set", "not_in_set"),
    ("expect_column_values_to_not_be_null", "not_null"),
    ("expect_column_values_to_not_match_regex", "not_regex"),
    ("expect_compound_columns_to_be_unique", "unique"),
    ("expect_table_column_count_to_be_between", "column_count"),
    ("expect_table_row_count_to_be_between", "row_count"),
    ("length_between", "length"),
    ("match_regex", "regex"),
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
const KEYS: [(&str, &str); 8] = [
    ("min_value", "min"),
    ("max_value", "max"),
    ("value_set", "values"),
    ("regex", "pattern"),
    ("field", "key"),
    ("column_list", "columns"),
    ("combination_of_columns", "columns"),
    ("strictly", "strict"),
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
                let span = entry.key_span.clone();
                if let Kind::Map(inside) = &mut entry.value.kind {
                    inside.push(Entry {
                        key: "order".to_owned(),
                        key_span: span.clone(),
                        value: Node::new(Kind::String("decreasing".to_owned()), span),
                    });
                }
            }
            _ => {}
        }
    }
    entries.extend(moved);
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
";
        let expect =
            |text| parse(text, "tidemill.yaml").map(|project| project.data["flights"].expect.clone());
        assert_eq!(expect(theirs).unwrap(), expect(ours).unwrap());
    }
}
