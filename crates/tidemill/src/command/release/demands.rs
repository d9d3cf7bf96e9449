//! From the tests and expectations of a project file to what they ask for, so that another file can be compared with it.

use serde_json::Value;
use tidemill_core::declare::{Bounds, DriftLevel, Expectation, Rule, Severity, age};
use tidemill_deliver::rollout::{Ask, Demand};
use tidemill_project::{DecideBy, ModelTest, OneOrMany, Project};
use tidemill_server::delivery::Required;

use crate::model_test::granted::{
    ALONE, BINS, DEPTH, LEAST, LEVEL, MARGIN, ROUNDING, SHARE, THRESHOLD, VERSIONS,
};

/// What the tests ask for that a version must have passed.
pub(super) fn demands(project: &Project, required: &Required) -> Vec<Demand> {
    let mut all = Vec::new();
    if required.model {
        all.extend(project.tests.iter().map(of_model));
        all.extend(project.held_out.as_ref().map(|rows| {
            Demand::new("the rows of the tests of its model", Required::all_of_model())
                .ask("table", same(&rows.table))
                .ask("threshold", same(rows.threshold.unwrap_or(THRESHOLD)))
                .ask("weight", same(rows.weight.as_deref().unwrap_or("none")))
        }));
    }
    for dataset in required.data.iter().flatten() {
        let declared = project.data.iter().find(|(name, _)| name.as_str() == dataset);
        for expectation in declared.iter().flat_map(|(_, data)| &data.expect) {
            of_data(dataset, expectation, &mut all);
        }
    }
    all
}

fn same(value: impl ToString) -> Ask {
    Ask::Same(value.to_string())
}

fn each(columns: &OneOrMany) -> Ask {
    Ask::each(columns.as_slice().iter().cloned())
}

/// Columns, of which all are meant where none is named.
fn columns(named: Option<&OneOrMany>) -> Ask {
    named.map_or_else(|| Ask::each([""; 0]), each)
}

fn least(value: Option<f64>) -> Option<Ask> {
    value.map(Ask::Least)
}

fn most(value: Option<f64>) -> Option<Ask> {
    value.map(Ask::Most)
}

fn by(given: Option<DecideBy>, usual: &str) -> Ask {
    same(given.map_or(usual, |by| match by {
        DecideBy::Estimate => "estimate",
        DecideBy::Interval => "interval",
    }))
}

fn sure(given: Option<f64>) -> Ask {
    same(given.unwrap_or(LEVEL))
}

fn rows(given: Option<u64>) -> Ask {
    Ask::Most(given.unwrap_or(LEAST) as f64)
}

fn of_model(test: &ModelTest) -> Demand {
    let kind = test.name();
    let of = |about: &str| {
        let about = if about.is_empty() { String::new() } else { format!(" of `{about}`") };
        Demand::new(format!("the test `{kind}`{about}"), Required::one_of_model(kind))
    };
    match test {
        ModelTest::Metric(test) => of(&test.name)
            .ask_maybe("min", least(test.min))
            .ask_maybe("max", most(test.max))
            .ask("by", by(test.by, "estimate"))
            .ask("confidence", sure(test.confidence)),
        ModelTest::Cost(test) => of("").ask("max_regression", Ask::Most(test.max_regression)),
        ModelTest::Baseline(test) => of(&format!("{:?}", test.beats).to_lowercase())
            .ask("metric", same(test.metric.as_deref().unwrap_or("the usual one")))
            .ask("by", by(test.by, "interval"))
            .ask("confidence", sure(test.confidence)),
        ModelTest::Slice(test) => of(&test.metric)
            .ask("by", each(&test.by))
            .ask_maybe("min", least(test.min))
            .ask_maybe("max", most(test.max))
            .ask("min_rows", rows(test.min_rows)),
        ModelTest::Parity(test) => of("").ask("max_abs", Ask::Most(test.max_abs)),
        ModelTest::Champion(test) => of(&test.metric).ask("margin", Ask::Most(test.margin.unwrap_or(MARGIN))),
        ModelTest::Flips(test) => of("").ask("max", Ask::Most(test.max.0)),
        ModelTest::WorstSlice(test) => of("")
            .ask("max_worse", Ask::Most(test.max_worse))
            .ask("loss", same(format!("{:?}", test.loss.unwrap_or_default()).to_lowercase()))
            .ask("columns", columns(test.columns.as_ref()))
            .ask("depth", Ask::Least(f64::from(test.depth.unwrap_or(DEPTH))))
            .ask("min_rows", rows(test.min_rows)),
        ModelTest::Calibration(test) => of("")
            .ask("max_error", Ask::Most(test.max_error))
            .ask("bins", same(test.bins.unwrap_or(BINS)))
            .ask_maybe("min_slope", least(test.min_slope))
            .ask_maybe("max_slope", most(test.max_slope))
            .ask_maybe("by", test.by.as_ref().map(each))
            .ask("min_rows", rows(test.min_rows)),
        ModelTest::Fairness(test) => of("")
            .ask("attributes", each(&test.attributes))
            .ask_maybe("demographic_parity", most(test.demographic_parity))
            .ask_maybe("parity_ratio", least(test.parity_ratio))
            .ask_maybe("equal_opportunity", most(test.equal_opportunity))
            .ask_maybe("equalized_odds", most(test.equalized_odds))
            .ask("min_rows", rows(test.min_rows)),
        ModelTest::Robustness(test) => of(&test.metric)
            .ask("max_loss", Ask::Most(test.max_loss))
            .ask_maybe("noise", least(test.noise))
            .ask_maybe("missing", least(test.missing.map(|share| share.0)))
            .ask_maybe("shuffle", test.shuffle.as_ref().map(each))
            .ask("columns", columns(test.columns.as_ref()))
            .ask("by", by(test.by, "estimate"))
            .ask("confidence", sure(test.confidence)),
        ModelTest::Invariance(test) => of(&test.column)
            .ask("max_change", Ask::Most(test.max_change))
            .ask("share", Ask::Least(test.share.map_or(SHARE, |share| share.0))),
        ModelTest::Direction(test) => of(&test.column)
            .ask("must_not", same(format!("{:?}", test.must_not).to_lowercase()))
            .ask(
                "raise",
                same(test.raise.map_or("one standard deviation".to_owned(), |raise| raise.to_string())),
            )
            .ask("tolerance", Ask::Most(test.tolerance.unwrap_or(ROUNDING)))
            .ask("share", Ask::Least(test.share.map_or(SHARE, |share| share.0))),
        ModelTest::Leakage(test) => of("")
            .ask("max_alone", Ask::Most(test.max_alone.unwrap_or(ALONE)))
            .ask_maybe("max_overlap", most(test.max_overlap.map(|share| share.0))),
        ModelTest::Staleness(test) => of(&test.metric)
            .ask("max_age", Ask::Least(test.max_age.0.as_secs_f64() / 86_400.0))
            .ask("max_loss", Ask::Most(test.max_loss))
            .ask("versions", Ask::Least(f64::from(test.versions.unwrap_or(VERSIONS)))),
        ModelTest::Size(test) => of("").ask("max_mb", Ask::Most(test.max_mb)),
        ModelTest::Latency(test) => {
            of("").ask("p99_ms", Ask::Most(test.p99_ms)).ask("rows", same(test.rows.unwrap_or(1)))
        }
        ModelTest::Smoke(_) => of(""),
    }
}

/// An expectation on a dataset; one that names several columns, each for itself, is several.
fn of_data(dataset: &str, expectation: &Expectation, all: &mut Vec<Demand>) {
    let rule = &expectation.rule;
    let of = |about: &str| {
        let about = if about.is_empty() { String::new() } else { format!(" of `{about}`") };
        let name = format!("the expectation `{}`{about} on `{dataset}`", rule.name());
        let mut demand = Demand::new(name, Required::all_of_data(dataset))
            .ask("mostly", Ask::Least(expectation.mostly.unwrap_or(1.0)))
            .ask("where", same(expectation.condition.as_deref().unwrap_or("all rows")));
        demand.warns = expectation.severity() == Severity::Warn;
        demand
    };
    let within = |bounds: &Bounds| {
        of(&bounds.column).ask_maybe("min", least(bounds.min)).ask_maybe("max", most(bounds.max))
    };
    let counted = |min: Option<u64>, max: Option<u64>| {
        let (min, max) = (min.map(|min| min as f64), max.map(|max| max as f64));
        of("").ask_maybe("min", least(min)).ask_maybe("max", most(max))
    };
    let values = |values: &[Value]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    let one = match rule {
        Rule::NotNull(columns) => return all.extend(columns.iter().map(|column| of(column))),
        // Rows that differ in fewer columns differ in more, too.
        Rule::Unique(columns) => of("").ask("columns", Ask::only(columns.iter().cloned())),
        Rule::NullShare(bounds)
        | Rule::Length(bounds)
        | Rule::DistinctCount(bounds)
        | Rule::MeanBetween(bounds)
        | Rule::StdBetween(bounds)
        | Rule::SumBetween(bounds) => within(bounds),
        Rule::InSet { column, values: allowed } => of(column).ask("values", Ask::only(values(allowed))),
        Rule::NotInSet { column, values: forbidden } => {
            of(column).ask("values", Ask::each(values(forbidden)))
        }
        Rule::Between { column, min, max } => {
            // Of times and dates only the same can be told to be as strict.
            let limit = |value: &Value, ask: fn(f64) -> Ask| value.as_f64().map_or_else(|| same(value), ask);
            of(column)
                .ask_maybe("min", min.as_ref().map(|min| limit(min, Ask::Least)))
                .ask_maybe("max", max.as_ref().map(|max| limit(max, Ask::Most)))
        }
        Rule::Regex { column, pattern } | Rule::NotRegex { column, pattern } => {
            of(column).ask("pattern", same(pattern))
        }
        Rule::Monotonic { column, order, strict } => of(column)
            .ask("order", same(format!("{order:?}").to_lowercase()))
            .ask("strict", Ask::Least(f64::from(u8::from(*strict)))),
        Rule::Compare { left, is, right } => {
            let is = serde_json::to_value(is).unwrap_or_default();
            of(&format!("{left} {} {right}", is.as_str().unwrap_or_default()))
        }
        Rule::ForeignKey { columns, to, key } => {
            of(&columns.join(", ")).ask("to", same(to)).ask("key", same(key.join(", ")))
        }
        Rule::NoLeakage { from, columns } => of(from).ask("columns", same(columns.join(", "))),
        Rule::Freshness { column, max_age } => {
            // In hours; what is no age is refused where the file is read.
            of(column).ask_maybe("max_age", most(age(max_age).map(|age| age.as_secs_f64() / 3_600.0)))
        }
        Rule::RowCount { min, max } | Rule::ColumnCount { min, max } => counted(*min, *max),
        Rule::QuantileBetween { column, quantile, min, max } => of(column)
            .ask("quantile", same(quantile))
            .ask_maybe("min", least(*min))
            .ask_maybe("max", most(*max)),
        Rule::NoNewCategories { columns, against } => {
            let of_column = |column: &String| of(column).ask("against", same(against));
            return all.extend(columns.iter().map(of_column));
        }
        Rule::DriftBelow { against, columns, level } => {
            let taken = match level {
                DriftLevel::Minor => None,
                DriftLevel::Major => Some("a minor one"),
            };
            of("")
                .ask("against", same(against))
                .ask("columns", Ask::each(columns.iter().cloned()))
                .ask("drift", Ask::only(taken))
        }
        Rule::Schema(types) => {
            let of_column = |(column, is): (&String, &String)| of(column).ask("type", same(is));
            return all.extend(types.iter().map(of_column));
        }
        Rule::Sql { assert } => {
            let shown: String = assert.chars().take(60).collect();
            of(&shown).ask("assert", same(assert))
        }
    };
    all.push(one);
}

#[cfg(test)]
mod tests {
    use tidemill_deliver::rollout::Guards;

    use super::*;

    fn guards(text: &str) -> Guards {
        let project = tidemill_project::parse_bytes(text.as_bytes(), "tidemill.yaml").unwrap();
        let data: Vec<String> = project.data.keys().map(ToString::to_string).collect();
        let required = Required { model: true, data: Some(data), declared: Vec::new() };
        Guards { demands: demands(&project, &required), ..Guards::default() }
    }

    const FILE: &str = "\
project: flights
objective:
  task: {kind: classification, target: late, positive: 1}
  costs: {currency: EUR, false_negative: 120, false_positive: 15}
data:
  planes: {path: planes.csv}
  flights:
    path: flights.csv
    expect:
      - not_null: [carrier, origin]
      - between: {column: distance, min: 0, max: 6000}
      - {in_set: {column: origin, values: [EWR, JFK]}, mostly: 0.99}
      - unique: [year, day]
      - row_count: {min: 1000}
      - sql: {assert: 'select count(*) = 0 from flights where air_time < 0'}
      - freshness: {column: day, max_age: 36h}
      - drift_below: {against: planes}
      - {drift_below: {against: planes, columns: [origin]}, severity: error}
pipeline:
  train: {train: {algorithm: gbdt, features: flights.csv}, outs: [model]}
release: {model: late, environments: {prod: {}}}
tests:
  - metric: {name: roc_auc, min: 0.65}
  - cost: {max_regression: 0.0}
  - baseline: {beats: prior}
  - slice: {by: [origin, carrier], metric: roc_auc, min: 0.55, min_rows: 500}
  - flips: {max: 2%}
  - champion: {metric: roc_auc}
";

    #[test]
    fn what_another_file_asks_less() {
        let before = guards(FILE);
        assert_eq!(before.weaker_than(&before), [""; 0]);
        for (from, to, wanted) in [
            ("min: 0.65", "min: 0.5", "`min` of the test `metric` of `roc_auc` is 0.5, not 0.65"),
            ("min: 0.65", "min: 0.7", ""),
            (
                "min: 0.65",
                "min: 0.65, by: interval",
                "`by` of the test `metric` of `roc_auc` is `interval`, not `estimate`, so it cannot be compared",
            ),
            (
                "metric: {name: roc_auc",
                "metric: {name: accuracy",
                "the test `metric` of `roc_auc` is not asked for any more",
            ),
            (
                "max_regression: 0.0",
                "max_regression: 0.1",
                "`max_regression` of the test `cost` is 0.1, not 0",
            ),
            (
                "by: [origin, carrier], metric",
                "by: origin, metric",
                "`by` of the test `slice` of `roc_auc` names `carrier` no more",
            ),
            (
                "min_rows: 500",
                "min_rows: 1000",
                "`min_rows` of the test `slice` of `roc_auc` is 1000, not 500",
            ),
            (", min_rows: 500", "", ""),
            ("max: 2%", "max: 5%", "`max` of the test `flips` is 0.05, not 0.02"),
            (
                "{metric: roc_auc}",
                "{metric: roc_auc, margin: 0.01}",
                "`margin` of the test `champion` of `roc_auc` is 0.01, not 0.005",
            ),
            ("{metric: roc_auc}", "{metric: roc_auc, margin: 0.005}", ""),
            (
                "[carrier, origin]",
                "[carrier]",
                "the expectation `not_null` of `origin` on `flights` is not asked for any more",
            ),
            (
                "min: 0, max: 6000",
                "min: -5, max: 6000",
                "`min` of the expectation `between` of `distance` on `flights` is -5, not 0",
            ),
            ("min: 0, max: 6000", "min: 1, max: 5000", ""),
            (
                "min: 0, max: 6000}",
                "max: 6000}",
                "`min` of the expectation `between` of `distance` on `flights` is not asked for any more",
            ),
            (
                "between: {column: distance, min: 0, max: 6000}",
                "{between: {column: distance, min: 0, max: 6000}, severity: warn}",
                "the expectation `between` of `distance` on `flights` only warns now",
            ),
            (
                "between: {column: distance, min: 0, max: 6000}",
                "{between: {column: distance, min: 0, max: 6000}, where: day > 5}",
                "`where` of the expectation `between` of `distance` on `flights` is `day > 5`, not `all rows`, so it cannot be compared",
            ),
            (
                "      - between: {column: distance, min: 0, max: 6000}\n",
                "",
                "the expectation `between` of `distance` on `flights` is not asked for any more",
            ),
            (
                "[EWR, JFK]",
                "[EWR, JFK, LGA]",
                "`values` of the expectation `in_set` of `origin` on `flights` allows also `\"LGA\"`",
            ),
            (
                "mostly: 0.99",
                "mostly: 0.9",
                "`mostly` of the expectation `in_set` of `origin` on `flights` is 0.9, not 0.99",
            ),
            ("unique: [year, day]", "unique: [year]", ""),
            (
                "unique: [year, day]",
                "unique: [year, day, hour]",
                "`columns` of the expectation `unique` on `flights` allows also `hour`",
            ),
            ("min: 1000", "min: 10", "`min` of the expectation `row_count` on `flights` is 10, not 1000"),
            (
                "max_age: 36h",
                "max_age: 2d",
                "`max_age` of the expectation `freshness` of `day` on `flights` is 48, not 36",
            ),
            ("      - drift_below: {against: planes}\n", "", ""),
        ] {
            assert!(FILE.contains(from), "{from}");
            let now = guards(&FILE.replace(from, to));
            assert_eq!(now.weaker_than(&before).join("; "), wanted, "{from} -> {to}");
        }
        // The order of a file does not matter.
        let turned = FILE
            .replace("      - row_count: {min: 1000}\n", "")
            .replace("    expect:\n", "    expect:\n      - row_count: {min: 1000}\n");
        assert_eq!(guards(&turned).weaker_than(&before), [""; 0]);
    }
}
