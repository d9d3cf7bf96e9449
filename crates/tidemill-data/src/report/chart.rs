//! Small charts of a column: a histogram of numbers, bars of frequent values. Inline SVG without script.

use std::fmt::Write as _;

use super::shape::{Bins, Shape, Share, edge_name, shape};
use super::{escape, shown};
use crate::Profile;
use crate::profile::ColumnStats;
use crate::value::cut;

const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 64.0;
/// Widest bar of a histogram.
const WIDEST: f64 = 26.0;
const BAR: f64 = 16.0;

/// What is drawn.
pub(super) struct Chart<'a> {
    pub(super) stats: &'a ColumnStats,
    pub(super) current: &'a Profile,
    pub(super) reference: Option<&'a Profile>,
}

/// The picture; nothing where there is nothing to draw.
pub(super) fn chart(chart: &Chart<'_>) -> String {
    match shape(chart.stats, chart.current, chart.reference) {
        Some(Shape::Bins(bins)) => histogram(chart, &bins),
        Some(Shape::Values(shares)) => bars(chart, &shares),
        None => "<span class=\"faint\">–</span>".to_owned(),
    }
}

/// Both sides over the same bins.
fn histogram(chart: &Chart<'_>, bins: &Bins) -> String {
    let shares = [&bins.reference, &bins.current];
    let most = shares.iter().copied().flatten().flatten().copied().fold(0.0, f64::max);
    let mut svg = open(HEIGHT + 16.0, &chart.stats.name);
    let count = (bins.edges.len() - 1) as f64;
    let step = (WIDTH / count).min(WIDEST);
    for (shares, class) in shares.into_iter().zip(["ref", "cur"]) {
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
                escape(&bins.names[place]),
                escape(&bins.names[place + 1]),
                share * 100.0
            );
        }
    }
    let end = step * count;
    let inside = if bins.is_single { 0.5 } else { 0.0 };
    let edge = |value: f64| escape(&edge_name(chart.stats, value));
    let (first, last) = (edge(bins.edges[0] + inside), edge(bins.edges[bins.edges.len() - 1] - inside));
    let _ = write!(svg, "<line class=\"axis\" x1=\"0\" y1=\"{HEIGHT}\" x2=\"{end:.1}\" y2=\"{HEIGHT}\"/>");
    let y = HEIGHT + 13.0;
    let _ = write!(svg, "<text x=\"0\" y=\"{y}\">{first}</text>");
    if last != first {
        let _ = write!(svg, "<text x=\"{end:.1}\" y=\"{y}\" text-anchor=\"end\">{last}</text>");
    }
    svg.push_str("</svg>");
    svg
}

/// The most frequent values, each with its share on both sides.
fn bars(chart: &Chart<'_>, shares: &[Share]) -> String {
    // A reference without the column is as none.
    let is_compared = chart.reference.is_some_and(|side| side.columns().any(|name| name == chart.stats.name));
    let most = shares.iter().map(|one| one.reference.max(one.current)).fold(0.0, f64::max);
    let mut svg = open(shares.len() as f64 * BAR, &chart.stats.name);
    let (left, room) = (96.0, WIDTH - 96.0 - 46.0);
    for (place, Share { value, reference: old, current: new }) in shares.iter().enumerate() {
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
        if is_compared {
            bar("ref", y + 2.0, 5.5, *old);
            bar("cur", y + 8.0, 5.5, *new);
        } else {
            bar("cur", y + 3.0, 10.0, *new);
        }
        let _ = write!(
            svg,
            "<text x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\">{:.1} %</text>",
            y + 12.0,
            new * 100.0
        );
    }
    svg.push_str("</svg>");
    svg
}

fn open(height: f64, name: &str) -> String {
    format!(
        "<svg role=\"img\" aria-label=\"distribution of {}\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\">",
        escape(name)
    )
}
