//! A figure over time with its interval, the limit that it is held against, and what happened meanwhile.

use tidemill_core::Timestamp;

use super::scale::Scale;
use super::svg::{Svg, at, stroke};
use crate::{Markup, moment, number};

/// What was measured of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrendPoint {
    /// The end of the window.
    pub at: Timestamp,
    /// The figure; none where it could not be measured.
    pub value: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Whether it breaks the rule.
    pub broken: bool,
}

/// A figure over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trend {
    /// What it shows.
    pub title: String,
    /// What goes up, with the unit.
    pub y: String,
    /// In the order of time.
    pub points: Vec<TrendPoint>,
    /// What the last of them was held against.
    pub limit: Option<f64>,
    /// What happened at a time; marks outside of the points' times are left out.
    pub marks: Vec<(Timestamp, String)>,
    /// As wide as the page.
    pub wide: bool,
}

impl Trend {
    /// As SVG.
    pub fn draw(&self) -> Markup {
        let (width, height) = if self.wide { (900.0, 260.0) } else { (560.0, 220.0) };
        // The text of a time at the border needs room.
        let (left, right, top, bottom) = (62.0, width - 34.0, 22.0, height - 36.0);
        let times = || self.points.iter().map(|point| point.at.millis() as f64);
        let x = Scale::fit(times(), left, right, false).padded(0.02);
        let ends = |point: &TrendPoint| [point.value, point.low, point.high];
        let values = self.points.iter().flat_map(ends).flatten().chain(self.limit);
        let y = Scale::fit(values, bottom, top, false).padded(0.06);

        let attributes = format!(" data-chart=\"line\"{}{}", x.attributes('x'), y.attributes('y'));
        let mut svg = Svg::new("chart line trend", width, height, &self.spoken(), &attributes);
        svg.rules((left, right), y.ticks(4));
        svg.notches(bottom, notches(&x, (left, right)));
        svg.line("axis", (left, bottom), (right, bottom));
        svg.text("label", (f64::midpoint(left, right), height - 4.0), "middle", "end of the window (UTC)");
        svg.upward(11.0, (top, bottom), &self.y);
        let marks = self
            .marks
            .iter()
            .filter_map(|(when, name)| Some((x.place(when.millis() as f64)?, name.as_str())));
        let room = |place: f64| (right - place).max(40.0);
        svg.happened((top, bottom), marks.filter(|(place, _)| (left..=right).contains(place)), room);
        self.band(&mut svg, &x, &y);
        if let Some((limit, place)) = self.limit.and_then(|limit| Some((limit, y.place(limit)?))) {
            svg.line("limit bad", (left, place), (right, place));
            svg.text("limit-name bad", (right, place - 4.0), "end", &format!("limit {}", number(limit)));
        }
        let place = |point: &TrendPoint| Some((x.place(point.at.millis() as f64)?, y.place(point.value?)?));
        let curve = stroke(self.points.iter().map(place));
        if !curve.is_empty() {
            svg.path("curve s0", &curve, &self.title);
        }
        for point in &self.points {
            let Some((across, up)) = place(point) else { continue };
            let said = format!("{} at {}", number(point.value.unwrap_or(f64::NAN)), moment(point.at));
            if point.broken {
                let d = format!("M{} {}l6 10h-12z", at(across), at(up - 7.0));
                svg.path("broken", &d, &format!("{said}: the rule is broken"));
            } else if self.points.len() <= 60 {
                svg.mark(0, (across, up), 2.5, &said);
            }
        }
        svg.done()
    }

    fn spoken(&self) -> String {
        let broken = self.points.iter().filter(|point| point.broken).count();
        let limit = self.limit.map(|limit| format!(", limit {}", number(limit))).unwrap_or_default();
        let last = self.points.iter().rev().find_map(|point| point.value);
        let last = last.map_or_else(|| "not known".to_owned(), number);
        format!(
            "{}: {} windows, {broken} break the rule, the last is {last}{limit}",
            self.title,
            self.points.len()
        )
    }

    /// The interval, where both ends are known.
    fn band(&self, svg: &mut Svg, x: &Scale, y: &Scale) {
        let ends = |point: &TrendPoint| {
            let across = x.place(point.at.millis() as f64)?;
            Some((across, y.place(point.low?)?, y.place(point.high?)?))
        };
        for part in self.points.iter().map(ends).collect::<Vec<_>>().split(Option::is_none) {
            let part: Vec<_> = part.iter().flatten().copied().collect();
            let upper = part.iter().map(|(across, _, high)| Some((*across, *high)));
            let lower = part.iter().rev().map(|(across, low, _)| Some((*across, *low)));
            let d = stroke(upper.chain(lower));
            if part.len() > 1 && !d.is_empty() {
                svg.path("band", &format!("{d}Z"), "");
            }
        }
    }
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Steps between notches, in milliseconds.
const STEPS: [i64; 15] = [
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    91 * DAY,
    182 * DAY,
    364 * DAY,
];

/// Round times below a picture, at most six.
fn notches(x: &Scale, (left, right): (f64, f64)) -> Vec<(f64, String)> {
    let (from, to) = (x.value(left) as i64, x.value(right) as i64);
    let span = to.saturating_sub(from);
    let step = STEPS.into_iter().find(|step| span / step <= 5).unwrap_or(span.max(1));
    let first = from.div_euclid(step).saturating_add(1).saturating_mul(step);
    (0..6)
        .map(|n| first.saturating_add(step.saturating_mul(n)))
        .take_while(|time| *time <= to)
        .filter_map(|time| {
            let text = moment(Timestamp::from_millis(time));
            let shown = if step >= DAY { text.get(..10) } else { text.get(5..16) };
            Some((x.place(time as f64)?, shown.unwrap_or(&text).to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64, value: Option<f64>, broken: bool) -> TrendPoint {
        let (low, high) = (value.map(|value| value - 0.1), value.map(|value| value + 0.1));
        TrendPoint { at: Timestamp::from_millis(number * DAY), value, low, high, broken }
    }

    #[test]
    fn what_breaks_the_rule_has_a_sign_and_what_is_not_known_is_a_gap() {
        let points = vec![
            day(15_706, Some(0.7), false),
            day(15_707, Some(0.7), false),
            day(15_708, None, false),
            day(15_709, Some(0.2), true),
            day(15_710, Some(0.7), false),
        ];
        let marks = vec![(Timestamp::from_millis(15_708 * DAY), "<b> to prod".to_owned())];
        let trend = Trend {
            title: "ROC AUC".into(),
            y: "roc_auc".into(),
            points,
            limit: Some(0.5),
            marks,
            wide: false,
        };
        let text = trend.draw().0;
        assert_eq!(text.matches("class=\"broken\"").count(), 1, "{text}");
        assert_eq!(text.matches("class=\"band\"").count(), 2, "{text}");
        assert!(text.contains("limit 0.5") && text.contains("2013-01-02") && !text.contains("<b>"), "{text}");
        assert!(text.contains("5 windows, 1 break the rule, the last is 0.7"), "{text}");
    }

    #[test]
    fn times_at_any_distance_have_few_notches() {
        for span in [1, 59_000, HOUR, DAY, 40 * DAY, 4_000 * DAY, i64::MAX / 4] {
            let x = Scale::fit([1.6e12, 1.6e12 + span as f64].into_iter(), 0.0, 500.0, false);
            let found = notches(&x, (0.0, 500.0));
            assert!(found.len() <= 6, "{span}: {found:?}");
        }
        assert!(Trend::default().draw().0.ends_with("</svg>"));
    }
}
