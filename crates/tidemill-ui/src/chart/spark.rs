//! A curve as small as a word, for a cell of a table.

use super::sample::thin;
use super::scale::Scale;
use super::svg::{Svg, stroke};
use crate::{Cell, Small, number};

/// The curve of some values, oldest first. `id` is its name within the page and `href` where it has axes; `what` says what goes up over
/// what, with the unit, since so small a picture has no room for axes.
pub fn spark(id: impl Into<String>, what: &str, href: impl Into<String>, values: &[f64]) -> Cell {
    let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(n, value)| (n as f64, *value)).collect();
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return Cell::None };
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let words = format!(
        "{what}: from {} to {}, lowest {}, highest {}",
        number(*first),
        number(*last),
        number(low),
        number(high)
    );
    let x = Scale::fit(points.iter().map(|(x, _)| *x), 2.0, 94.0, false);
    let y = Scale::fit(finite.iter().copied(), 20.0, 3.0, false);
    let mut svg = Svg::new("spark", 100.0, 23.0, &words, "");
    let places: Vec<Option<(f64, f64)>> =
        thin(&points, 40).into_iter().map(|(px, py)| x.place(px).zip(y.place(py))).collect();
    svg.path("curve s0", &stroke(places.iter().copied()), "");
    if let Some(end) = places.into_iter().flatten().next_back() {
        svg.mark(0, end, 2.4, "");
    }
    let (id, href, picture) = (id.into(), href.into(), svg.done());
    Cell::Curve(Box::new(Small { id, words, values: values.to_vec(), href, picture }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_in_words_what_it_shows() {
        let curve = |values: &[f64]| spark("small", "loss over steps", "/runs/1/curves/loss", values);
        let Cell::Curve(small) = curve(&[3.0, f64::NAN, 1.0, 2.0]) else { panic!() };
        assert_eq!(small.words, "loss over steps: from 3 to 2, lowest 1, highest 3");
        assert!(
            small
                .picture
                .as_str()
                .contains("aria-label=\"loss over steps: from 3 to 2, lowest 1, highest 3\"")
        );
        // Its numbers are what is drawn.
        let cell = Cell::Curve(small);
        assert_eq!(cell.value(), serde_json::json!([3.0, "NaN", 1.0, 2.0]));
        assert_eq!(cell.plain(), "3.0 NaN 1.0 2.0");
        assert_eq!(curve(&[f64::NAN]), Cell::None);
    }
}
