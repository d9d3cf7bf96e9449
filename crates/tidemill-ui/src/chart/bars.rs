//! Bars: counts of buckets, shares, importances.

use super::scale::Scale;
use super::svg::{Svg, WIDTH, cut};
use crate::{Markup, number};

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// Its length.
    pub value: f64,
}

/// Bars below each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// What they show.
    pub title: String,
    /// What their length is, with the unit.
    pub unit: String,
    /// At most forty are drawn.
    pub bars: Vec<Bar>,
}

impl Bars {
    /// As SVG.
    pub fn draw(&self) -> Markup {
        const ROW: f64 = 20.0;
        let bars = &self.bars[..self.bars.len().min(40)];
        let longest = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
        let (left, width) = ((longest as f64 * WIDTH + 14.0).clamp(150.0, 300.0), 560.0);
        let right = width - 74.0;
        let height = bars.len() as f64 * ROW + 26.0;
        let values = bars.iter().map(|bar| bar.value).chain([0.0]);
        let x = Scale::fit(values, left, right, false);
        let zero = x.place(0.0).unwrap_or(left);
        let spoken = format!("{}: {} of {} bars", self.title, self.unit, bars.len());
        let mut svg = Svg::new("chart bars", width, height, &spoken, "");
        for (row, bar) in bars.iter().enumerate() {
            let y = row as f64 * ROW + 4.0;
            svg.text("name", (left - 8.0, y + 12.0), "end", &cut(&bar.name, left - 14.0));
            let end = x.place(bar.value).unwrap_or(zero);
            svg.rect("bar", (zero.min(end), y + 2.0), ((end - zero).abs(), ROW - 7.0), 1.5);
            svg.text("tick", (zero.max(end) + 6.0, y + 12.0), "start", &number(bar.value));
        }
        svg.line("axis", (zero, 2.0), (zero, height - 20.0));
        svg.text("label", (f64::midpoint(left, right), height - 5.0), "middle", &self.unit);
        svg.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_bars_go_to_the_left() {
        let bar = |name: &str, value| Bar { name: name.into(), value };
        let bars = vec![bar("a", 2.0), bar("<b>", -1.0), bar("c", f64::NAN)];
        let text = Bars { title: "Weights".into(), unit: "weight".into(), bars }.draw().0;
        let starts: Vec<f64> = text
            .split("<rect class=\"bar\" x=\"")
            .skip(1)
            .map(|part| part.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(starts[1] < starts[0] && starts.len() == 3, "{starts:?}");
        assert!(!text.contains("<b>"));
    }
}
