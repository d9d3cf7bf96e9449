//! What a run must have, as conditions on one row each: all comparisons of one metric, parameter or tag are one need.

use crate::search::sql::Column;
use crate::search::{Condition, Field, Op, Operand, Sql, text};

/// One thing that a run must have, or must not.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Need {
    /// A metric whose newest value passes all tests.
    Metric { key: String, tests: Vec<MetricTest> },
    /// No such metric.
    NoMetric(String),
    /// A parameter or tag, or its absence.
    Pair { pairs: Pairs, key: String, tests: Vec<(Op, Operand)> },
    /// A property of the run itself.
    Property { column: &'static str, whole: bool, op: Op, value: Operand },
    /// A whole number of the run itself.
    Whole { column: &'static str, value: i64 },
    /// A dataset that the run read.
    Dataset { column: &'static str, op: Op, value: Operand },
    /// Never met.
    Nothing,
}

/// A test of a metric's newest value. NaN differs from every number, and compares in no other way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MetricTest {
    Is(Op, f64),
    Nan,
}

/// Which of the two tables of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairs {
    Params,
    Tags,
}

/// The tag that holds a run's name; filters by name look there, as MLflow's do.
const NAME_TAG: &str = "mlflow.runName";
/// The tag of an input that says what the dataset was used for.
const CONTEXT_TAG: &str = "mlflow.data.context";
/// As many characters of a value are in the index of values.
const INDEXED: usize = 64;

/// The needs of all conditions.
pub(super) fn needs(conditions: &[Condition]) -> Vec<Need> {
    let mut needs = Vec::new();
    for Condition { field, op, value } in conditions {
        match (field, value) {
            (Field::Metric(key), Operand::Number(number)) => {
                add_metric(&mut needs, key, MetricTest::Is(*op, *number));
            }
            (Field::Param(key), _) => add_pair(&mut needs, Pairs::Params, key, *op, value),
            (Field::Tag(key), _) => add_pair(&mut needs, Pairs::Tags, key, *op, value),
            (Field::Attribute(name), _) if name == "run_name" => {
                add_pair(&mut needs, Pairs::Tags, NAME_TAG, *op, value);
            }
            (Field::Attribute(name), _) => needs.push(match property(name) {
                Some((column, whole)) => Need::Property { column, whole, op: *op, value: value.clone() },
                None => Need::Nothing,
            }),
            (Field::Dataset(name), _) => needs.push(match name.as_str() {
                "name" => Need::Dataset { column: "name", op: *op, value: value.clone() },
                "digest" => Need::Dataset { column: "digest", op: *op, value: value.clone() },
                "context" => Need::Dataset { column: "context", op: *op, value: value.clone() },
                _ => Need::Nothing,
            }),
            (
                Field::Metric(_)
                | Field::Metadata(_)
                | Field::Span(_)
                | Field::Feedback(_)
                | Field::Expectation(_),
                _,
            ) => needs.push(Need::Nothing),
        }
    }
    needs
}

fn add_metric(needs: &mut Vec<Need>, key: &str, test: MetricTest) {
    for need in needs.iter_mut() {
        if let Need::Metric { key: known, tests } = need
            && known == key
        {
            tests.push(test);
            return;
        }
    }
    needs.push(Need::Metric { key: key.to_owned(), tests: vec![test] });
}

fn add_pair(needs: &mut Vec<Need>, pairs: Pairs, key: &str, op: Op, value: &Operand) {
    for need in needs.iter_mut() {
        if let Need::Pair { pairs: table, key: known, tests } = need
            && *table == pairs
            && known == key
        {
            tests.push((op, value.clone()));
            return;
        }
    }
    needs.push(Need::Pair { pairs, key: key.to_owned(), tests: vec![(op, value.clone())] });
}

/// The column of an attribute, and whether it holds whole numbers.
pub(super) fn property(name: &str) -> Option<(&'static str, bool)> {
    Some(match name {
        "run_id" => ("uuid", false),
        "run_name" => ("name", false),
        "status" => ("status", false),
        "artifact_uri" => ("artifact_uri", false),
        "user_id" => ("user_name", false),
        "start_time" => ("started_at", true),
        "end_time" => ("ended_at", true),
        _ => return None,
    })
}

impl Pairs {
    /// The table as `d`, and as the row of an owner.
    pub(super) const fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Params => ("run_param", "run_param c WHERE c.run_id"),
            Self::Tags => ("run_tag", "run_tag c WHERE c.run_id"),
        }
    }

    /// The table as `c` by its index of values, on SQLite and on PostgreSQL.
    const fn of_values(self) -> [&'static str; 2] {
        match self {
            Self::Params => ["run_param c INDEXED BY run_param_value", "run_param c"],
            Self::Tags => ["run_tag c INDEXED BY run_tag_value", "run_tag c"],
        }
    }
}

impl Need {
    /// The condition on the run `t`. Where a row `d` of the run `drives` the search, what can be told without the run itself
    /// is asked of `d`, so that only runs that pass are looked up.
    pub(super) fn push(&self, sql: &mut Sql, drives: bool) {
        let run = if drives { "d.run_id" } else { "t.id" };
        match self {
            Self::Metric { key, tests } => {
                sql.push("EXISTS (SELECT 1 FROM series c WHERE c.run_id = t.id AND c.name = ").text(key);
                for test in tests {
                    sql.push(" AND ");
                    test.push(sql, "c");
                }
                sql.push(")");
            }
            Self::NoMetric(key) => {
                sql.push("NOT EXISTS (SELECT 1 FROM series c WHERE c.run_id = ").push(run);
                sql.push(" AND c.name = ").text(key).push(")");
            }
            Self::Pair { pairs, key, tests } => {
                if let [(Op::Eq, Operand::Text(value))] = tests.as_slice()
                    && value.chars().count() < INDEXED
                {
                    // The index of values holds such a value whole, and runs with one value side by side: one page of it answers for
                    // many runs, one of the table for a few. SQLite takes the table where it is not told.
                    let [sqlite, postgres] = pairs.of_values();
                    sql.push("EXISTS (SELECT 1 FROM ")
                        .either(sqlite, postgres)
                        .push(" WHERE c.key = ")
                        .text(key);
                    sql.push(" AND substr(c.value, 1, 64) = ").text(value.as_str());
                    sql.push(" AND c.run_id = ").push(run).push(")");
                    return;
                }
                let tests: Vec<_> = tests.iter().map(|(op, value)| (*op, value)).collect();
                let absent = tests.iter().any(|(op, _)| *op == Op::IsNull);
                sql.pair_is(pairs.table().1, if absent { run } else { "t.id" }, key, &tests);
            }
            Self::Property { column, whole, op, value } => {
                let column = Column::new("t", column);
                match value {
                    Operand::Number(number) if *whole => sql.int_is(column, *op, *number),
                    _ if *whole && !matches!(op, Op::IsNull | Op::IsNotNull) => sql.push("FALSE"),
                    _ => sql.text_is(column, *op, value),
                };
            }
            Self::Whole { column, value } => {
                sql.column(Column::new("t", column)).push(" = ").int(*value);
            }
            Self::Dataset { column, op, value } => {
                sql.push(
                    "EXISTS (SELECT 1 FROM run_input i JOIN input_dataset x ON x.id = i.dataset_id
                    WHERE i.run_id = t.id AND ",
                );
                push_dataset(sql, column, *op, value);
                sql.push(")");
            }
            Self::Nothing => {
                sql.push("FALSE");
            }
        }
    }

    /// How soon it is asked, beside others: first what tells most runs apart for the least.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Pair { tests, .. } if tests.iter().any(|(op, _)| *op == Op::Eq) => 0,
            Self::NoMetric(_) => 1,
            Self::Pair { tests, .. } if tests.iter().any(|(op, _)| *op == Op::IsNull) => 1,
            _ => 2,
        }
    }

    /// Whether it is met by what a run does not have, which no index can find.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::NoMetric(_) => true,
            Self::Pair { tests, .. } => tests.iter().any(|(op, _)| *op == Op::IsNull),
            _ => false,
        }
    }

    /// Whether a run needs this metric, parameter or tag.
    pub(super) fn requires(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Metric { key, .. }, Self::NoMetric(absent)) => key == absent,
            (Self::Pair { pairs, key, tests }, Self::Pair { pairs: table, key: absent, .. }) => {
                pairs == table && key == absent && tests.iter().any(|(op, _)| *op != Op::IsNull)
            }
            _ => false,
        }
    }

    /// Whether an index finds what meets this need.
    pub(super) fn is_indexed(&self) -> bool {
        match self {
            Self::Metric { .. } | Self::Nothing => true,
            Self::Pair { tests, .. } => tests.iter().all(|(op, _)| *op != Op::IsNull),
            Self::Property { column: "ended_at", op, .. } => *op == Op::IsNull,
            Self::Property { column, op, .. } => *column == "uuid" && matches!(op, Op::Eq | Op::In),
            Self::Dataset { column, op, .. } => *column != "context" && matches!(op, Op::Eq | Op::In),
            Self::NoMetric(_) | Self::Whole { .. } => false,
        }
    }

    /// Whether it is met by one row of `other`'s metric, parameter or tag.
    pub(super) fn has_row_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Metric { key, .. }, Self::Metric { key: other, .. }) => key == other,
            (Self::Pair { pairs, key, tests }, Self::Pair { pairs: table, key: other, .. }) => {
                pairs == table && key == other && tests.iter().all(|(op, _)| *op != Op::IsNull)
            }
            _ => false,
        }
    }

    /// Adds what `other` asks of the same row.
    pub(super) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Metric { tests, .. }, Self::Metric { tests: more, .. }) => tests.extend(more),
            (Self::Pair { tests, .. }, Self::Pair { tests: more, .. }) => tests.extend(more.iter().cloned()),
            _ => {}
        }
    }

    /// The table, known as `d`, whose index finds what meets this need; `false` if it is the run itself.
    pub(super) fn push_table(&self, sql: &mut Sql, experiments: &[i64]) -> bool {
        match self {
            Self::Metric { .. } => sql.push("series d"),
            Self::Pair { pairs, .. } => sql.push(pairs.table().0).push(" d"),
            Self::Dataset { column, op, value } => {
                sql.push(
                    "(SELECT DISTINCT i.run_id FROM input_dataset x JOIN run_input i ON i.dataset_id = x.id
                    WHERE x.experiment_id IN ",
                )
                .ints(experiments)
                .push(" AND ");
                push_dataset(sql, column, *op, value);
                sql.push(") d")
            }
            Self::Property { .. } | Self::Whole { .. } | Self::NoMetric(_) | Self::Nothing => return false,
        };
        true
    }

    /// What the index can say of `d`. More rows may pass than meet the need.
    pub(super) fn push_index(&self, sql: &mut Sql) {
        match self {
            Self::Metric { key, tests } => {
                sql.push(" AND d.name = ").text(key);
                for test in tests.iter().filter(|test| test.is_range()) {
                    sql.push(" AND ");
                    test.push(sql, "d");
                }
            }
            Self::Pair { key, tests, .. } => {
                sql.push(" AND d.key = ").text(key);
                for (op, value) in tests {
                    push_indexed(sql, *op, value);
                }
            }
            Self::Dataset { .. }
            | Self::Property { .. }
            | Self::Whole { .. }
            | Self::NoMetric(_)
            | Self::Nothing => {}
        }
    }

    /// What [`Self::push_index`] left out.
    pub(super) fn push_rest(&self, sql: &mut Sql) {
        match self {
            Self::Metric { tests, .. } => {
                for test in tests.iter().filter(|test| !test.is_range()) {
                    sql.push(" AND ");
                    test.push(sql, "d");
                }
            }
            Self::Pair { tests, .. } => {
                for (op, value) in tests.iter().filter(|(op, _)| *op != Op::IsNotNull) {
                    sql.push(" AND ").text_is("d.value", *op, value);
                }
            }
            Self::Dataset { .. }
            | Self::Property { .. }
            | Self::Whole { .. }
            | Self::NoMetric(_)
            | Self::Nothing => {}
        }
    }
}

impl MetricTest {
    fn is_range(self) -> bool {
        !matches!(self, Self::Is(Op::Ne, _))
    }

    pub(super) fn push(self, sql: &mut Sql, table: &'static str) {
        let [nan, value] = ["last_is_nan", "last_value"].map(|name| Column::new(table, name));
        match self {
            Self::Nan => {
                sql.column(nan).push(" = 1");
            }
            Self::Is(Op::Ne, number) => {
                sql.push("(").column(nan).push(" = 1 OR ").float_is(value, Op::Ne, number).push(")");
            }
            Self::Is(op, number) => {
                sql.column(nan).push(" = 0 AND ").float_is(value, op, number);
            }
        }
    }
}

fn push_dataset(sql: &mut Sql, column: &'static str, op: Op, value: &Operand) {
    if column != "context" {
        sql.text_is(Column::new("x", column), op, value);
        return;
    }
    let (sqlite, postgres) = ("json_extract(j.value, '$[1]')", "((j.value ->> 1) COLLATE \"C\")");
    sql.either(
        "EXISTS (SELECT 1 FROM json_each(i.tags) j WHERE json_extract(j.value, '$[0]') = ",
        "EXISTS (SELECT 1 FROM json_array_elements(i.tags::json) j(value) WHERE j.value ->> 0 = ",
    )
    .text(CONTEXT_TAG)
    .push(" AND ");
    let expression = if sql.is_postgres() { postgres } else { sqlite };
    sql.text_is(expression, op, value).push(")");
}

/// What the index of values, which holds their beginnings, can say.
fn push_indexed(sql: &mut Sql, op: Op, value: &Operand) {
    let cut = |text: &str| text.chars().take(INDEXED).collect::<String>();
    match (op, value) {
        (Op::Eq, Operand::Text(value)) => {
            sql.push(" AND substr(d.value, 1, 64) = ").text(cut(value));
        }
        (Op::In, Operand::List(values)) if !values.is_empty() => {
            let cut: Vec<String> = values.iter().map(|value| cut(value)).collect();
            sql.push(" AND substr(d.value, 1, 64) IN ").texts(&cut);
        }
        (Op::Like, Operand::Text(pattern)) => {
            let beginning = cut(text::beginning(pattern));
            if beginning.is_empty() {
                return;
            }
            sql.push(" AND substr(d.value, 1, 64) >= ").text(beginning.as_str());
            if let Some(end) = text::after_all(&beginning) {
                sql.push(" AND substr(d.value, 1, 64) < ").text(end);
            }
        }
        _ => {}
    }
}
