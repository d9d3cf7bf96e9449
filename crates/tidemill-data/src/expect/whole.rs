//! Rules on the table as a whole, which need no scan.

use tidemill_core::declare::Rule;
use tidemill_core::did_you_mean;

use super::{CheckResult, Limits, within};
use crate::{ColumnType, Error, Table};

pub(super) fn judge(table: &Table, name: &str, rule: &Rule, limits: &Limits, result: &mut CheckResult) {
    result.checked = table.rows();
    match rule {
        Rule::RowCount { min, max } => {
            let rows = table.rows();
            let (low, high) = (min.is_some_and(|min| rows < min), max.is_some_and(|max| rows > max));
            let bound = match (min, max) {
                (Some(min), _) if low => format!(", fewer than {min}"),
                (_, Some(max)) if high => format!(", more than {max}"),
                _ => String::new(),
            };
            result.observed = Some(rows as f64);
            result.judge(!low && !high, format!("{rows} rows{bound}"));
        }
        Rule::ColumnCount { min, max } => {
            let columns = table.schema().fields().len();
            let bound = |bound: &Option<u64>| bound.map(|bound| bound as f64);
            let (passed, beyond) = within(columns as f64, bound(min), bound(max));
            result.observed = Some(columns as f64);
            result.judge(passed, format!("{columns} columns{beyond}"));
        }
        Rule::Schema(columns) => schema(table, columns, result),
        Rule::Sql { assert } => match sql(table, name, assert, limits) {
            Ok((passed, answer)) => result.judge(passed, format!("the query answers {answer}")),
            Err(error) => result.refuse(error.into()),
        },
        _ => {}
    }
}

fn schema(table: &Table, columns: &indexmap::IndexMap<String, String>, result: &mut CheckResult) {
    let mut wrong = Vec::new();
    let mut hint = None;
    for (column, expected) in columns {
        let Some(kind) = ColumnType::from_name(expected) else {
            wrong.push(format!("there is no type `{expected}`"));
            hint = did_you_mean(expected, ColumnType::NAMED.iter().map(|(name, _)| *name));
            continue;
        };
        match table.column(column) {
            Ok(index) => {
                let found = table.kind(index);
                if found != kind {
                    wrong.push(format!("`{column}` is {found}, not {kind}"));
                }
            }
            Err(error) => {
                use tidemill_core::Hint as _;
                wrong.push(error.to_string());
                hint = hint.or(error.hint());
            }
        }
    }
    let message = if wrong.is_empty() {
        format!("{} columns are as declared", columns.len())
    } else {
        wrong.join("; ")
    };
    result.judge(wrong.is_empty(), message);
    result.failed = wrong.len() as u64;
    result.checked = columns.len() as u64;
    result.hint = hint;
}

#[cfg(feature = "sql")]
fn sql(table: &Table, name: &str, query: &str, limits: &Limits) -> Result<(bool, String), Error> {
    let spill = limits.spill_dir.as_deref();
    // A thread of its own, because the caller's may already drive async work and must not wait for more of it.
    let answer = std::thread::scope(|scope| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Error::Unusable(format!("cannot run a query: {error}")))?;
            runtime.block_on(crate::sql::assert_table(query, name, table, limits.memory, spill))
        };
        scope.spawn(work).join()
    });
    let answer = answer.map_err(|_| Error::Unusable("the query engine stopped".to_owned()))??;
    Ok((answer.passed, answer.answer))
}

#[cfg(not(feature = "sql"))]
fn sql(_: &Table, _: &str, _: &str, _: &Limits) -> Result<(bool, String), Error> {
    Err(Error::Unusable("this build has no SQL engine, so the rule was not judged".to_owned()))
}
