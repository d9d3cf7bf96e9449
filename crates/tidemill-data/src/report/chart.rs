//! Small charts of a column: a histogram of numbers, bars of frequent values. Inline SVG without script.

use std::fmt::Write as _;

use tidemill_core::words::number;

use super::{escape, shown};
use crate::profile::ColumnStats;
use crate::value::cut;
use crate::{ColumnType, Profile};

const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 64.0;
/// Bins of a histogram.
const BINS: usize = 26;
/// Widest bar of a histogram.
const WIDEST: f64 = 26.0;
/// Values that get a bar.
const BARS: usize = 6;
const BAR: f64 = 16.0;

/// What is drawn.
pub(super) struct Chart<'a> {
    pub(super) stats: &'a ColumnStats,
    pub(super) current: &'a Profile,
    pub(super) reference: Option<&'a Profile>,
}

/// The picture; nothing where there is nothing to draw.
pub(super) fn chart(chart: &Chart<'_>) -> String {
    let drawn = match chart.stats.column_type {
        ColumnType::Int | ColumnType::Float | ColumnType::Date | ColumnType::Timestamp => histogram(chart),
        ColumnType::String | ColumnType::Bool => bars(chart),
        ColumnType::Other => None,
    };
    drawn.unwrap_or_else(|| "<span class=\"faint\">–</span>".to_owned())
}

/// Both sides over the same bins, which leave out the outermost half percent at each end.
fn histogram(chart: &Chart<'_>) -> Option<String> {
    let name = &chart.stats.name;
    let sides = [chart.reference, Some(chart.current)];
    let cut = |probability: f64| {
        sides.iter().flatten().filter_map(move |side| side.quantile(name, probability).map(|found| found.0))
    };
    let finite = |value: &f64| value.is_finite();
    let low = cut(0.005).filter(finite).reduce(f64::min)?;
    let high = cut(0.995).filter(finite).reduce(f64::max)?;
    let bins = bins(chart.stats, low, high);
    let shares: Vec<Option<Vec<f64>>> =
        sides.iter().map(|side| side.and_then(|side| side.shares(name, &bins))).collect();
    let most = shares.iter().flatten().flatten().copied().reduce(f64::max).filter(|most| *most > 0.0)?;
    let mut svg = open(HEIGHT + 16.0, name);
    let count = (bins.len() - 1) as f64;
    let step = (WIDTH / count).min(WIDEST);
    for (shares, class) in shares.iter().zip(["ref", "cur"]) {
        let Some(shares) = shares else { continue };
        let both = if class == "cur" && chart.reference.is_some() { " both" } else { "" };
        // The current side is drawn narrower, so that both stay visible.
        let inset = if both.is_empty() { 0.5 } else { step * 0.22 };
        for (place, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let height = (share / most * (HEIGHT - 2.0)).max(1.0);
            let (x, y) = (place as f64 * step + inset, HEIGHT - height);
            let width = (step - 2.0 * inset).max(0.5);
            let _ = write!(
                svg,
                "<rect class=\"{class}{both}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
                 <title>{} to {}: {:.2} %</title></rect>",
                edge(chart, bins[place]),
                edge(chart, bins[place + 1]),
                share * 100.0
            );
        }
    }
    let end = step * count;
    // Bins of single whole numbers are named by these.
    let single =
        chart.stats.column_type == ColumnType::Int && bins[1] - bins[0] == 1.0 && bins[0].fract() != 0.0;
    let inside = if single { 0.5 } else { 0.0 };
    let (first, last) = (edge(chart, bins[0] + inside), edge(chart, bins[bins.len() - 1] - inside));
    let _ = write!(svg, "<line class=\"axis\" x1=\"0\" y1=\"{HEIGHT}\" x2=\"{end:.1}\" y2=\"{HEIGHT}\"/>");
    let y = HEIGHT + 13.0;
    let _ = write!(svg, "<text x=\"0\" y=\"{y}\">{first}</text>");
    if last != first {
        let _ = write!(svg, "<text x=\"{end:.1}\" y=\"{y}\" text-anchor=\"end\">{last}</text>");
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// The edges: whole numbers of a small range get a bin each.
fn bins(stats: &ColumnStats, low: f64, high: f64) -> Vec<f64> {
    let whole = stats.column_type == ColumnType::Int;
    let (start, width, count) = if whole && high - low < BINS as f64 {
        (low.floor() - 0.5, 1.0, (high - low) as usize + 1)
    } else if high > low {
        (low, (high - low) / BINS as f64, BINS)
    } else {
        let half = (low.abs() * 0.01).max(0.5);
        (low - half, 2.0 * half, 1)
    };
    (0..=count).map(|place| start + width * place as f64).collect()
}

fn edge(chart: &Chart<'_>, value: f64) -> String {
    match chart.stats.column_type {
        ColumnType::Date | ColumnType::Timestamp => {
            let text = crate::profile::time_text(value as i64, &chart.stats.data_type);
            escape(text.get(..10).unwrap_or(&text))
        }
        _ => number(value),
    }
}

/// The most frequent values, each with its share on both sides.
fn bars(chart: &Chart<'_>) -> Option<String> {
    let rows = |stats: &ColumnStats| stats.count.max(1) as f64;
    let before = chart.reference.and_then(|side| side.describe_column(&chart.stats.name));
    let share = |stats: &ColumnStats, value: &crate::Value| {
        let found = stats.top.iter().find(|top| top.value == *value);
        found.map_or(0.0, |top| top.count as f64 / rows(stats))
    };
    let mut values: Vec<(&crate::Value, f64, f64)> = Vec::new();
    for top in before.iter().flat_map(|before| &before.top).chain(&chart.stats.top) {
        if !values.iter().any(|(known, _, _)| **known == top.value) {
            let old = before.as_ref().map_or(0.0, |before| share(before, &top.value));
            values.push((&top.value, old, share(chart.stats, &top.value)));
        }
    }
    values.sort_by(|a, b| b.1.max(b.2).total_cmp(&a.1.max(a.2)));
    values.truncate(BARS);
    let most =
        values.iter().map(|(_, old, new)| old.max(*new)).reduce(f64::max).filter(|most| *most > 0.0)?;
    let mut svg = open(values.len() as f64 * BAR, &chart.stats.name);
    let (left, room) = (96.0, WIDTH - 96.0 - 46.0);
    for (place, (value, old, new)) in values.into_iter().enumerate() {
        let y = place as f64 * BAR;
        let text = shown(value);
        let text = if text.is_empty() { "(empty)".to_owned() } else { cut(text, 14) };
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 12.0,
            escape(&text)
        );
        let mut bar = |class: &str, y: f64, height: f64, share: f64| {
            let width = (share / most * room).max(if share > 0.0 { 1.0 } else { 0.0 });
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\"/>"
            );
        };
        if before.is_some() {
            bar("ref", y + 2.0, 5.5, old);
            bar("cur", y + 8.0, 5.5, new);
        } else {
            bar("cur", y + 3.0, 10.0, new);
        }
        let _ = write!(
            svg,
            "<text x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\">{:.1} %</text>",
            y + 12.0,
            new * 100.0
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn open(height: f64, name: &str) -> String {
    format!(
        "<svg role=\"img\" aria-label=\"distribution of {}\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\">",
        escape(name)
    )
}
