//! `tidemill records`: what was asked of models and what they answered.

mod skew;

use std::path::PathBuf;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampMillisecondType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::{Args, ValueHint};
use serde_json::json;
use tidemill_core::Timestamp;
use tidemill_serve::record::outcome::Outcomes;
use tidemill_serve::record::{LogError, Query, Reader, write_json_lines, write_parquet};

use crate::cli::Global;
use crate::failure::Failure;
use crate::home::Opened;
use crate::output::{Align, Console, Table, bytes, count, plural};

#[derive(Debug, Args)]
pub(crate) struct Records {
    /// The endpoint, or the registered model where it was asked directly; a list of all that have records where not given
    pub(crate) endpoint: Option<String>,
    /// At or after this time: RFC 3339, a day, or how long ago, as in `2h`
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Answered by this version of the model
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// Answered by this arm
    #[arg(long, value_name = "ARM")]
    pub(crate) arm: Option<String>,
    /// The request of this id
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// About this entity, as it stands in the log
    #[arg(long, value_name = "KEY")]
    pub(crate) entity: Option<String>,
    /// Only requests that ended so: `answered`, `fell_back`, `failed`
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Answers of shadows: `only` or `none`
    #[arg(long, value_name = "WHICH")]
    pub(crate) shadow: Option<Shadow>,
    /// The newest N rows; 20 where they are printed as a table, all where they are written
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Only these columns
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,…")]
    pub(crate) columns: Option<Vec<String>>,
    /// With columns `outcome_NAME` of what became known later
    #[arg(long)]
    pub(crate) outcomes: bool,
    /// Write into a Parquet file instead of printing
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Look each request up in this table instead, and compare its inputs with the row of the same key: what a model was given beside
    /// what it should have been given. Of the newest 100,000 requests where no number is given
    #[arg(long, value_name = "TABLE", value_hint = ValueHint::FilePath, requires = "key", conflicts_with_all = ["output", "columns", "outcomes"])]
    pub(crate) against: Option<PathBuf>,
    /// What a request and its row have in common: inputs, `entity`, `request_id` or `row`, each with the column of the table where that has
    /// another name
    #[arg(long, value_name = "LOGGED[=COLUMN],…", requires = "against", value_delimiter = ',')]
    pub(crate) key: Vec<String>,
    /// The share of each input that may be different
    #[arg(long, value_name = "SHARE", requires = "against", default_value = "0%")]
    pub(crate) allow: tidemill_project::Share,
    /// The folder of database and store; `.tidemill` of the project, or of the current folder, where not given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
}

/// Which answers of shadows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shadow {
    /// Only those
    Only,
    /// None of them
    None,
}

/// Rows of the table where no number is given.
const ROWS: usize = 20;

pub(crate) fn run(args: &Records, global: &Global, console: &Console) -> anyhow::Result<()> {
    let app = Opened::at(args.home.as_deref(), global, console)?;
    let (db, store) = (app.registry.db(), app.registry.store());
    let reader = Reader::of_home(db.clone(), store.clone(), &app.home.dir);
    let Some(endpoint) = &args.endpoint else { return list(&app, &reader, console) };
    let now = app.registry.clock().now();
    let time = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
    let query = Query {
        endpoint: Some(endpoint.clone()),
        from: time(&args.from)?,
        to: time(&args.to)?,
        version: args.version.clone(),
        arm: args.arm.clone(),
        id: args.id.clone(),
        entity: args.entity.clone(),
        status: args.status.clone(),
        shadow: args.shadow.map(|shadow| shadow == Shadow::Only),
        columns: args.columns.clone(),
        ..Query::default()
    };
    let found = app.block(reader.find(&query))?;
    if let Some(table) = &args.against {
        let logged = found.last(args.limit.unwrap_or(skew::REQUESTS))?;
        return skew::compare(endpoint, &logged, (table, &args.key), args.allow.0, console);
    }
    let is_table = args.output.is_none() && !console.json();
    let limit = args.limit.or(is_table.then_some(ROWS));
    let of_records = found.schema();
    // Of a few rows only the outcomes of their time are read.
    let (rows, from, to): (Box<dyn Iterator<Item = Result<RecordBatch, LogError>>>, _, _) = match limit {
        Some(limit) => {
            let rows = found.last(limit)?;
            let (from, to) = stretch(&rows).unwrap_or((query.from, query.to));
            (Box::new(rows.into_iter().map(Ok)), from, to)
        }
        None => (Box::new(found.batches()), query.from, query.to),
    };
    let outcomes =
        if args.outcomes { app.block(Outcomes::load(db, endpoint, from, to))? } else { Outcomes::default() };
    let schema = outcomes.schema(&of_records);
    let rows = rows.map(|batch| if args.outcomes { outcomes.attach(&batch?) } else { batch });
    if let Some(path) = &args.output {
        let written = write_parquet(&schema, rows, path)?;
        if console.json() {
            return console.value(&json!({"rows": written.rows, "bytes": written.bytes, "output": path}));
        }
        let rows = plural(written.rows, "row");
        console.line(format!("wrote {rows}, {} to {}", bytes(written.bytes), path.display()));
        return Ok(());
    }
    if console.json() {
        let mut out = std::io::stdout().lock();
        write_json_lines(rows, &mut out)?;
        return Ok(());
    }
    table(console, rows)
}

/// From when to when rows are; none where they do not say.
fn stretch(rows: &[RecordBatch]) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    let times = || {
        rows.iter().map(|batch| batch.column_by_name("time")?.as_primitive_opt::<TimestampMillisecondType>())
    };
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for column in times() {
        for time in column?.iter().flatten() {
            (first, last) = (first.min(time), last.max(time));
        }
    }
    // Where there is no row, no outcome is wanted.
    let (from, to) = if first <= last { (first, last.saturating_add(1)) } else { (0, 0) };
    Some((Some(Timestamp::from_millis(from)), Some(Timestamp::from_millis(to))))
}

fn list(app: &Opened, reader: &Reader, console: &Console) -> anyhow::Result<()> {
    let endpoints = app.block(reader.endpoints())?;
    if console.json() {
        return console.value(&json!({ "endpoints": endpoints }));
    }
    if endpoints.is_empty() {
        console.note("no endpoint has records yet");
    }
    let mut table = Table::new(&[
        ("endpoint", Align::Left),
        ("outcomes joined", Align::Right),
        ("late", Align::Right),
        ("waiting", Align::Right),
        ("duplicate", Align::Right),
        ("corrected", Align::Right),
        ("unmatched", Align::Right),
    ]);
    for endpoint in endpoints {
        let known = app.block(app.registry.db().outcome_counts(&endpoint))?;
        let numbers =
            [known.matched, known.late, known.waiting, known.duplicate, known.corrected, known.unmatched]
                .map(count);
        table.row(std::iter::once(endpoint).chain(numbers));
    }
    if !table.is_empty() {
        table.lines(None).into_iter().for_each(|line| console.line(line));
    }
    Ok(())
}

/// Columns without any value are left out, since an endpoint that has neither arms nor entities has many.
fn table(console: &Console, rows: impl Iterator<Item = Result<RecordBatch, LogError>>) -> anyhow::Result<()> {
    let batches = rows.collect::<Result<Vec<_>, _>>()?;
    let Some(first) = batches.first() else {
        console.note("no record fits");
        return Ok(());
    };
    let options = FormatOptions::default().with_null("");
    let mut columns: Vec<(String, Align, Vec<String>)> = Vec::new();
    for (index, field) in first.schema_ref().fields().iter().enumerate() {
        let mut cells = Vec::new();
        for batch in &batches {
            let formatter = ArrayFormatter::try_new(batch.column(index), &options)?;
            cells.extend((0..batch.num_rows()).map(|row| formatter.value(row).to_string()));
        }
        let align = if field.data_type().is_numeric() { Align::Right } else { Align::Left };
        if cells.iter().any(|cell| !cell.is_empty() && cell != "[]") {
            columns.push((field.name().clone(), align, cells));
        }
    }
    let heads: Vec<(&str, Align)> = columns.iter().map(|(name, align, _)| (name.as_str(), *align)).collect();
    let mut table = Table::new(&heads);
    let rows = columns.first().map_or(0, |(_, _, cells)| cells.len());
    for row in 0..rows {
        table.row(columns.iter().map(|(_, _, cells)| cells.get(row).cloned().unwrap_or_default()));
    }
    table.lines(None).into_iter().for_each(|line| console.line(line));
    Ok(())
}

/// RFC 3339, a day, or how long ago.
pub(crate) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(tidemill_project::Period(ago)) = text.parse() {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_millis(now.millis().saturating_sub(ago)));
    }
    let day = (text.len() == 10).then(|| format!("{text}T00:00:00Z"));
    Timestamp::parse(day.as_deref().unwrap_or(text)).ok_or_else(|| {
        Failure::usage(format!("`{text}` is no time"))
            .hint("as in `2026-11-26T04:30:00Z`, `2026-11-26`, or `2h` for two hours ago")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn of_a_few_rows_only_the_outcomes_of_their_time_are_read() {
        let batch = |times: Vec<i64>| {
            let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"));
            RecordBatch::try_from_iter([("time", times)]).unwrap()
        };
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(stretch(&[batch(vec![7, 9]), batch(vec![9, 12])]), Some((at(7), at(13))));
        assert_eq!(stretch(&[]), Some((at(0), at(0))));
        let rows: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert_eq!(stretch(&[RecordBatch::try_from_iter([("row", rows)]).unwrap()]), None, "they do not say");
    }
}
