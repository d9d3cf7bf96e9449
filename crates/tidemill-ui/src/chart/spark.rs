//! A curve as small as a word, for a cell of a table.

use super::sample::thin;
use super::scale::Scale;
use super::svg::{Svg, stroke};
use crate::{Cell, number};

/// The curve of some values, oldest first, with what it says in words: from, to, lowest, highest.
pub fn spark(values: &[f64]) -> Cell {
    let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(n, value)| (n as f64, *value)).collect();
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return Cell::None };
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let words = format!(
        "from {} to {}, lowest {}, highest {}",
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
    Cell::Picture(svg.done(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_in_words_what_it_shows() {
        let Cell::Picture(_, words) = spark(&[3.0, f64::NAN, 1.0, 2.0]) else { panic!() };
        assert_eq!(words, "from 3 to 2, lowest 1, highest 3");
        assert_eq!(spark(&[f64::NAN]), Cell::None);
    }
}
