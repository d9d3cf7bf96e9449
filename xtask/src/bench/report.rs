//! Rows of measurements, their bars, and how both are printed. Nothing is measured here.

use serde::Serialize;

use crate::bench::measure::Sample;

/// One tool on one task.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    /// The tool, or the limit it is compared with.
    pub(crate) tool: String,
    /// One sample per repetition.
    pub(crate) samples: Vec<Sample>,
    /// Anything else measured, as in `20.0 MB new`.
    pub(crate) note: String,
}

impl Line {
    /// The median wall time in seconds.
    pub(crate) fn wall(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.wall))
    }

    /// The median CPU time in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.cpu))
    }

    /// The largest peak memory in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.samples.iter().map(|sample| sample.peak).max().unwrap_or(0)
    }

    fn spread(&self) -> (f64, f64) {
        let walls = self.samples.iter().map(|sample| sample.wall);
        (walls.clone().fold(f64::INFINITY, f64::min), walls.fold(0.0, f64::max))
    }
}

/// Something a row must reach.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bar {
    /// What it demands, as in `wall ≤ 1/5 of dvc`.
    pub(crate) demand: String,
    /// What was reached, as in `1/7.4`.
    pub(crate) reached: String,
    /// Whether that is enough.
    pub(crate) pass: bool,
}

/// Figures of a case that does not measure time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Table {
    /// Names of columns; the first one is text, the others are numbers.
    pub(crate) columns: Vec<String>,
    /// Rows with as many cells.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    fn markdown(&self) -> Vec<String> {
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let ruler = self.columns.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" });
        let ruler: Vec<String> = ruler.map(str::to_owned).collect();
        [line(&self.columns), line(&ruler)].into_iter().chain(self.rows.iter().map(|row| line(row))).collect()
    }
}

/// One task, every tool that was measured on it, and what must be reached.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The name by which the row can be run alone.
    pub(crate) name: String,
    /// The task in words.
    pub(crate) title: String,
    /// Ours first.
    pub(crate) lines: Vec<Line>,
    /// In place of the lines, where something else than time is measured.
    pub(crate) table: Option<Table>,
    /// What must be reached.
    pub(crate) bars: Vec<Bar>,
}

impl Row {
    /// The line of a tool, if it was measured.
    pub(crate) fn line(&self, tool: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.tool == tool)
    }

    /// Demands that our wall time is at most `factor` times that of `tool`. Without that tool there is no bar.
    #[must_use]
    pub(crate) fn at_most(mut self, factor: f64, tool: &str) -> Self {
        if let (Some(ours), Some(peer)) = (self.lines.first(), self.line(tool)) {
            let ratio = ours.wall() / peer.wall();
            self.bars.push(Bar {
                demand: format!("wall ≤ {} of {tool}", fraction(factor)),
                reached: fraction(ratio),
                pass: ratio <= factor,
            });
        }
        self
    }

    /// Demands that our CPU time is at most `factor` times that of `tool`. Without that tool there is no bar.
    #[must_use]
    pub(crate) fn cpu_at_most(mut self, factor: f64, tool: &str) -> Self {
        if let (Some(ours), Some(peer)) = (self.lines.first(), self.line(tool)) {
            let ratio = ours.cpu() / peer.cpu();
            self.bars.push(Bar {
                demand: format!("CPU ≤ {} of {tool}", fraction(factor)),
                reached: fraction(ratio),
                pass: ratio <= factor,
            });
        }
        self
    }

    /// Demands that our memory is at most `factor` times that of `tool`. Without that tool there is no bar.
    #[must_use]
    pub(crate) fn peak_at_most(mut self, factor: f64, tool: &str) -> Self {
        if let (Some(ours), Some(peer)) = (self.lines.first(), self.line(tool)) {
            let ratio = ours.peak() as f64 / peer.peak() as f64;
            self.bars.push(Bar {
                demand: format!("memory ≤ {} of {tool}", fraction(factor)),
                reached: fraction(ratio),
                pass: ratio <= factor,
            });
        }
        self
    }

    /// Demands that a number of ours is at least `limit`.
    #[must_use]
    pub(crate) fn above(mut self, what: &str, value: f64, limit: f64, unit: &str) -> Self {
        self.bars.push(Bar {
            demand: format!("{what} ≥ {} {unit}", number(limit)),
            reached: format!("{} {unit}", number(value)),
            pass: value >= limit,
        });
        self
    }

    /// Demands that a number of ours is at most `limit`.
    #[must_use]
    pub(crate) fn below(mut self, what: &str, value: f64, limit: f64, unit: &str) -> Self {
        self.bars.push(Bar {
            demand: format!("{what} ≤ {} {unit}", number(limit)),
            reached: format!("{} {unit}", number(value)),
            pass: value <= limit,
        });
        self
    }
}

/// The rows as Markdown: one table for each row and its bars below.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        lines.push(format!("### {}: {}\n", row.name, row.title));
        if let Some(table) = &row.table {
            lines.extend(table.markdown());
        } else {
            lines.push("| tool | wall s (median, range) | CPU s | peak MB | to ours | note |".to_owned());
            lines.push("| --- | --- | --- | --- | --- | --- |".to_owned());
            let ours = row.lines.first().map_or(0.0, Line::wall);
            lines.extend(row.lines.iter().map(|line| table_line(line, ours)));
        }
        lines.push(String::new());
        for bar in &row.bars {
            let verdict = if bar.pass { "reached" } else { "**missed**" };
            lines.push(format!("- {}: {} – {verdict}", bar.demand, bar.reached));
        }
        if !row.bars.is_empty() {
            lines.push(String::new());
        }
    }
    lines.join("\n")
}

fn table_line(line: &Line, ours: f64) -> String {
    let (low, high) = line.spread();
    format!(
        "| {} | {} ({}–{}) | {} | {} | {}× | {} |",
        line.tool,
        number(line.wall()),
        number(low),
        number(high),
        number(line.cpu()),
        line.peak() / 1_000_000,
        number(line.wall() / ours),
        line.note,
    )
}

/// A ratio as people compare with it: `1/7.4` below a half, `1.20` otherwise.
fn fraction(ratio: f64) -> String {
    if ratio <= 0.5 { format!("1/{}", number(1.0 / ratio)) } else { format!("{ratio:.2}×") }
}

/// Three significant digits, without a needless tail.
pub(crate) fn number(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    match text.split_once('.') {
        Some((_, fraction)) if fraction.chars().all(|c| c == '0') => {
            text[..text.len() - fraction.len() - 1].to_owned()
        }
        _ => text,
    }
}

/// The middle value; the mean of the two middle ones for an even count; NaN for none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tool: &str, walls: &[f64]) -> Line {
        let samples = walls.iter().map(|wall| Sample { wall: *wall, cpu: 0.5, peak: 12_000_000 }).collect();
        Line { tool: tool.to_owned(), samples, note: String::new() }
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, expected) in [
            (0.0512, "0.051"),
            (1.0, "1"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (99.97, "100"),
            (123.4, "123"),
            (22.0, "22"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn tables_take_the_place_of_tools() {
        let table = Table {
            columns: vec!["kind".into(), "judge".into()],
            rows: vec![vec!["errors".into(), "0.5 %".into()]],
        };
        let row =
            Row { name: "judge".into(), title: "t".into(), lines: vec![], table: Some(table), bars: vec![] };
        let expected = "### judge: t\n\n| kind | judge |\n| --- | ---: |\n| errors | 0.5 % |\n";
        assert_eq!(markdown(&[row]), expected);
    }

    #[test]
    fn medians() {
        for (values, expected) in [(vec![3.0, 1.0, 2.0], 2.0), (vec![1.0, 2.0, 3.0, 10.0], 2.5)] {
            assert!((median(values.into_iter()) - expected).abs() < 1e-12);
        }
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn bars_compare_medians_and_print() {
        let row = Row {
            name: "add".into(),
            title: "one file".into(),
            lines: vec![line("tidemill", &[1.0, 9.0, 2.0]), line("dvc", &[10.0, 11.0, 10.5])],
            table: None,
            bars: vec![],
        }
        .at_most(0.2, "dvc")
        .at_most(0.1, "dvc")
        .at_most(0.1, "absent")
        .below("new storage", 21.0, 22.0, "MB")
        .cpu_at_most(0.5, "dvc")
        .peak_at_most(1.0, "dvc")
        .above("rate", 99.0, 98.0, "runs/s");
        assert_eq!(
            row.bars.iter().map(|bar| bar.pass).collect::<Vec<_>>(),
            [true, false, true, false, true, true]
        );
        assert_eq!(
            markdown(&[row]),
            "### add: one file\n\n\
             | tool | wall s (median, range) | CPU s | peak MB | to ours | note |\n\
             | --- | --- | --- | --- | --- | --- |\n\
             | tidemill | 2 (1–9) | 0.500 | 12 | 1× |  |\n\
             | dvc | 10.5 (10–11) | 0.500 | 12 | 5.25× |  |\n\
             \n- wall ≤ 1/5 of dvc: 1/5.25 – reached\
             \n- wall ≤ 1/10 of dvc: 1/5.25 – **missed**\
             \n- new storage ≤ 22 MB: 21 MB – reached\
             \n- CPU ≤ 1/2 of dvc: 1.00× – **missed**\
             \n- memory ≤ 1.00× of dvc: 1.00× – reached\
             \n- rate ≥ 98 runs/s: 99 runs/s – reached\n"
        );
    }
}
