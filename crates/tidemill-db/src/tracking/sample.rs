//! Thinning out a history without losing its peaks.

use crate::tracking::HistoryPoint;

/// At most `2 * buckets + 2` points of a history in the order in which it is given: the lowest and the highest of each
/// of `buckets` equally long parts, and the first and the last of all. NaN is neither lowest nor highest; a part of
/// nothing else keeps its first, so that the gap is seen.
pub fn extremes(points: &[HistoryPoint], buckets: usize) -> Vec<HistoryPoint> {
    let buckets = buckets.max(1);
    if points.len() <= 2 * buckets + 2 {
        return points.to_vec();
    }
    let mut kept = vec![0, points.len() - 1];
    for bucket in 0..buckets {
        let part = bucket * points.len() / buckets..(bucket + 1) * points.len() / buckets;
        let numbers = || part.clone().filter(|i| !points[*i].value.is_nan());
        let by_value = |a: &usize, b: &usize| points[*a].value.total_cmp(&points[*b].value);
        let lowest = numbers().min_by(by_value).unwrap_or(part.start);
        // Of several highest the first, as of the lowest.
        let highest = numbers().rev().max_by(by_value).unwrap_or(part.start);
        kept.extend([lowest, highest]);
    }
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|i| points[i]).collect()
}

/// Exponential smoothing, corrected for its start: the first points are not drawn towards zero. Where there is no number
/// there is none afterwards, and what comes after it goes on from what was before.
pub(super) fn smoothed(points: &[HistoryPoint], weight: f64) -> Vec<HistoryPoint> {
    let weight = weight.clamp(0.0, 0.999);
    let (mut sum, mut part) = (0.0, 0.0);
    let smooth = |point: &HistoryPoint| {
        if !point.value.is_finite() {
            return HistoryPoint { value: f64::NAN, ..*point };
        }
        sum = sum * weight + point.value * (1.0 - weight);
        part = part * weight + (1.0 - weight);
        HistoryPoint { value: sum / part, ..*point }
    };
    points.iter().map(smooth).collect()
}

#[cfg(test)]
mod tests {
    use tidemill_core::Timestamp;

    use super::*;

    fn history(values: impl Iterator<Item = f64>) -> Vec<HistoryPoint> {
        let point = |(i, value)| HistoryPoint { step: i as i64, at: Timestamp::from_millis(i as i64), value };
        values.enumerate().map(point).collect()
    }

    fn steps(points: &[HistoryPoint]) -> Vec<i64> {
        points.iter().map(|point| point.step).collect()
    }

    #[test]
    fn a_short_history_stays_whole() {
        let points = history([3.0, 1.0, 2.0, 5.0].into_iter());
        assert_eq!(extremes(&points, 1), points);
        assert_eq!(extremes(&[], 4), []);
    }

    #[test]
    fn peaks_first_and_last_are_kept() {
        let mut values = vec![0.0; 1000];
        (values[137], values[500], values[998]) = (9.0, -9.0, 1.0);
        let points = history(values.into_iter());
        let kept = extremes(&points, 10);
        assert!(kept.len() <= 22, "{}", kept.len());
        for step in [0, 137, 500, 998, 999] {
            assert!(steps(&kept).contains(&step), "{step}");
        }
        assert!(kept.windows(2).all(|pair| pair[0].step < pair[1].step));
    }

    #[test]
    fn smoothing_does_not_move_what_is_constant() {
        let flat = history((0..9).map(|i| if i == 4 { f64::NAN } else { 5.0 }));
        for (point, was) in smoothed(&flat, 0.9).iter().zip(&flat) {
            assert_eq!(point.step, was.step);
            assert!(
                (point.value - 5.0).abs() < 1e-12 || was.value.is_nan() && point.value.is_nan(),
                "{point:?}"
            );
        }
    }

    #[test]
    fn a_part_without_numbers_shows_as_one() {
        let points = history((0..100).map(|i| if (50..100).contains(&i) { f64::NAN } else { 1.0 }));
        assert_eq!(steps(&extremes(&points, 2)), [0, 50, 99]);
    }
}
