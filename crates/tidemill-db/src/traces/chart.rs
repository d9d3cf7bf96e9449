//! Numbers over many traces, spans or assessments, for charts: counts, sums and percentiles by time and by property.

use std::collections::BTreeMap;

use crate::backend::Conn;
use crate::search::Sql;
use crate::traces::{COST_NAMES, RUN_KEY};
use crate::{Db, Result};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Traces.
    Traces,
    /// Spans.
    Spans,
    /// Assessments that count.
    Assessments,
}

/// The number of each thing that is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// One.
    Count,
    /// The session; each counts once.
    Sessions,
    /// Milliseconds.
    Duration,
    /// Tokens, by their place in [`crate::traces::Usage::tokens`].
    Tokens(usize),
    /// Costs, by their place in [`crate::traces::Usage::costs`].
    Cost(usize),
    /// What an assessment says, as a number.
    Value,
}

/// A property that things are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// A trace's name.
    TraceName,
    /// How a trace stands.
    TraceState,
    /// A span's name.
    SpanName,
    /// A span's kind.
    SpanKind,
    /// How a span ended.
    SpanStatus,
    /// The model that a span asked.
    SpanModel,
    /// Who runs that model.
    SpanProvider,
    /// What an assessment is about.
    AssessmentName,
    /// What an assessment says, as JSON.
    AssessmentValue,
}

/// A condition; all of them must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChartFilter {
    /// How the trace stands.
    State(String),
    /// A tag of the trace and its value.
    Tag(String, String),
    /// An entry of the trace's metadata and its value.
    Metadata(String, String),
    /// The span's name.
    SpanName(String),
    /// The span's kind.
    SpanKind(String),
    /// How the span ended.
    SpanStatus(String),
    /// What the assessment is about.
    AssessmentName(String),
    /// `feedback`, `expectation` or `issue`.
    AssessmentKind(String),
}

/// What to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// In which experiments; none means nowhere.
    pub experiments: Vec<i64>,
    /// What is counted.
    pub view: View,
    /// The number of each.
    pub measure: Measure,
    /// At most five.
    pub dimensions: Vec<Dimension>,
    /// All must hold.
    pub filters: Vec<ChartFilter>,
    /// From this time on, in milliseconds.
    pub from_ms: Option<i64>,
    /// Up to and with this time, in milliseconds.
    pub to_ms: Option<i64>,
    /// The length of a stretch of time, in milliseconds.
    pub bucket_ms: Option<i64>,
    /// Between 0 and 100.
    pub percentiles: Vec<f64>,
    /// The largest number of answers.
    pub limit: usize,
}

/// One answer: a stretch of time and a value of each dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// When the stretch begins, in milliseconds.
    pub at_ms: Option<i64>,
    /// In the order of [`Chart::dimensions`].
    pub dimensions: Vec<String>,
    /// How many there are.
    pub count: i64,
    /// The sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// In the order of [`Chart::percentiles`], between neighbours in proportion.
    pub percentiles: Vec<f64>,
}

/// Dimensions that one statement can have.
const DIMENSIONS: usize = 5;
/// What a percentile is multiplied with so that places in a list are integers.
const SCALE: i64 = 1_000_000;

const WHOLE: i64 = 100 * SCALE;
/// The columns that tell the answers apart.
const KEYS: &str = "b, d1, d2, d3, d4, d5";

type Key = (i64, String, String, String, String, String);
type SumRow = (i64, String, String, String, String, String, i64, Option<f64>, Option<f64>, Option<f64>);
type PlaceRow = (i64, String, String, String, String, String, i64, Option<f64>, Option<f64>, i64);

impl Db {
    /// The numbers of a chart, by time, then by dimensions.
    pub async fn trace_chart(&self, chart: &Chart) -> Result<Vec<Bucket>> {
        let fail = "sum up traces";
        if chart.experiments.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.snapshot().await?;
        let sums = if chart.measure == Measure::Sessions {
            "COUNT(DISTINCT v), CAST(NULL AS DOUBLE PRECISION), CAST(NULL AS DOUBLE PRECISION),
             CAST(NULL AS DOUBLE PRECISION)"
        } else {
            "COUNT(*), SUM(v), MIN(v), MAX(v)"
        };
        let mut sql = base(&tx.conn(), chart);
        sql.pieced(&format!("SELECT {KEYS}, {sums} FROM base GROUP BY {KEYS} ORDER BY {KEYS} LIMIT "));
        sql.int(i64::try_from(chart.limit).unwrap_or(i64::MAX));
        let rows: Vec<SumRow> = sql.fetch(tx.conn()).await.map_err(self.ctx().fail(fail))?;
        let mut buckets: Vec<(Key, Bucket)> = rows
            .into_iter()
            .filter(|row| row.6 > 0)
            .map(|(b, d1, d2, d3, d4, d5, count, sum, min, max)| {
                let key = (b, d1, d2, d3, d4, d5);
                let bucket = Bucket {
                    at_ms: chart.bucket_ms.map(|_| b),
                    dimensions: dimensions(&key, chart.dimensions.len()),
                    count,
                    sum: sum.unwrap_or_default(),
                    min: min.unwrap_or_default(),
                    max: max.unwrap_or_default(),
                    percentiles: Vec::new(),
                };
                (key, bucket)
            })
            .collect();
        if !chart.percentiles.is_empty() {
            let sql = places(base(&tx.conn(), chart), chart);
            let rows: Vec<PlaceRow> = sql.fetch(tx.conn()).await.map_err(self.ctx().fail(fail))?;
            let found: BTreeMap<(Key, i64), f64> = rows
                .into_iter()
                .filter_map(|(b, d1, d2, d3, d4, d5, number, low, high, rest)| {
                    let low = low?;
                    let part = rest as f64 / WHOLE as f64;
                    let key = ((b, d1, d2, d3, d4, d5), number);
                    Some((key, low + (high.unwrap_or(low) - low) * part))
                })
                .collect();
            for (key, bucket) in &mut buckets {
                let value = |number| found.get(&(key.clone(), number)).copied().unwrap_or_default();
                bucket.percentiles = (0..chart.percentiles.len() as i64).map(value).collect();
            }
        }
        Ok(buckets.into_iter().map(|(_, bucket)| bucket).collect())
    }
}

fn dimensions(key: &Key, count: usize) -> Vec<String> {
    [&key.1, &key.2, &key.3, &key.4, &key.5].into_iter().take(count).cloned().collect()
}

/// All percentiles in one pass: the two neighbours of each place in the sorted list of an answer's numbers, and how far
/// between them the place is. Places count from 0.
fn places(mut sql: Sql, chart: &Chart) -> Sql {
    // What all rows share is left out: lists are sorted by all that is in them.
    let mut apart = vec!["b".to_owned()];
    apart.extend((1..=chart.dimensions.len().min(DIMENSIONS)).map(|i| format!("d{i}")));
    let apart = apart.join(", ");
    let wanted: Vec<String> = chart
        .percentiles
        .iter()
        .enumerate()
        .map(|(number, percentile)| {
            let place = (percentile.clamp(0.0, 100.0) * SCALE as f64).round() as i64;
            format!("({place}, {number})")
        })
        .collect();
    sql.pieced(&format!(
        ", ranked AS (SELECT {KEYS}, v, ROW_NUMBER() OVER (PARTITION BY {apart} ORDER BY v) - 1 AS i,
            COUNT(*) OVER (PARTITION BY {apart}) - 1 AS n FROM base),
        place(at, number) AS (VALUES {})
        SELECT {KEYS}, CAST(number AS BIGINT), MAX(CASE WHEN i = at * n / {WHOLE} THEN v END),
            MAX(CASE WHEN i = at * n / {WHOLE} + 1 THEN v END), MAX(at * n % {WHOLE})
        FROM ranked CROSS JOIN place WHERE i IN (at * n / {WHOLE}, at * n / {WHOLE} + 1)
        GROUP BY {KEYS}, number",
        wanted.join(", ")
    ));
    sql
}

/// `WITH base AS (…)`: a row with its stretch of time, dimensions and number for everything that counts.
fn base(conn: &Conn<'_>, chart: &Chart) -> Sql {
    let mut sql = Sql::new(conn);
    let from = match chart.view {
        View::Traces => "trace t",
        View::Spans => "trace t JOIN span s ON s.trace_id = t.id",
        View::Assessments => "trace t JOIN assessment a ON a.trace_id = t.id",
    };
    // Costs belong to the time of the span, all else to the time of the trace.
    let is_cost = matches!((chart.view, chart.measure), (View::Spans, Measure::Cost(_)));
    let bucket = match chart.bucket_ms {
        None => "CAST(0 AS BIGINT)".to_owned(),
        Some(length) => {
            let length = length.max(1);
            let at = if chart.view == View::Spans { "(s.started / 1000000)" } else { "t.at" };
            format!("{at} / {length} * {length}")
        }
    };
    let value = value(chart);
    sql.pieced(&format!("WITH base AS (SELECT {bucket} AS b"));
    for i in 0..DIMENSIONS {
        let column = chart.dimensions.get(i).map_or("CAST('' AS TEXT)", |dimension| dimension.column());
        sql.pieced(&format!(", {column} AS d{}", i + 1));
    }
    sql.pieced(&format!(", {value} AS v FROM {from} WHERE t.experiment_id IN ")).ints(&chart.experiments);
    sql.pieced(&format!(" AND {value} IS NOT NULL"));
    if chart.view == View::Assessments {
        sql.push(" AND a.is_valid = 1");
    }
    for dimension in chart.dimensions.iter().take(DIMENSIONS) {
        sql.pieced(&format!(" AND {} IS NOT NULL", dimension.column()));
    }
    let nanos = |ms: i64| ms.saturating_mul(1_000_000);
    if let Some(from) = chart.from_ms {
        sql.push(if is_cost { " AND s.started >= " } else { " AND t.at >= " });
        sql.int(if is_cost { nanos(from) } else { from });
    }
    if let Some(to) = chart.to_ms {
        sql.push(if is_cost { " AND s.started < " } else { " AND t.at <= " });
        sql.int(if is_cost { nanos(to.saturating_add(1)) } else { to });
    }
    for filter in &chart.filters {
        filter.write(&mut sql);
    }
    sql.push(") ");
    sql
}

fn value(chart: &Chart) -> String {
    const TOKENS: [&str; 6] = [
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cache_write_long_tokens",
    ];
    let table = if chart.view == View::Spans { "s" } else { "t" };
    let number = |column: String| format!("CAST({column} AS DOUBLE PRECISION)");
    match chart.measure {
        Measure::Count => "CAST(1 AS DOUBLE PRECISION)".to_owned(),
        Measure::Sessions => "t.session".to_owned(),
        Measure::Duration if chart.view == View::Spans => {
            number("(s.ended - s.started) / 1000000".to_owned())
        }
        Measure::Duration => number("t.duration".to_owned()),
        Measure::Tokens(i) => number(format!("{table}.{}", TOKENS[i.min(5)])),
        Measure::Cost(i) => format!("{table}.{}", COST_NAMES[i.min(2)]),
        Measure::Value => "a.number".to_owned(),
    }
}

impl Dimension {
    fn column(self) -> &'static str {
        match self {
            Self::TraceName => "t.name",
            Self::TraceState => "t.state",
            Self::SpanName => "s.name",
            Self::SpanKind => "s.kind",
            Self::SpanStatus => "s.status",
            Self::SpanModel => "s.model",
            Self::SpanProvider => "s.provider",
            Self::AssessmentName => "a.name",
            Self::AssessmentValue => "a.value",
        }
    }
}

impl ChartFilter {
    fn write(&self, sql: &mut Sql) {
        let (column, value) = match self {
            Self::State(value) => ("t.state", value),
            Self::SpanName(value) => ("s.name", value),
            Self::SpanKind(value) => ("s.kind", value),
            Self::SpanStatus(value) => ("s.status", value),
            Self::AssessmentName(value) => ("a.name", value),
            Self::AssessmentKind(value) => ("a.kind", value),
            Self::Tag(key, value) => {
                sql.push(" AND EXISTS (");
                write_pair(sql, "trace_tag", key, value);
                sql.push(")");
                return;
            }
            Self::Metadata(key, value) => {
                sql.push(" AND (EXISTS (");
                write_pair(sql, "trace_metadata", key, value);
                if key == RUN_KEY {
                    sql.push(") OR EXISTS (SELECT 1 FROM trace_link l WHERE l.trace_id = t.id AND l.kind = ");
                    sql.text("run");
                    sql.push(" AND l.target = ");
                    sql.text(value);
                }
                sql.push("))");
                return;
            }
        };
        sql.pieced(&format!(" AND {column} = "));
        sql.text(value);
    }
}

fn write_pair(sql: &mut Sql, table: &str, key: &str, value: &str) {
    sql.pieced(&format!("SELECT 1 FROM {table} g WHERE g.trace_id = t.id AND g.key = "));
    sql.text(key);
    sql.push(" AND g.value = ");
    sql.text(value);
}
