//! Texts of which hardly any comes twice: their values are no categories, their lengths and shapes can move all the same.

use serde::{Deserialize, Serialize};

use super::measure::{Measured, capped_p, measure};
use super::{Column, Rules, Test, TestKind};
use crate::categorical::{
    Homogeneity, ProportionChange, homogeneity, pool_rare, total_variation, two_proportions,
};
use crate::sample::Sample;
use crate::twosample::{KolmogorovSmirnov, distances};

/// What is known of such texts beside their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts<'a> {
    /// Numbers of characters on the reference and on the current side.
    pub lengths: (Sample<'a>, Sample<'a>),
    /// Rows of each shape on both sides, in one order; `None` where shapes were not all counted.
    pub shapes: Option<(&'a [f64], &'a [f64])>,
    /// Words that the reference never saw; `None` where words were not kept.
    pub words: Option<NewWords>,
}

/// Words that the reference never saw, beside those that were to be expected.
///
/// Of a language no sample has all words: of further rows like the reference's own, the share of words that are new to it is about that
/// of its words which are in one row alone (Good 1953). So the two shares are of one kind, whatever the texts are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewWords {
    /// Of the reference: words that are in one row alone.
    pub reference: WordCounts,
    /// Of the current side: words that the reference does not hold.
    pub current: WordCounts,
}

/// Words of one side, each counted once a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WordCounts {
    /// Those that are new.
    pub new: f64,
    /// All of them.
    pub all: f64,
    /// Rows that were looked at.
    pub rows: f64,
}

impl WordCounts {
    /// As hits of trials. Words of one row go together, so there are no more trials than rows; at most `cap` of them count.
    fn trials(self, cap: f64) -> (f64, f64) {
        let trials = self.all.min(self.rows).min(cap);
        (self.new / self.all * trials, trials)
    }
}

impl NewWords {
    /// The two shares with a test on at most `cap` rows a side; one-sided, since a text with fewer new words than expected is one that the
    /// reference knows.
    fn change(self, cap: f64) -> Option<ProportionChange> {
        let found = two_proportions(self.reference.trials(cap), self.current.trials(cap))?;
        let p = if found.difference > 0.0 { found.p / 2.0 } else { 1.0 };
        Some(ProportionChange { p, ..found })
    }
}

/// Figures of texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextFigures {
    /// Kolmogorov-Smirnov of the lengths on all rows.
    pub lengths: KolmogorovSmirnov,
    /// Median lengths of both sides.
    pub medians: (f64, f64),
    /// Homogeneity of shapes with rare ones pooled, on all rows.
    pub shapes: Option<Homogeneity>,
    /// Total variation distance of shapes, rare ones pooled.
    pub shapes_variation: Option<f64>,
    /// Shares of words that are new to the reference: of its own those in one row alone. Not in reports from before words were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_words: Option<ProportionChange>,
}

/// Measures a column of texts as [`measure`] does, and tests their lengths and shapes beside.
pub fn measure_text(column: &Column<'_>, texts: &Texts<'_>, rules: &Rules) -> Measured {
    let mut found = measure(column, rules);
    let (reference, current) = texts.lengths;
    let Some(both) = distances(reference, current) else { return found };
    let median = |sample: Sample<'_>| sample.quantile(0.5).unwrap_or_default();
    let pooled = texts.shapes.and_then(|(old, new)| pool_rare(old, new));
    let shapes = pooled.as_ref().and_then(|rest| homogeneity(&rest.reference, &rest.current));
    let new_words = texts.words.and_then(|words| words.change(f64::INFINITY));
    found.figures.text = Some(TextFigures {
        lengths: both.ks,
        medians: (median(reference), median(current)),
        shapes,
        shapes_variation: pooled.as_ref().and_then(|rest| total_variation(&rest.reference, &rest.current)),
        new_words,
    });
    let figures = &found.figures;
    if figures.rows_reference < rules.min_rows || figures.rows_current < rules.min_rows {
        return found;
    }
    let test = |kind, p, effect, floor| Test { kind, p, effect, floor, significant: false };
    let p = both.ks.p_within(rules.cap);
    found.tests.push(test(TestKind::Length, p, both.ks.statistic, rules.floors.ks));
    if let (Some(shapes), Some((old, new))) = (shapes, texts.shapes) {
        let p = capped_p(old, new, rules.cap).unwrap_or(shapes.p);
        found.tests.push(test(TestKind::Shape, p, shapes.cramers_v_corrected, rules.floors.cramers_v));
    }
    let capped = texts.words.and_then(|words| words.change(rules.cap));
    if let (Some(all), Some(capped)) = (new_words, capped) {
        let effect = all.difference.max(0.0);
        found.tests.push(test(TestKind::NewWords, capped.p, effect, rules.floors.new_words));
    }
    found
}
