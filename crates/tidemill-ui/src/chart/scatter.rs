//! Points in a plane: one value against another.

use super::scale::Scale;
use super::svg::Svg;
use crate::Markup;

/// One point.
#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    /// To the right.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// What it is, shown by a pointer.
    pub name: String,
    /// Its page.
    pub href: String,
}

/// Points in a plane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scatter {
    /// What it shows.
    pub title: String,
    /// What goes to the right, with the unit.
    pub x: String,
    /// What goes up, with the unit.
    pub y: String,
    /// The points; those that are no numbers are left out.
    pub dots: Vec<Dot>,
    /// Whether x grows by factors.
    pub log_x: bool,
    /// Whether y grows by factors.
    pub log_y: bool,
}

impl Scatter {
    /// As SVG.
    pub fn draw(&self) -> Markup {
        let (width, height) = (640.0, 340.0);
        let (left, top, bottom) = (66.0, 14.0, height - 40.0);
        let right = width - 16.0;
        let x = Scale::fit(self.dots.iter().map(|dot| dot.x), left, right, self.log_x).padded(0.04);
        let y = Scale::fit(self.dots.iter().map(|dot| dot.y), bottom, top, self.log_y).padded(0.06);
        let spoken = format!("{}: {} against {}, {} points", self.title, self.y, self.x, self.dots.len());
        let mut svg = Svg::linked("chart scatter", width, height, &spoken, "");
        svg.rules((left, right), y.ticks(6));
        for (place, text) in x.ticks(7) {
            svg.line("rule", (place, top), (place, bottom));
            svg.text("tick", (place, bottom + 16.0), "middle", &text);
        }
        svg.line("axis", (left, bottom), (right, bottom));
        svg.line("axis", (left, top), (left, bottom));
        svg.text("label", (f64::midpoint(left, right), height - 6.0), "middle", &self.x);
        svg.upward(12.0, (top, bottom), &self.y);
        for dot in &self.dots {
            let (Some(px), Some(py)) = (x.place(dot.x), y.place(dot.y)) else { continue };
            let title = format!(
                "{}\n{} {}\n{} {}",
                dot.name,
                self.x,
                crate::number(dot.x),
                self.y,
                crate::number(dot.y)
            );
            svg.link(&dot.href, &dot.name).mark(0, (px, py), 4.2, &title).raw("</a>");
        }
        svg.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_left_out_and_names_are_escaped() {
        let dot = |x: f64, name: &str| Dot { x, y: 1.0, name: name.into(), href: "/runs/1".into() };
        let chart = Scatter {
            x: "depth".into(),
            y: "loss".into(),
            dots: vec![dot(1.0, "<b>"), dot(f64::NAN, "x"), dot(2.0, "y")],
            ..Scatter::default()
        };
        let text = chart.draw().0;
        assert_eq!(text.matches("<a href=\"/runs/1\"").count(), 2);
        assert!(!text.contains("<b>") && !text.contains("NaN"), "{text}");
    }
}
