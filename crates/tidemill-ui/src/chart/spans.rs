//! A calendar: spans of time below each other, with a line for now.

use super::scale::Scale;
use super::svg::{Svg, cut};
use crate::{Markup, Tone, moment};
use tidemill_core::Timestamp;

/// A span of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What it is.
    pub name: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; without an end where there is none.
    pub until: Option<Timestamp>,
    /// How it stands.
    pub tone: Tone,
}

/// Spans of time below each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Spans {
    /// What they show.
    pub title: String,
    /// When it is looked at.
    pub now: Timestamp,
    /// At most [`Spans::MOST`] are drawn.
    pub spans: Vec<Span>,
}

impl Spans {
    /// So many stand below each other.
    pub const MOST: usize = 40;

    /// As SVG.
    pub fn draw(&self) -> Markup {
        const ROW: f64 = 24.0;
        const DAY: i64 = 86_400_000;
        let (left, width) = (170.0, 720.0);
        let right = width - 20.0;
        let spans = &self.spans[..self.spans.len().min(Self::MOST)];
        let height = spans.len() as f64 * ROW + 40.0;
        let now = self.now.millis();
        let times = spans.iter().flat_map(|span| [Some(span.from), span.until]).flatten();
        let times = times.map(Timestamp::millis).chain([now - DAY / 2, now + DAY / 2]);
        let x = Scale::fit(times.map(|at| at as f64), left, right, false).padded(0.04);
        let spoken = format!("{}: {} spans of time", self.title, spans.len());
        let mut svg = Svg::new("chart spans", width, height, &spoken, "");
        let floor = height - 26.0;
        for share in [0.0, 0.5, 1.0] {
            let place = left + (right - left) * share;
            let at = Timestamp::from_millis(x.value(place) as i64);
            svg.line("rule", (place, 4.0), (place, floor));
            let anchor = if share == 1.0 { "end" } else { "middle" };
            let text = moment(at);
            svg.text("tick", (place, floor + 14.0), anchor, text.get(..16).unwrap_or(&text));
        }
        for (row, span) in spans.iter().enumerate() {
            let y = row as f64 * ROW + 6.0;
            svg.text("name", (left - 10.0, y + 12.0), "end", &cut(&span.name, left - 16.0));
            let from = x.place(span.from.millis() as f64).unwrap_or(left);
            let until = span.until.and_then(|until| x.place(until.millis() as f64)).unwrap_or(right);
            svg.rect(
                &format!("span {}", span.tone.class()),
                (from, y + 2.0),
                ((until - from).max(3.0), ROW - 9.0),
                3.0,
            );
        }
        if let Some(place) = x.place(now as f64) {
            svg.line("now", (place, 0.0), (place, floor));
            svg.text("tick", (place + 4.0, floor - 2.0), "start", "now");
        }
        svg.text("label", (f64::midpoint(left, right), height - 1.0), "middle", "time (UTC)");
        svg.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_without_an_end_reach_the_border() {
        let at = |hours: i64| Timestamp::from_millis(1_700_000_000_000 + hours * 3_600_000);
        let span = |name: &str, from, until| Span { name: name.into(), from, until, tone: Tone::Warn };
        let spans = vec![span("<b>", at(0), None), span("b", at(30), Some(at(40)))];
        let text = Spans { title: "Freezes".into(), now: at(10), spans }.draw().0;
        assert!(!text.contains("<b>") && text.matches("class=\"span warn\"").count() == 2, "{text}");
        assert!(text.contains("2023-11-1") && text.contains("class=\"now\""));
    }
}
