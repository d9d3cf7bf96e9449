//! What changed between two versions or two windows: which answers flipped, and whether a rate moved because the rows
//! did.

use serde::{Deserialize, Serialize};

use crate::interval::{McNemar, mcnemar};

/// Rows by whether champion and candidate were right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flips {
    /// Right before and now.
    pub both_right: u64,
    /// Wrong before, right now.
    pub gained: u64,
    /// Right before, wrong now: what users notice.
    pub lost: u64,
    /// Wrong before and now.
    pub both_wrong: u64,
}

impl Flips {
    /// Share of rows that were right and are wrong now. `None` without rows.
    pub fn lost_share(&self) -> Option<f64> {
        let rows = self.both_right + self.gained + self.lost + self.both_wrong;
        (rows > 0).then(|| self.lost as f64 / rows as f64)
    }

    /// Share of what was right that is wrong now: the negative flip rate among the champion's right answers.
    pub fn lost_of_right(&self) -> Option<f64> {
        let right = self.both_right + self.lost;
        (right > 0).then(|| self.lost as f64 / right as f64)
    }

    /// Whether candidate and champion differ in accuracy.
    pub fn test(&self) -> McNemar {
        mcnemar(self.lost, self.gained)
    }
}

/// Counts flips of rows. What exceeds the shorter slice is left out.
pub fn flips(champion_right: &[bool], candidate_right: &[bool]) -> Flips {
    let mut found = Flips::default();
    for (before, now) in champion_right.iter().zip(candidate_right) {
        *match (before, now) {
            (true, true) => &mut found.both_right,
            (false, true) => &mut found.gained,
            (true, false) => &mut found.lost,
            (false, false) => &mut found.both_wrong,
        } += 1;
    }
    found
}

/// A change of a rate, divided into what the mix of segments did and what the rates within them did
/// (E. Kitagawa, JASA 50, 1955). Both add up to the whole exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decomposition {
    /// Rate of the current side minus rate of the reference.
    pub change: f64,
    /// Σ (s_c − s_r)·(x_c + x_r)/2: because there are more rows of some segments.
    pub mix: f64,
    /// Σ (s_c + s_r)/2·(x_c − x_r): because the rate changed within segments.
    pub rate: f64,
    /// The parts of each segment, in the order given.
    pub segments: Vec<SegmentChange>,
}

/// The part of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentChange {
    /// Contribution of its share. Measured against the mean of both overall rates, so that a segment that only grows
    /// contributes by being better or worse than the rest; the sum over segments is the same.
    pub mix: f64,
    /// Contribution of its rate.
    pub rate: f64,
}

/// Decomposes the change of Σ hits / Σ rows. Each segment has (rows, hits) of the reference and of the current side;
/// hits may be any sum over rows (losses, right answers). A segment that one side lacks has the other side's rate
/// there, so all of its contribution is mix. `None` if a side has no rows.
pub fn kitagawa(segments: &[((f64, f64), (f64, f64))]) -> Option<Decomposition> {
    let sum = |of: fn(&((f64, f64), (f64, f64))) -> f64| segments.iter().map(of).sum::<f64>();
    let (rows_r, rows_c) = (sum(|s| s.0.0), sum(|s| s.1.0));
    if rows_r.is_nan() || rows_c.is_nan() || rows_r <= 0.0 || rows_c <= 0.0 {
        return None;
    }
    let (overall_r, overall_c) = (sum(|s| s.0.1) / rows_r, sum(|s| s.1.1) / rows_c);
    let middle = f64::midpoint(overall_r, overall_c);
    let mut found = Decomposition {
        change: overall_c - overall_r,
        mix: 0.0,
        rate: 0.0,
        segments: Vec::with_capacity(segments.len()),
    };
    for ((n, a), (m, b)) in segments {
        let (rate_r, rate_c) = match (*n > 0.0, *m > 0.0) {
            (true, true) => (a / n, b / m),
            (true, false) => (a / n, a / n),
            (false, true) => (b / m, b / m),
            (false, false) => (middle, middle),
        };
        let (share_r, share_c) = (n / rows_r, m / rows_c);
        let part = SegmentChange {
            mix: (share_c - share_r) * (f64::midpoint(rate_r, rate_c) - middle),
            rate: f64::midpoint(share_r, share_c) * (rate_c - rate_r),
        };
        found.mix += part.mix;
        found.rate += part.rate;
        found.segments.push(part);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_and_rate_add_up() {
        // A paradox of Simpson's: the rate falls in both segments and rises overall.
        let found = kitagawa(&[((100.0, 90.0), (900.0, 801.0)), ((900.0, 450.0), (100.0, 49.0))]).unwrap();
        assert!((found.mix + found.rate - found.change).abs() < 1e-15);
        assert!(found.change > 0.3 && found.rate < 0.0 && found.mix > 0.3, "{found:?}");
    }

    #[test]
    fn a_segment_of_one_side_is_mix() {
        let found = kitagawa(&[((100.0, 50.0), (100.0, 50.0)), ((0.0, 0.0), (100.0, 0.0))]).unwrap();
        assert_eq!((found.change, found.mix, found.rate), (-0.25, -0.25, 0.0));
        assert!(kitagawa(&[((1.0, 1.0), (0.0, 0.0))]).is_none());
    }

    #[test]
    fn flips_are_counted() {
        let found = flips(&[true, true, true, false, false], &[true, false, true, true, false]);
        assert_eq!(found, Flips { both_right: 2, gained: 1, lost: 1, both_wrong: 1 });
        assert_eq!((found.lost_share(), found.lost_of_right()), (Some(0.2), Some(1.0 / 3.0)));
        assert_eq!(found.test().p_exact, 1.0);
        assert_eq!(Flips::default().lost_share(), None);
    }
}
