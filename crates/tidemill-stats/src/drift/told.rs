//! Whether a classifier that learned to tell two sides apart does so on rows that it has not seen.
//!
//! Rows are answered in parts, each by a classifier that learned from the parts before it. Where the sides are alike, what becomes of a
//! part is then luck of that part alone, whatever was learned before, so the parts' Mann-Whitney statistics add up as independent ones
//! do. Folds that are answered by classifiers of all the others share their rows: their areas rise and fall together, and an interval that
//! takes all rows for independent is too narrow, for a linear classifier of many columns by √2.

use serde::{Deserialize, Serialize};

use super::{Level, Rules};
use crate::interval::{Auc, auc};
use crate::sample::{Sample, sorted};
use crate::special::student_above;
use crate::twosample::ranked;

/// Confidence of the area's interval.
const LEVEL: f64 = 0.99;

/// How well a classifier tells the two sides apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainClassifier {
    /// Area under its curve on rows that it was not trained on; one half when the sides are alike.
    pub auc: f64,
    /// Lower end of the 99 % interval of the area.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// p-value of sides that are alike, against an area above one half; not in reports from before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// The columns that it tells the sides apart by, the one that it loses most without first; empty where it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

impl DomainClassifier {
    /// What it comes to, before it is asked how much its columns matter.
    pub(super) fn level(&self, rules: &Rules) -> Level {
        if self.lower <= 0.5 || self.p.is_some_and(|p| p >= rules.pair_alpha) {
            Level::None
        } else if self.lower > rules.floors.classifier {
            Level::Major
        } else {
            Level::Minor
        }
    }
}

/// Rows of both sides, answered by a classifier that had not seen them.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Whether a row is of the current side.
    pub is_current: &'a [bool],
    /// Of each row a score, the larger the more it looks like one of the current side.
    pub scores: &'a [f64],
    /// How many rows the classifier learned from. Parts count by its square root, since whoever learned more tells more.
    pub learned: usize,
}

/// The area under the curve over all parts, with DeLong's interval, and the p-value of sides that are alike: the sum of the parts'
/// Mann-Whitney statistics (corrected for ties) by Student's distribution, one-sided. Its degrees of freedom are the rows of the smaller side
/// that do not have the score which most rows have: where nearly all rows are scored alike, few of them decide.
///
/// `None` without parts, or where one of them has fewer than two rows of a side or a score that is no number.
pub fn told_apart(parts: &[Answered<'_>]) -> Option<DomainClassifier> {
    let (mut weights, mut squares) = (0.0, 0.0);
    let (mut area, mut variance) = (0.0, 0.0);
    let (mut sum, mut degrees) = (0.0, 0.0);
    for part in parts {
        let found = auc(part.is_current, part.scores)?;
        let side = |wanted: bool| -> Vec<f64> {
            let rows = part.is_current.iter().zip(part.scores);
            sorted(rows.filter(|(is, _)| **is == wanted).map(|(_, score)| *score).collect())
        };
        let (current, reference) = (side(true), side(false));
        let ranks = ranked(Sample::exact(&current), Sample::exact(&reference))?;
        let weight = (part.learned as f64).sqrt();
        weights += weight;
        squares += weight * weight;
        area += weight * found.area;
        variance += (weight * found.error).powi(2);
        if ranks.variance > 0.0 {
            sum += weight * (ranks.statistic - ranks.pairs / 2.0) / ranks.variance.sqrt();
            let fewer = current.len().min(reference.len()) as f64;
            degrees += (fewer * (1.0 - ranks.tied) - 1.0).max(0.0);
        }
    }
    if weights <= 0.0 {
        return None;
    }
    let found = Auc { area: area / weights, error: variance.sqrt() / weights };
    let interval = found.interval(LEVEL);
    Some(DomainClassifier {
        auc: found.area,
        lower: interval.low,
        upper: interval.high,
        p: Some(student_above(sum / squares.sqrt(), degrees.max(1.0))),
        columns: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Scores of a part with so many rows of either side, those of the current one higher by `shift`.
    fn part(random: &mut Random, rows: usize, shift: f64, round: bool) -> (Vec<bool>, Vec<f64>) {
        let is_current: Vec<bool> = (0..2 * rows).map(|row| row % 2 == 1).collect();
        let scores = is_current
            .iter()
            .map(|is| {
                let score = random.normal() + if *is { shift } else { 0.0 };
                if round { f64::from(u8::from(score > 2.0)) } else { score }
            })
            .collect();
        (is_current, scores)
    }

    fn told(parts: &[(Vec<bool>, Vec<f64>)]) -> Option<DomainClassifier> {
        let answered: Vec<Answered<'_>> = parts
            .iter()
            .zip(1..)
            .map(|((is_current, scores), learned)| Answered { is_current, scores, learned: 100 * learned })
            .collect();
        told_apart(&answered)
    }

    #[test]
    fn what_can_be_told_by_hand() {
        let truth = || vec![true, true, false, false];
        let apart = told(&[(truth(), vec![0.9, 0.8, 0.2, 0.1])]).unwrap();
        assert_eq!((apart.auc, apart.lower, apart.upper), (1.0, 1.0, 1.0));
        // Four rows: U is 4 of a mean of 2, its variance 2·2·5/12, and one row of a side is free.
        let expected = student_above(2.0 / (20.0_f64 / 12.0).sqrt(), 1.0);
        assert!((apart.p.unwrap() - expected).abs() < 1e-12, "{apart:?}");
        let alike = told(&[(truth(), vec![0.5; 4])]).unwrap();
        assert_eq!((alike.auc, alike.p), (0.5, Some(0.5)));
        // The part of the classifier that learned from more counts for more.
        let both = told(&[(truth(), vec![0.5; 4]), (truth(), vec![0.9, 0.8, 0.2, 0.1])]).unwrap();
        let root = 2.0_f64.sqrt();
        assert!((both.auc - (0.5 + root) / (1.0 + root)).abs() < 1e-12, "{both:?}");
        assert!(told(&[]).is_none() && told(&[(vec![true; 4], vec![0.5; 4])]).is_none());
        assert!(told(&[(truth(), vec![f64::NAN; 4])]).is_none());
    }

    #[test]
    fn levels_need_an_area_and_a_test() {
        let rules = Rules::default();
        let level = |lower, p| {
            let found = DomainClassifier { auc: 0.6, lower, upper: 0.65, p, columns: Vec::new() };
            found.level(&rules)
        };
        for (lower, p, expected) in [
            (0.49, Some(1e-9), Level::None),
            (0.52, Some(1e-9), Level::Minor),
            (0.56, Some(1e-9), Level::Major),
            (0.56, Some(0.005), Level::None),
            (0.56, None, Level::Major),
        ] {
            assert_eq!(level(lower, p), expected, "{lower} {p:?}");
        }
    }

    /// 4,000 repetitions without a difference, with scores that vary and with scores of which one in forty-four is another: p-values below
    /// a level come at most as often as it says, and of those that vary about as often.
    #[test]
    fn luck_is_told_as_often_as_the_level_says() {
        for (rows, round) in [(40, false), (40, true), (200, true)] {
            let found: Vec<f64> = (0..4_000)
                .filter_map(|repetition| {
                    let mut random = Random::new(11, repetition);
                    let parts: Vec<_> = (0..4).map(|_| part(&mut random, rows, 0.0, round)).collect();
                    told(&parts)?.p
                })
                .collect();
            assert_eq!(found.len(), 4_000);
            let below = |level: f64| found.iter().filter(|p| **p < level).count();
            // What the true rate shows in 999 of 1,000 simulations.
            assert!(below(0.05) <= 243 && below(0.01) <= 61 && below(0.001) <= 11, "{rows} {round}");
            assert!(round || below(0.05) >= 158, "{rows}: {}", below(0.05));
        }
    }

    #[test]
    fn a_difference_is_heard() {
        let mut random = Random::new(12, 0);
        let parts: Vec<_> = (0..4).map(|_| part(&mut random, 200, 0.5, false)).collect();
        let found = told(&parts).unwrap();
        // Φ(0.5/√2) is the area of two normal distributions half a deviation apart.
        assert!((found.auc - 0.638).abs() < 0.03, "{found:?}");
        assert!(found.lower > 0.58 && found.upper < 0.70 && found.p.is_some_and(|p| p < 1e-12), "{found:?}");
    }
}
