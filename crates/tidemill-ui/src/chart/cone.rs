//! A verdict cone: an estimate with an interval that shrinks, the limits that decide, and when they will.

use super::scale::Scale;
use super::svg::{Svg, at, cut, stroke};
use crate::{Markup, Tone, number};

/// What was known at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConePoint {
    /// Where it stands to the right.
    pub x: f64,
    /// The estimate.
    pub value: Option<f64>,
    /// The lower end of the interval; none where there is none yet.
    pub low: Option<f64>,
    /// The upper end of the interval; none where there is none yet.
    pub high: Option<f64>,
}

/// A line that decides.
#[derive(Clone, Debug, PartialEq)]
pub struct ConeLimit {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub value: f64,
    /// How it is drawn: warn for what is tolerated, bad for what is rejected.
    pub tone: Tone,
}

/// An estimate with an interval that shrinks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cone {
    /// What it shows.
    pub title: String,
    /// What goes to the right, with the unit.
    pub x: String,
    /// What goes up, with the unit.
    pub y: String,
    /// In the order of x.
    pub points: Vec<ConePoint>,
    /// Lines that decide.
    pub limits: Vec<ConeLimit>,
    /// Where nothing is different.
    pub none: f64,
    /// The least value that can be; none where there is no least one.
    pub least: Option<f64>,
    /// When it will be decided, and what will be.
    pub forecast: Option<(f64, String)>,
    /// Changes of stage.
    pub marks: Vec<(f64, String)>,
}

impl Cone {
    /// As SVG.
    pub fn draw(&self) -> Markup {
        let (width, height) = (560.0, 290.0);
        let (left, right, top, bottom) = (66.0, width - 118.0, 26.0, height - 38.0);
        let x = self.across(left, right);
        let y = self.upwards(bottom, top);
        let within = |value: f64| y.place(value).map(|place| place.clamp(top, bottom));
        let attributes = format!(" data-chart=\"line\"{}{}", x.attributes('x'), y.attributes('y'));
        let mut svg = Svg::new("chart line cone", width, height, &self.spoken(), &attributes);
        let inside = y.ticks(5).into_iter().filter(|(place, _)| (top..=bottom).contains(place));
        svg.rules((left, right), inside);
        svg.notches(bottom, x.ticks(6));
        svg.line("axis", (left, bottom), (right, bottom));
        svg.text("label", (f64::midpoint(left, right), height - 5.0), "middle", &self.x);
        svg.upward(12.0, (top, bottom), &self.y);
        let marks = self.marks.iter().filter_map(|(mark, name)| Some((x.place(*mark)?, name.as_str())));
        svg.happened((top, bottom), marks.filter(|(place, _)| (left..=right).contains(place)), |_| 90.0);
        self.band(&mut svg, &x, &within, (top, bottom));
        let mut taken = Vec::new();
        for limit in &self.limits {
            let Some(place) = within(limit.value) else { continue };
            svg.line(&format!("limit {}", limit.tone.class()), (left, place), (right, place));
            let text = format!("{} {}", limit.name, number(limit.value));
            let label = apart(&mut taken, place);
            svg.text(
                &format!("limit-name {}", limit.tone.class()),
                (right + 7.0, label + 3.5),
                "start",
                &text,
            );
        }
        let edge = |pick: fn(&ConePoint) -> Option<f64>| {
            stroke(self.points.iter().map(|point| {
                let value = pick(point)?;
                Some((x.place(point.x)?, within(value)?))
            }))
        };
        for (d, name) in [(edge(|point| point.high), "upper end"), (edge(|point| point.low), "lower end")] {
            if !d.is_empty() {
                svg.path("curve edge", &d, name);
            }
        }
        let middle = edge(|point| point.value);
        if !middle.is_empty() {
            svg.path("curve s0", &middle, "estimate");
        }
        if let Some((last, value)) =
            self.points.iter().rev().find_map(|point| Some((x.place(point.x)?, within(point.value?)?)))
        {
            svg.mark(0, (last, value), 4.0, "now");
            if let Some((when, what)) = &self.forecast
                && let Some(place) = x.place(*when)
            {
                let end = place.min(right);
                svg.line("forecast", (last, value), (end, value));
                let (tip, up) = (at(end), at(value));
                svg.path("forecast-end", &format!("M{tip} {up}l-6 -5v10z"), what);
                let label = apart(&mut taken, value);
                svg.text("limit-name", (right + 7.0, label + 3.5), "start", &cut(what, 108.0));
            }
        }
        svg.done()
    }

    fn spoken(&self) -> String {
        let limits: Vec<String> =
            self.limits.iter().map(|limit| format!("{} at {}", limit.name, number(limit.value))).collect();
        let now = self.points.last().map_or_else(
            || "nothing seen yet".to_owned(),
            |point| {
                let end = |value: Option<f64>| value.map_or_else(|| "open".to_owned(), number);
                format!("now {}, between {} and {}", end(point.value), end(point.low), end(point.high))
            },
        );
        format!("{}: {}; {now}; limits {}", self.title, self.y, limits.join(", "))
    }

    fn across(&self, left: f64, right: f64) -> Scale {
        let seen = self.points.iter().map(|point| point.x);
        let (first, last) =
            seen.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        // A forecast far away would press what was seen into a corner; its arrow ends at the border then.
        let far = self.forecast.as_ref().map(|(when, _)| when.min(last + 2.0 * (last - first)));
        Scale::fit(seen.chain(far), left, right, false)
    }

    /// Room for the limits and for where the interval is now; what was wider before is cut.
    fn upwards(&self, bottom: f64, top: f64) -> Scale {
        let last = self.points.last().copied().unwrap_or_default();
        let core: Vec<f64> =
            self.limits.iter().map(|limit| limit.value).chain([self.none]).chain(last.value).collect();
        let (low, high) = core
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(*value), b.max(*value)));
        let room = (high - low).max(f64::MIN_POSITIVE);
        let ends = [last.low, last.high].into_iter().flatten();
        let ends = ends.map(|end| end.clamp(low - 1.5 * room, high + 1.5 * room));
        let least = [low - 0.35 * room, high + 0.35 * room];
        let values = core.iter().copied().chain(ends).chain(least);
        let values = values.map(|value| self.least.map_or(value, |least| value.max(least)));
        Scale::fit(values, bottom, top, false)
    }

    fn band(
        &self,
        svg: &mut Svg,
        x: &Scale,
        within: &impl Fn(f64) -> Option<f64>,
        (top, bottom): (f64, f64),
    ) {
        let mut upper = Vec::new();
        let mut lower = Vec::new();
        for point in self.points.iter().filter(|point| point.low.is_some() || point.high.is_some()) {
            let Some(place) = x.place(point.x) else { continue };
            upper.push((place, point.high.and_then(within).unwrap_or(top)));
            lower.push((place, point.low.and_then(within).unwrap_or(bottom)));
        }
        lower.reverse();
        let d = stroke(upper.into_iter().chain(lower).map(Some));
        if !d.is_empty() {
            svg.path("band", &format!("{d}Z"), "");
        }
    }
}

/// A place for a label that is not on top of one that is there.
fn apart(taken: &mut Vec<f64>, wanted: f64) -> f64 {
    const GAP: f64 = 13.0;
    let mut place = wanted;
    while let Some(near) = taken.iter().find(|near| (place - **near).abs() < GAP) {
        place = near + GAP;
    }
    taken.push(place);
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cone() -> Cone {
        let point = |n: u32, width: f64| ConePoint {
            x: f64::from(n),
            value: Some(1.1),
            low: (n > 1).then_some(1.1 - width),
            high: (n > 0).then_some(1.1 + width),
        };
        Cone {
            title: "errors <b>".into(),
            x: "time (min)".into(),
            y: "ratio".into(),
            points: (0..10).map(|n| point(n, 8.0 / f64::from(n + 1))).collect(),
            limits: vec![
                ConeLimit { name: "tolerate".into(), value: 1.25, tone: Tone::Warn },
                ConeLimit { name: "reject <i>".into(), value: 2.0, tone: Tone::Bad },
            ],
            none: 1.0,
            least: Some(0.0),
            forecast: Some((1e9, "safe in <b>2 h".into())),
            marks: vec![(3.0, "canary <b>".into())],
        }
    }

    #[test]
    fn names_are_escaped_and_everything_is_inside() {
        let text = cone().draw().0;
        assert!(!text.contains("<b>") && !text.contains("<i>"), "{text}");
        let band = text.split("class=\"band\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let numbers = band.trim_end_matches('Z').split(['M', 'L']).skip(1).map(|pair| {
            let (x, y) = pair.split_once(' ').unwrap();
            (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap())
        });
        for (x, y) in numbers {
            assert!((60.0..=610.0).contains(&x) && (20.0..=270.0).contains(&y), "{x} {y}");
        }
        assert!(text.contains("forecast-end"));
    }

    #[test]
    fn names_of_stages_do_not_cover_each_other() {
        let marks =
            vec![(3.0, "rolling-back".to_owned()), (3.0, "rolled-back".to_owned()), (8.0, "full".into())];
        let text = Cone { marks, forecast: None, ..cone() }.draw().0;
        assert!(text.contains(">rolling-back<") && !text.contains(">rolled-back<"), "{text}");
        assert_eq!((text.matches("stage-mark").count(), text.contains(">full<")), (3, true));
    }

    #[test]
    fn nothing_seen_is_a_picture_too() {
        let empty = Cone { points: Vec::new(), ..cone() };
        assert!(empty.draw().0.ends_with("</svg>") && empty.draw().0.contains("nothing seen yet"));
        let alone = Cone { points: vec![ConePoint::default()], limits: Vec::new(), ..cone() };
        assert!(!alone.draw().0.contains("NaN"));
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let mut taken = Vec::new();
        let places: Vec<f64> = [50.0, 52.0, 51.0].map(|wanted| apart(&mut taken, wanted)).to_vec();
        assert_eq!(places, [50.0, 63.0, 76.0]);
    }
}
