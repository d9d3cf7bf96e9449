//! Whether peak memory stays the same when the input grows four times.

use anyhow::Result;

use crate::bench::inputs;
use crate::bench::report::{Bar, Line, Row};
use crate::bench::session::{Phase, Scenario, Session};

const ADD: &str = "memory-add";
const SQL: &str = "memory-sql";
const TOOLS: [&str; 2] = ["four times", "once"];
/// What the larger input may use more: a quarter, and the noise of an allocator.
const SLACK: (f64, u64) = (1.25, 32_000_000);

/// Measures the two rows.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let bytes = session.size(1_000_000_000, 8_000_000);
    let copies = session.size(4, 1);
    let mut scenarios = Vec::new();
    for (tool, factor) in [("once", 1), ("four times", 4)] {
        let folder = session.scratch.join(format!("memory-{factor}"));
        let (add, sql) = (folder.clone(), folder.clone());
        scenarios.push(Scenario {
            tool,
            phases: vec![
                Phase::new(ADD, move || session.tidemill(&add, &["data", "add", "big", "data.bin"])).prepare(
                    move || {
                        let folder = session.project(&format!("memory-{factor}"), PIPELINE)?;
                        fs_err::write(folder.join("long.sql"), QUERY)?;
                        inputs::random_file(&folder.join("data.bin"), bytes * factor, 6)?;
                        copy_flights(session, &folder, copies * factor)
                    },
                ),
                Phase::new(SQL, move || session.tidemill(&sql, &["run", "--quiet"])),
            ],
        });
    }
    let measured = session.alternate(&scenarios)?;
    let no_note = |_: &[f64]| String::new();
    let rows = [
        measured.row(
            ADD,
            &format!("peak memory of `data add`, {} MB once and four times", bytes / 1_000_000),
            &TOOLS,
            no_note,
        ),
        measured.row(SQL, "peak memory of a `sql` step, the flights once and four times", &TOOLS, no_note),
    ];
    Ok(rows.into_iter().map(judge).collect())
}

fn judge(mut row: Row) -> Row {
    let peak = |tool| row.line(tool).map_or(0, Line::peak);
    let (once, four) = (peak("once"), peak("four times"));
    let limit = (once as f64 * SLACK.0) as u64 + SLACK.1;
    row.bars.push(Bar {
        demand: format!("peak for four times the input ≤ {} MB", limit / 1_000_000),
        reached: format!("{} MB", four / 1_000_000),
        pass: four <= limit,
    });
    row
}

/// The flights of the example, each month several times under other names.
fn copy_flights(session: &Session, folder: &std::path::Path, copies: u64) -> Result<()> {
    let from = session.root.join("examples/flights/data/flights");
    let to = folder.join("flights");
    fs_err::create_dir_all(&to)?;
    for path in crate::workspace::tracked_files(&from)? {
        for copy in 0..copies {
            fs_err::copy(from.join(&path), to.join(format!("{copy}-{path}")))?;
        }
    }
    Ok(())
}

const PIPELINE: &str = "\
data:
  flights: {path: flights/*.parquet}
pipeline:
  long:
    sql: long.sql
    inputs: [flights]
    outs: [long.parquet]
";

/// A streaming step: no sort and no join, so nothing has to be held.
const QUERY: &str = "select *, arr_delay - dep_delay as made_up from flights where distance > 100\n";
