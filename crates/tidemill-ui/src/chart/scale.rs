//! From values to places, and the values that are written beside an axis.

use crate::number;

/// An axis: values from `from` to `to` stand between the places `low` and `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// Fits the finite ones of some values; a logarithmic axis also leaves out what is not positive.
    pub(super) fn fit(values: impl Iterator<Item = f64>, low: f64, high: f64, log: bool) -> Self {
        let shown = values.filter(|value| value.is_finite() && (!log || *value > 0.0));
        let (mut from, mut to) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if from > to {
            (from, to) = if log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if log {
            (from, to) = (from.log10(), to.log10());
        }
        if from == to {
            let room = if log { 0.5 } else { (from.abs() * 0.1).max(0.5) };
            (from, to) = (from - room, to + room);
        }
        Self { from, to, low, high, log }
    }

    /// With some room beyond both ends, as a share of the whole.
    pub(super) fn padded(mut self, share: f64) -> Self {
        // Half of each end at a time, so that very large values do not overflow.
        let room = (self.to * 0.5 - self.from * 0.5) * 2.0 * share;
        if room.is_finite() && (self.from - room).is_finite() && (self.to + room).is_finite() {
            (self.from, self.to) = (self.from - room, self.to + room);
        }
        self
    }

    /// Where a value stands; nothing where it has no place on this axis.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || (self.log && value <= 0.0) {
            return None;
        }
        let value = if self.log { value.log10() } else { value };
        // Halved, so that the difference of the largest numbers is one.
        let share = (value * 0.5 - self.from * 0.5) / (self.to * 0.5 - self.from * 0.5);
        Some(self.low + (self.high - self.low) * share)
    }

    /// The value at a place of an axis that is not logarithmic.
    pub(super) fn value(&self, place: f64) -> f64 {
        self.from + (self.to - self.from) * (place - self.low) / (self.high - self.low)
    }

    /// Round values with their places and texts, about `most` of them.
    pub(super) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let values = if self.log { self.powers(most) } else { self.round(most) };
        let ticks = values.into_iter().filter_map(|value| Some((self.place(value)?, number(value))));
        ticks.filter(|(place, _)| place.is_finite()).collect()
    }

    fn round(&self, most: usize) -> Vec<f64> {
        let span = self.to - self.from;
        if !span.is_finite() {
            return vec![self.from, self.to];
        }
        let rough = span / most.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough).unwrap_or(rough);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step).floor() as i64;
        // Values so close to each other that they are the same number have no steps between them.
        if step <= 0.0 || last.saturating_sub(first) > 1_000 {
            return vec![self.from, self.to];
        }
        (first..=last).map(|n| n as f64 * step).collect()
    }

    fn powers(&self, most: usize) -> Vec<f64> {
        let (first, last) = (self.from.floor() as i32, self.to.ceil() as i32);
        let stride = usize::try_from(last - first).unwrap_or(0).div_ceil(most.max(1)).max(1);
        let within = |value: &f64| (self.from - 1e-9..=self.to + 1e-9).contains(&value.log10());
        let whole: Vec<f64> = (first..=last).step_by(stride).map(|n| 10f64.powi(n)).filter(within).collect();
        if whole.len() >= 2 {
            return whole;
        }
        // Less than two powers of ten: their multiples help.
        let multiples = (first..=last).flat_map(|n| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(n)));
        let fine: Vec<f64> = multiples.filter(within).collect();
        if fine.len() >= 2 { fine } else { vec![10f64.powf(self.from), 10f64.powf(self.to)] }
    }

    /// Attributes by which the script turns places back into values.
    pub(super) fn attributes(&self, axis: char) -> String {
        format!(
            " data-{axis}0=\"{}\" data-{axis}1=\"{}\" data-{axis}p0=\"{}\" data-{axis}p1=\"{}\"{}",
            self.from,
            self.to,
            self.low,
            self.high,
            if self.log { format!(" data-{axis}log") } else { String::new() }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_places() {
        let scale = Scale::fit([2.0, 4.0, f64::NAN].into_iter(), 100.0, 0.0, false);
        assert_eq!(
            [scale.place(2.0), scale.place(3.0), scale.place(4.0)],
            [Some(100.0), Some(50.0), Some(0.0)]
        );
        assert_eq!([scale.place(f64::NAN), scale.place(f64::INFINITY)], [None, None]);
        let log = Scale::fit([1.0, 100.0, -5.0, 0.0].into_iter(), 0.0, 10.0, true);
        assert_eq!([log.place(10.0), log.place(0.0), log.place(-1.0)], [Some(5.0), None, None]);
    }

    #[test]
    fn ticks_are_round() {
        let texts = |scale: Scale| scale.ticks(5).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(
            texts(Scale::fit([0.0, 1.0].into_iter(), 0.0, 1.0, false)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(
            texts(Scale::fit([0.001, 1000.0].into_iter(), 0.0, 1.0, true)),
            ["0.001", "0.1", "10", "1000"]
        );
        assert_eq!(texts(Scale::fit([3.0, 30.0].into_iter(), 0.0, 1.0, true)), ["5", "10", "20"]);
        assert!(!texts(Scale::fit([7.0].into_iter(), 0.0, 1.0, false)).is_empty());
        assert!(!texts(Scale::fit([].into_iter(), 0.0, 1.0, true)).is_empty());
    }

    #[test]
    fn the_ends_of_the_numbers_do_no_harm() {
        for values in [[f64::MIN, f64::MAX], [1e300, 1e-300], [5e-324, 1e-323], [1.0, 1.0 + f64::EPSILON]] {
            for log in [false, true] {
                let scale = Scale::fit(values.into_iter(), 0.0, 100.0, log).padded(0.05);
                assert!(scale.ticks(5).len() < 1_010, "{values:?}");
                for value in values {
                    assert!(
                        scale.place(value).is_none_or(|place| (-1e3..1e3).contains(&place)),
                        "{values:?} {log}"
                    );
                }
            }
        }
    }
}
