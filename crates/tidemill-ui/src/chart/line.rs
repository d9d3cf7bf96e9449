//! Curves over steps or time.

use super::STYLES;
use super::sample::thin;
use super::scale::Scale;
use super::svg::{Svg, at, cut, stroke};
use crate::Markup;

/// One curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name, written at its end.
    pub name: String,
    /// In the order of x. A y that is no number makes a gap.
    pub points: Vec<(f64, f64)>,
}

/// Curves in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// What goes to the right, with the unit.
    pub x: String,
    /// What goes up, with the unit.
    pub y: String,
    /// At most eight are told from each other; more repeat the styles.
    pub series: Vec<Series>,
    /// Whether y grows by factors.
    pub log: bool,
    /// For each curve what it is when smoothed, which stands in front of it; nothing where they are as measured.
    pub smooth: Vec<Vec<(f64, f64)>>,
    /// Width and height in user units.
    pub size: (f64, f64),
    /// Ranges of x that mean something, with what they mean.
    pub regions: Vec<(f64, f64, String)>,
    /// Whether each point has a mark, which says its numbers to a pointer.
    pub marked: bool,
    /// Places of x that mean something, with what they mean.
    pub uprights: Vec<(f64, String)>,
    /// The parameter of the page's address that holds the range of x; dragging over the picture sets it. None where empty.
    pub zoom: &'static str,
}

impl Default for LineChart {
    fn default() -> Self {
        Self {
            title: String::new(),
            x: String::new(),
            y: String::new(),
            series: Vec::new(),
            log: false,
            smooth: Vec::new(),
            size: (560.0, 240.0),
            regions: Vec::new(),
            marked: false,
            uprights: Vec::new(),
            zoom: "",
        }
    }
}

impl LineChart {
    /// As SVG.
    pub fn draw(&self) -> Markup {
        let (width, height) = self.size;
        let (left, top, bottom) = (62.0, 12.0, height - 36.0);
        let many = self.series.len() > 1;
        let right = width - if many { 112.0 } else { 16.0 };
        let columns = (right - left) as usize;
        let thinned: Vec<Vec<(f64, f64)>> = self.series.iter().map(|s| thin(&s.points, columns)).collect();
        let smooth: Vec<Vec<(f64, f64)>> = self.smooth.iter().map(|points| thin(points, columns)).collect();
        let xs = thinned.iter().flatten().map(|(x, _)| *x);
        let x = Scale::fit(xs, left, right, false);
        let y = Scale::fit(thinned.iter().flatten().map(|(_, y)| *y), bottom, top, self.log).padded(0.04);

        let zoom = if self.zoom.is_empty() { String::new() } else { format!(" data-zoom=\"{}\"", self.zoom) };
        let attributes = format!(" data-chart=\"line\"{}{}{zoom}", x.attributes('x'), y.attributes('y'));
        let mut svg = Svg::new("chart line", width, height, &self.spoken(), &attributes);
        self.ranges(&mut svg, &x, (top, bottom));
        svg.rules((left, right), y.ticks(5));
        svg.notches(bottom, x.ticks(6));
        svg.line("axis", (left, bottom), (right, bottom));
        svg.text("label", (f64::midpoint(left, right), height - 4.0), "middle", &self.x);
        svg.upward(11.0, (top, bottom), &self.y);
        for (index, points) in thinned.iter().enumerate() {
            let faint = if smooth.is_empty() { "" } else { " faint" };
            curve(&mut svg, index, faint, &self.series[index].name, &placed(points, &x, &y));
            for (px, py) in points.iter().filter(|_| self.marked) {
                if let (Some(across), Some(up)) = (x.place(*px), y.place(*py)) {
                    let title = format!("{} at {}", crate::number(*py), crate::number(*px));
                    svg.mark(index, (across, up), 3.0, &title);
                }
            }
            gaps(&mut svg, points, &x, bottom);
        }
        for (index, (points, series)) in smooth.iter().zip(&self.series).enumerate() {
            let name = format!("{} (smoothed)", series.name);
            curve(&mut svg, index, "", &name, &placed(points, &x, &y));
        }
        if many {
            self.names(&mut svg, &thinned, &y, (right, top, bottom));
        }
        svg.done()
    }

    fn spoken(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).take(STYLES).collect();
        format!("{}: {} over {} for {}", self.title, self.y, self.x, names.join(", "))
    }

    /// What ranges and places of x mean, each name on a line of its own.
    fn ranges(&self, svg: &mut Svg, x: &Scale, (top, bottom): (f64, f64)) {
        for (row, (from, to, name)) in self.regions.iter().enumerate() {
            if let (Some(from), Some(to)) = (x.place(*from), x.place(*to)) {
                svg.rect("region", (from, top), ((to - from).max(2.0), bottom - top), 0.0);
                svg.text("tick", (from + 4.0, top + 11.0 + 13.0 * row as f64), "start", name);
            }
        }
        let before = self.regions.len();
        for (row, (at, name)) in self.uprights.iter().enumerate() {
            if let Some(place) = x.place(*at) {
                svg.line("stage-mark", (place, top), (place, bottom));
                let (anchor, aside) = if place > self.size.0 * 0.6 { ("end", -4.0) } else { ("start", 4.0) };
                let line = top + 11.0 + 13.0 * (before + row) as f64;
                svg.text("tick", (place + aside, line), anchor, name);
            }
        }
    }

    /// Names at the ends of the curves, moved apart where they would overlap.
    fn names(
        &self,
        svg: &mut Svg,
        drawn: &[Vec<(f64, f64)>],
        y: &Scale,
        (right, top, bottom): (f64, f64, f64),
    ) {
        const GAP: f64 = 13.0;
        let last = |points: &[(f64, f64)]| points.iter().rev().find_map(|(_, value)| y.place(*value));
        let mut places: Vec<(f64, usize)> =
            drawn.iter().enumerate().map(|(at, points)| (last(points).unwrap_or(bottom), at)).collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        let room = ((bottom - top) / GAP) as usize;
        let more = places.len().saturating_sub(room);
        places.truncate(room);
        for at in 1..places.len() {
            places[at].0 = places[at].0.max(places[at - 1].0 + GAP);
        }
        let mut floor = bottom;
        for place in places.iter_mut().rev() {
            place.0 = place.0.min(floor);
            floor = place.0 - GAP;
        }
        for (place, index) in &places {
            svg.mark(*index, (right + 9.0, *place), 3.5, "");
            svg.text("name", (right + 17.0, place + 3.5), "start", &cut(&self.series[*index].name, 94.0));
        }
        if more > 0 {
            svg.text("tick", (right + 9.0, bottom + 16.0), "start", &format!("and {more} more"));
        }
    }
}

/// Where points stand; nothing for those that have no place.
fn placed(points: &[(f64, f64)], x: &Scale, y: &Scale) -> Vec<Option<(f64, f64)>> {
    points.iter().map(|(px, py)| x.place(*px).zip(y.place(*py))).collect()
}

/// The curve at `index` among others; `class` is what is added to its class.
fn curve(svg: &mut Svg, index: usize, class: &str, name: &str, places: &[Option<(f64, f64)>]) {
    let d = stroke(places.iter().copied());
    if !d.is_empty() {
        svg.path(&format!("curve s{}{class}", index % STYLES), &d, name);
    }
    // A point without neighbours has no line to be seen by.
    for part in places.split(Option::is_none) {
        if let [Some(place)] = part {
            svg.mark(index, *place, 3.0, "");
        }
    }
}

/// A cross on the axis where a curve has no number.
fn gaps(svg: &mut Svg, points: &[(f64, f64)], x: &Scale, bottom: f64) {
    let mut last = f64::NEG_INFINITY;
    for (px, py) in points.iter().filter(|(_, y)| !y.is_finite()) {
        // Crosses that would touch each other say no more than one of them.
        if let Some(place) = x.place(*px).filter(|place| place - last >= 8.0) {
            last = place;
            let title = format!("{} at {}", crate::number(*py), crate::number(*px));
            let (a, b) = (at(place - 3.0), at(bottom - 3.0));
            svg.path("gap", &format!("M{a} {b}l6 6m0 -6l-6 6"), &title);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart {
            title: "Loss".into(),
            x: "step".into(),
            y: "loss".into(),
            series: vec![Series { name: "a<b".into(), points }],
            ..LineChart::default()
        }
    }

    #[test]
    fn a_gap_is_a_gap() {
        let text = chart(vec![(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 2.0)]).draw().0;
        let path = text.split("class=\"curve s0\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(text.contains("NaN at 2") && !text.contains("a<b") && text.contains("a&#60;b"), "{text}");
        assert!(!text.contains("NaN ") || !path.contains("NaN"));
    }

    #[test]
    fn a_lonely_point_is_seen() {
        let text = chart(vec![(0.0, 1.0)]).draw().0;
        assert!(text.contains("class=\"mark s0\""), "{text}");
        assert!(chart(Vec::new()).draw().0.ends_with("</svg>"));
    }

    #[test]
    fn on_a_logarithmic_axis_what_is_not_positive_is_a_gap() {
        let mut chart = chart(vec![(0.0, 1.0), (1.0, 0.0), (2.0, 100.0), (3.0, 10.0)]);
        chart.log = true;
        let text = chart.draw().0;
        let path = text.split("class=\"curve s0\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(text.contains("data-ylog"));
    }

    #[test]
    fn a_smoothed_curve_stands_in_front_of_what_was_measured() {
        let measured =
            LineChart { smooth: vec![vec![(0.0, 1.5), (1.0, 1.5)]], ..chart(vec![(0.0, 1.0), (1.0, 2.0)]) };
        let text = measured.draw().0;
        let (faint, smooth) = (text.find("curve s0 faint"), text.find("a&#60;b (smoothed)"));
        assert!(faint.is_some() && faint < smooth, "{text}");
    }

    #[test]
    fn names_do_not_overlap() {
        let series =
            (0..6).map(|n| Series { name: format!("run {n}"), points: vec![(0.0, 1.0), (1.0, 1.0)] });
        let chart = LineChart { series: series.collect(), ..LineChart::default() };
        let text = chart.draw().0;
        let mut places: Vec<f64> = text
            .split("<text class=\"name\"")
            .skip(1)
            .map(|part| part.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        places.sort_by(f64::total_cmp);
        assert_eq!(places.len(), 6);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 12.0), "{places:?}");
    }
}
