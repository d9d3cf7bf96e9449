//! Parallel coordinates: a line for each run through all its parameters and metrics.

use super::scale::Scale;
use super::svg::{Svg, cut, stroke};
use crate::Markup;

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it shows.
    pub name: String,
    /// The words in their order, where it does not show numbers; values are their places, from 0.
    pub words: Vec<String>,
    /// Whether it grows by factors.
    pub log: bool,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Strand {
    /// What it is, shown by a pointer.
    pub name: String,
    /// Its page.
    pub href: String,
    /// A value for each axis; what is no number makes a gap.
    pub values: Vec<f64>,
}

/// Lines through axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parallel {
    /// The axes; lines are shaded by the last.
    pub axes: Vec<Axis>,
    /// The lines.
    pub strands: Vec<Strand>,
}

/// In how many shades the lines are.
const SHADES: usize = 5;

impl Parallel {
    /// As SVG.
    pub fn draw(&self) -> Markup {
        let count = self.axes.len();
        let width = (count as f64 * 150.0).max(640.0);
        let (left, right, top, bottom) = (70.0, width - 90.0, 40.0, 300.0);
        let place = |at: usize| left + (right - left) * at as f64 / (count.max(2) - 1) as f64;
        let scales: Vec<Scale> = (0..count).map(|at| self.scale(at, bottom, top)).collect();
        let spoken = format!("{} runs through {} axes", self.strands.len(), count);
        let mut svg = Svg::linked("chart parallel", width, 322.0, &spoken, "");
        for strand in &self.strands {
            let d = stroke(scales.iter().enumerate().map(|(index, scale)| {
                let y = scale.place(*strand.values.get(index)?)?;
                Some((place(index), y))
            }));
            if d.contains('L') {
                let class = format!("strand q{}", self.shade(strand, scales.last(), (top, bottom)));
                svg.link(&strand.href, &strand.name).path(&class, &d, &strand.name).raw("</a>");
            }
        }
        for (index, (axis, scale)) in self.axes.iter().zip(&scales).enumerate() {
            let x = place(index);
            svg.line("axis", (x, top), (x, bottom));
            let row = if index % 2 == 0 { 14.0 } else { 29.0 };
            svg.text("label", (x, row), "middle", &cut(&axis.name, 250.0));
            if axis.words.is_empty() {
                for (y, text) in scale.ticks(5) {
                    svg.line("notch", (x, y), (x + 4.0, y)).text(
                        "tick halo",
                        (x + 7.0, y + 3.5),
                        "start",
                        &text,
                    );
                }
            } else {
                for (value, word) in axis.words.iter().enumerate().take(14) {
                    if let Some(y) = scale.place(value as f64) {
                        svg.line("notch", (x, y), (x + 4.0, y));
                        svg.text("tick halo", (x + 7.0, y + 3.5), "start", &cut(word, 110.0));
                    }
                }
            }
        }
        svg.done()
    }

    fn scale(&self, index: usize, low: f64, high: f64) -> Scale {
        let axis = &self.axes[index];
        let values = self.strands.iter().filter_map(|strand| strand.values.get(index).copied());
        Scale::fit(values, low, high, axis.log)
    }

    /// By the place on the last axis: 0 for the lowest fifth, 4 for the highest.
    fn shade(&self, strand: &Strand, last: Option<&Scale>, (top, bottom): (f64, f64)) -> usize {
        let place = last.zip(strand.values.get(self.axes.len().saturating_sub(1)));
        let share = place.and_then(|(scale, value)| Some((bottom - scale.place(*value)?) / (bottom - top)));
        share.map_or(0, |share| ((share * SHADES as f64) as usize).min(SHADES - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_run_and_a_gap_where_nothing_was_measured() {
        let axis = |name: &str, words: &[&str]| Axis {
            name: name.into(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            log: false,
        };
        let strand =
            |values: &[f64]| Strand { name: "<r>".into(), href: "/runs/1".into(), values: values.to_vec() };
        let chart = Parallel {
            axes: vec![axis("depth", &[]), axis("kind", &["neap", "spring"]), axis("loss", &[])],
            strands: vec![strand(&[1.0, 0.0, 0.5]), strand(&[2.0, f64::NAN, 0.1]), strand(&[3.0, 1.0, 0.9])],
        };
        let text = chart.draw().0;
        // The second has no two values beside each other.
        assert_eq!(text.matches("class=\"strand").count(), 2, "{text}");
        assert!(text.contains("strand q4") && text.contains(">spring<") && !text.contains("<r>"));
    }
}
