//! What values look like on two sides, over the same bins or values. One side is drawn as outlines, the other one filled, so that they
//! are told apart without colour.

use super::svg::{Svg, WIDTH, cut};
use crate::{Markup, number};

/// A bin or a value with its share on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What is in it.
    pub name: String,
    /// Its share on the side that is compared with, from 0 to 1.
    pub before: f64,
    /// Its share on the other side.
    pub after: f64,
}

/// Shares of both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// What they are of.
    pub title: String,
    /// What the sides are called.
    pub sides: (String, String),
    /// At most forty are drawn.
    pub pairs: Vec<Pair>,
    /// Of numbers: where the first bin begins and the last one ends. Bins stand beside each other then, values below each other.
    pub range: Option<(String, String)>,
}

const ACROSS: f64 = 560.0;
/// Where what is drawn begins, below the names of the sides.
const TOP: f64 = 24.0;

impl Pairs {
    /// As SVG.
    pub fn draw(&self) -> Markup {
        let pairs = &self.pairs[..self.pairs.len().min(40)];
        let shares = pairs.iter().flat_map(|pair| [pair.before, pair.after]);
        let most = shares.filter(|share| share.is_finite()).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        match &self.range {
            Some((from, to)) => self.beside(pairs, most, (from, to)),
            None => self.below(pairs, most),
        }
    }

    fn open(&self, height: f64, what: &str, count: usize) -> Svg {
        let (before, after) = &self.sides;
        let spoken = format!("{}: shares of {count} {what} in {before} and in {after}", self.title);
        let mut svg = Svg::new("chart pairs", ACROSS, height, &spoken, "");
        let (before, after) = (cut(before, 180.0), cut(after, 180.0));
        svg.rect("then", (52.0, 5.0), (11.0, 9.0), 1.0).text("tick", (68.0, 13.0), "start", &before);
        let next = 68.0 + before.chars().count() as f64 * WIDTH + 22.0;
        svg.rect("bar", (next, 5.0), (11.0, 9.0), 1.0).text("tick", (next + 16.0, 13.0), "start", &after);
        svg
    }

    /// Bins from left to right.
    fn beside(&self, pairs: &[Pair], most: f64, (from, to): (&str, &str)) -> Markup {
        const HIGH: f64 = 128.0;
        let (left, right, bottom) = (62.0, ACROSS - 12.0, TOP + HIGH);
        let mut svg = self.open(bottom + 38.0, "bins", pairs.len());
        let ticks = [0.0, 0.5, 1.0].map(|share| (bottom - share * HIGH, percent(share * most)));
        svg.rules((left, right), ticks);
        let step = (right - left) / pairs.len().max(1) as f64;
        let high = |share: f64| if share > 0.0 { (share / most * HIGH).max(1.0) } else { 0.0 };
        for (at, pair) in pairs.iter().enumerate() {
            let x = left + at as f64 * step;
            let (before, after) = (high(pair.before), high(pair.after));
            // The filled one is narrower, so that both stay visible.
            if after > 0.0 {
                svg.rect("bar", (x + step * 0.26, bottom - after), (step * 0.48, after), 0.8);
            }
            if before > 0.0 {
                svg.rect("then", (x + step * 0.08, bottom - before), (step * 0.84, before), 0.8);
            }
        }
        svg.line("axis", (left, bottom), (right, bottom));
        svg.text("tick", (left, bottom + 15.0), "start", &cut(from, 200.0));
        if to != from {
            svg.text("tick", (right, bottom + 15.0), "end", &cut(to, 200.0));
        }
        svg.text("label", (f64::midpoint(left, right), bottom + 32.0), "middle", &cut(&self.title, 480.0));
        svg.upright("label", (11.0, TOP + HIGH / 2.0), "share of rows");
        svg.done()
    }

    /// Values from above.
    fn below(&self, pairs: &[Pair], most: f64) -> Markup {
        const ROW: f64 = 26.0;
        let longest = pairs.iter().map(|pair| pair.name.chars().count()).max().unwrap_or(0);
        let left = (longest as f64 * WIDTH + 14.0).clamp(80.0, 220.0);
        let right = ACROSS - 122.0;
        let bottom = TOP + pairs.len() as f64 * ROW;
        let mut svg = self.open(bottom + 22.0, "values", pairs.len());
        let long = |share: f64| if share > 0.0 { (share / most * (right - left)).max(1.0) } else { 0.0 };
        for (at, pair) in pairs.iter().enumerate() {
            let y = TOP + at as f64 * ROW;
            svg.text("name", (left - 8.0, y + 15.0), "end", &cut(&pair.name, left - 14.0));
            let (before, after) = (long(pair.before), long(pair.after));
            if before > 0.0 {
                svg.rect("then", (left, y + 3.0), (before, 7.5), 1.0);
            }
            if after > 0.0 {
                svg.rect("bar", (left, y + 12.0), (after, 7.5), 1.0);
            }
            let said = format!("{} → {}", percent(pair.before), percent(pair.after));
            svg.text("tick", (ACROSS - 6.0, y + 15.0), "end", &said);
        }
        svg.line("axis", (left, TOP), (left, bottom));
        svg.text("label", (f64::midpoint(left, right), bottom + 16.0), "middle", "share of rows");
        svg.done()
    }
}

/// A share with at most one digit behind the point.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.001 {
        return "< 0.1 %".to_owned();
    }
    format!("{} %", number((share * 1000.0).round() / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(range: Option<(String, String)>) -> String {
        let pair = |name: &str, before: f64, after: f64| Pair { name: name.into(), before, after };
        let pairs = vec![pair("<b>", 0.25, 0.5), pair("b", 0.75, 0.0), pair("c", f64::NAN, 0.5)];
        Pairs { title: "<i>".into(), sides: ("v1".into(), "v2<".into()), pairs, range }.draw().0
    }

    #[test]
    fn both_sides_are_drawn_and_told_apart() {
        for range in [None, Some(("0".to_owned(), "<9".to_owned()))] {
            let text = pairs(range);
            // One of each is the sign beside the name of a side; what there is nothing of is not drawn.
            assert_eq!(text.matches("<rect class=\"then\"").count(), 3, "{text}");
            assert_eq!(text.matches("<rect class=\"bar\"").count(), 3, "{text}");
            assert!(!text.contains("<b>") && !text.contains("<i>") && !text.contains("NaN\""), "{text}");
        }
        assert!(Pairs::default().draw().0.ends_with("</svg>"));
    }
}
