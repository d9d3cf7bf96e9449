//! How often the judge of rollouts errs and how soon it decides, beside other rules on the same streams of requests.
//!
//! The streams are played by `crates/tidemill-deliver/examples/judge_errors.rs`; here its figures become tables and bars.

use anyhow::{Context as _, Result};

use self::rows::{Speed, Tables};
use crate::bench::report::{Row, Table, number};
use crate::bench::session::Session;
use crate::{process, workspace};

#[path = "../../../../crates/tidemill-deliver/examples/judge_errors/rows.rs"]
mod rows;

/// A verdict may take so many times the requests that the reference needs.
const MOST_RATIO: f64 = 1.5;

/// Measures the three tables.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let mut command = workspace::cargo(&session.root, &["run", "--quiet", "--package", "tidemill-deliver"]);
    if !session.smoke {
        command.arg("--release");
    }
    command.args(["--example", "judge_errors", "--", &session.size(400, 4).to_string(), "--json"]);
    let text = process::output(&mut command)?;
    let tables: Tables =
        serde_json::from_str(&text).context("the example printed something else than its tables")?;
    Ok(vec![healthy(&tables), at_limit(&tables), speed(&tables)])
}

fn healthy(tables: &Tables) -> Row {
    let columns = [
        "metric",
        "share",
        "budget",
        "judge",
        "reference sequence",
        "z-test after every look",
        "Argo Rollouts, limit 0",
        "limit 3",
        "Flagger, count 5",
    ];
    let rows = tables.healthy.iter().map(|row| {
        let parts = [
            row.share,
            row.budget,
            row.judge,
            row.reference,
            row.peeking_z,
            row.argo_limit_0,
            row.argo_limit_3,
            row.flagger_count_5,
        ];
        std::iter::once(row.kind.clone()).chain(parts.map(percent)).collect()
    });
    let worst = tables.healthy.iter().map(|row| row.judge / row.budget).fold(0.0, f64::max);
    let title = format!(
        "false rollbacks of a healthy candidate, {} streams, 1,000 requests a look, judged after every look",
        tables.repetitions
    );
    row("judge-healthy", &title, &columns, rows).below(
        "false rollbacks at worst",
        worst,
        1.0,
        "of the budget",
    )
}

fn at_limit(tables: &Tables) -> Row {
    let rows = tables.at_limit.iter().map(|row| {
        std::iter::once(row.kind.clone()).chain([row.share, row.budget, row.shipped].map(percent)).collect()
    });
    let worst = tables.at_limit.iter().map(|row| row.shipped / row.budget).fold(0.0, f64::max);
    let columns = ["metric", "share", "budget", "shipped"];
    row("judge-limit", "candidates at the `reject` limit that are shipped", &columns, rows).below(
        "shipped at the limit at worst",
        worst,
        1.0,
        "of the budget",
    )
}

fn speed(tables: &Tables) -> Row {
    let count =
        |requests: Option<u64>| requests.map_or_else(|| "–".to_owned(), |requests| requests.to_string());
    let rows = tables.speed.iter().map(|row| {
        let what = if row.certifies {
            "healthy, certified".to_owned()
        } else {
            format!("{} worse", percent(row.harm))
        };
        let ratio = ratio(row).map_or_else(|| "–".to_owned(), number);
        vec![row.kind.clone(), what, percent(row.share), count(row.judge), count(row.reference), ratio]
    });
    let columns = ["metric", "candidate", "share", "judge", "reference sequence", "ratio"];
    // Money is judged without knowing its variance; that is told apart.
    let worst = |is_exact: bool| {
        let of = tables.speed.iter().filter(|row| row.kind.starts_with("bounded_mean") == is_exact);
        of.filter_map(ratio).fold(0.0, f64::max)
    };
    let exact = "the same of money, whose test is exact for any distribution";
    row("judge-speed", "median requests of both arms to the verdict, budget 5 %", &columns, rows)
        .below("requests to a verdict, at worst", worst(false), MOST_RATIO, "× the reference's")
        .below(exact, worst(true), MOST_RATIO, "× the reference's")
}

fn ratio(row: &Speed) -> Option<f64> {
    Some(row.judge? as f64 / row.reference? as f64)
}

fn percent(part: f64) -> String {
    format!("{} %", number(100.0 * part))
}

fn row(name: &str, title: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Row {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Row {
        name: name.to_owned(),
        title: title.to_owned(),
        lines: Vec::new(),
        table: Some(Table { columns, rows: rows.collect() }),
        bars: Vec::new(),
    }
}
