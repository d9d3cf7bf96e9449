//! Where a version is worst: parts of its test rows that share a value, and what decisions are worth there.

use arrow::array::{Array as _, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use tidemill_registry::Error;
use tidemill_train::fit::by_slice;
use tidemill_train::probe::{BadSlice, Loss, Search, coded, losses, row_weights, worst};
use tidemill_train::report::Report;
use tidemill_ui::chart::{Bar, Bars};
use tidemill_ui::{Block, Cell, Empty, Figure, Link, Section, Table, number};

use super::ask::Ask;
use super::evaluation::blocking;

/// Rows below which a slice says nothing.
const LEAST: u64 = 100;
/// Slices that are listed.
const LISTED: usize = 12;
/// Columns that are searched, the most important first.
const COLUMNS: usize = 12;
/// Rows that are searched while somebody waits; of more, so many that are evenly spread.
const SEARCHED: usize = 100_000;
/// Values of a column that are listed.
const VALUES: usize = 60;

/// What a row of a version is bad by, in words with the unit.
fn loss(report: &Report) -> (Loss, String) {
    match report.decision.as_ref().and_then(|decision| decision.cost.as_ref()) {
        Some(cost) => {
            let unit = cost.costs.currency.clone().unwrap_or_else(|| "units of the cost matrix".to_owned());
            (Loss::Cost, format!("cost per decision ({unit})"))
        }
        None if report.confusion.is_empty() => (Loss::Error, "mean absolute error".to_owned()),
        None => (Loss::Error, "share of wrong answers".to_owned()),
    }
}

/// Columns by which rows can be cut: what the model takes or was tested beside, but for what nobody may see.
pub(super) fn columns(ask: &Ask, report: &Report, rows: &RecordBatch) -> Vec<String> {
    let about = ask.app.config().about.as_ref();
    let hidden =
        |name: &str| about.is_some_and(|about| about.hidden.values().flatten().any(|column| column == name));
    let by_importance = report.importance.iter().map(|one| &one.column);
    let mut found: Vec<String> = Vec::new();
    for name in by_importance.chain(&report.task.features) {
        let is_there = rows.column_by_name(name).is_some_and(|column| !column.data_type().is_nested());
        if is_there && !hidden(name) && !found.contains(name) {
            found.push(name.clone());
        }
    }
    found.truncate(COLUMNS);
    found
}

/// The slices by these columns whose rows are worse than the others, the worst first.
pub(super) async fn bad(
    report: &Report,
    rows: RecordBatch,
    columns: Vec<String>,
) -> Result<(String, Vec<BadSlice>), Error> {
    let (loss, unit) = loss(report);
    let found = blocking(move || {
        let rows = spread(rows)?;
        let losses = losses(&rows, loss).map_err(|error| error.to_string())?;
        let weights = row_weights(&rows).map_err(|error| error.to_string())?;
        if (losses.len() as u64) < 2 * LEAST {
            return Ok(Vec::new());
        }
        let codes = columns.iter().map(|name| coded(&rows, name, LEAST as usize));
        let codes: Vec<_> = codes.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let search = Search { support: LEAST, top: 50, difference: 0.0, ..Search::default() };
        worst(&codes, &losses, weights.as_deref(), &search).map_err(|error| error.to_string())
    });
    let mut found = found.await?;
    found.truncate(LISTED);
    Ok((unit, found))
}

/// The rows, or [`SEARCHED`] of them.
fn spread(rows: RecordBatch) -> Result<RecordBatch, String> {
    let count = rows.num_rows();
    if count <= SEARCHED {
        return Ok(rows);
    }
    let places = (0..SEARCHED).map(|at| (at * count / SEARCHED) as u64);
    take_record_batch(&rows, &UInt64Array::from_iter_values(places)).map_err(|error| error.to_string())
}

/// What must be said where not all rows are searched.
pub(super) fn searched(rows: usize) -> String {
    if rows <= SEARCHED {
        return String::new();
    }
    format!("{SEARCHED} of the {rows} test rows, evenly spread, are searched; counts are of these.")
}

/// The slices as a table.
pub(super) fn table(unit: &str, found: &[BadSlice]) -> Table {
    let rows = found.iter().map(|slice| {
        vec![
            Cell::text(slice.conditions.clone()),
            Cell::Count(slice.rows),
            Cell::Number(slice.mean),
            Cell::Number(slice.others),
            Cell::Number(slice.p),
            Cell::text(if slice.is_flagged { "yes" } else { "no" }),
        ]
    });
    let heads = ["rows where", "rows", unit, "of all other rows", "p", "beyond chance"];
    Table::new("slices", "Worst slices", &heads).with(rows)
}

/// Where the version is worst, and one column's values where `?by=` names it.
pub(super) async fn section(ask: &Ask, report: &Report, rows: RecordBatch) -> Result<Section, Error> {
    let (columns, count) = (columns(ask, report, &rows), rows.num_rows());
    let (unit, found) = bad(report, rows.clone(), columns.clone()).await?;
    let mut blocks = Vec::new();
    if found.is_empty() {
        blocks.push(Block::Empty(Empty::new(
            "No part of the test rows is worse than the rest",
            format!("Parts of at least {LEAST} rows were looked for, by one column or two."),
        )));
    } else {
        let bars = found.iter().map(|slice| Bar { name: slice.conditions.clone(), value: slice.mean });
        let chart = Bars { title: "Worst slices".into(), unit: unit.clone(), bars: bars.collect() };
        let certain = found.iter().filter(|slice| slice.is_flagged).count();
        let others = found.first().map_or(f64::NAN, |slice| slice.others);
        blocks.push(Block::Figure(Box::new(Figure {
            id: "slices".into(),
            title: "Worst slices".into(),
            note: format!(
                "Of all parts of at least {LEAST} test rows that share the values of one column or two, these are the worst; \
                 the rows outside the first have {}. {certain} of these {} are worse beyond chance, counting that all parts \
                 were looked at.",
                number(others),
                found.len(),
            ),
            picture: chart.draw(),
            table: table(&unit, &found),
            wide: true,
            ..Figure::default()
        })));
    }
    if !columns.is_empty() {
        let link = |name: &String| {
            Link::new(format!("{}#by-column", ask.with(&[("by", name)])), format!("by {name}"))
        };
        blocks.push(Block::Links(columns.iter().map(link).collect()));
    }
    if let Some(by) = ask.get("by") {
        if !columns.iter().any(|column| column == by) {
            return Err(Error::invalid(format!("the test rows cannot be cut by `{by}`")));
        }
        blocks.push(Block::Section(by_column(report, rows, by.to_owned()).await?));
    }
    Ok(Section::new("worst-slices", "Slices", blocks).note(searched(count)))
}

/// The headline metric for each value of a column.
async fn by_column(report: &Report, rows: RecordBatch, column: String) -> Result<Section, Error> {
    let Some(first) = report.test.first() else { return Ok(Section::default()) };
    let metric = first.metric;
    let (name, overall) = (tidemill_train::metric::name(metric), first.value);
    let of = column.clone();
    let found =
        blocking(move || by_slice(&rows, &of, metric, LEAST as usize).map_err(|error| error.to_string()));
    let found = found.await?;
    let cell = |value: Option<f64>| value.map_or(Cell::None, Cell::Number);
    let lines = found.iter().take(VALUES).map(|slice| {
        vec![
            Cell::Text(slice.value.clone().unwrap_or_else(|| "missing".to_owned())),
            Cell::Count(slice.rows),
            cell(slice.metric),
            cell(slice.interval.map(|interval| interval.lower)),
            cell(slice.interval.map(|interval| interval.upper)),
        ]
    });
    let heads = [column.as_str(), "rows", name, "from (95 %)", "to (95 %)"];
    let table = Table::new("by_column", format!("{name} by {column}"), &heads)
        .with(lines)
        .or(Empty::new(format!("No value of {column} has {LEAST} rows"), "Choose another column."));
    let overall =
        overall.map_or_else(String::new, |value| format!(" All test rows together: {}.", number(value)));
    Ok(Section::new("by-column", format!("{name} by {column}"), vec![Block::Table(table)])
        .note(format!("Values of at least {LEAST} rows, the most frequent first.{overall}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;

    use super::*;

    fn rows(count: u64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..count));
        RecordBatch::try_from_iter([("x", numbers)]).unwrap()
    }

    #[test]
    fn of_many_rows_as_many_as_can_be_searched_are_taken_from_everywhere() {
        let few = spread(rows(7)).unwrap();
        assert_eq!((few.num_rows(), searched(7)), (7, String::new()));

        let many = spread(rows(250_000)).unwrap();
        let numbers = many.column(0).as_any().downcast_ref::<UInt64Array>().unwrap();
        assert_eq!(numbers.len(), SEARCHED);
        assert_eq!(
            (numbers.value(0), numbers.value(1), numbers.value(2), numbers.value(99_999)),
            (0, 2, 5, 249_997)
        );
        assert!(searched(250_000).starts_with("100000 of the 250000 test rows"));
    }
}
