//! Texts of which hardly any comes twice: their values are no categories, their lengths and shapes can move all the same.

use serde::{Deserialize, Serialize};

use super::measure::{Measured, capped_p, measure};
use super::{Column, Rules, Test, TestKind};
use crate::categorical::{Homogeneity, homogeneity, pool_rare, total_variation};
use crate::sample::Sample;
use crate::twosample::{KolmogorovSmirnov, distances};

/// What is known of such texts beside their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts<'a> {
    /// Numbers of characters on the reference and on the current side.
    pub lengths: (Sample<'a>, Sample<'a>),
    /// Rows of each shape on both sides, in one order; `None` where shapes were not all counted.
    pub shapes: Option<(&'a [f64], &'a [f64])>,
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
}

/// Measures a column of texts as [`measure`] does, and tests their lengths and shapes beside.
pub fn measure_text(column: &Column<'_>, texts: &Texts<'_>, rules: &Rules) -> Measured {
    let mut found = measure(column, rules);
    let (reference, current) = texts.lengths;
    let Some(both) = distances(reference, current) else { return found };
    let median = |sample: Sample<'_>| sample.quantile(0.5).unwrap_or_default();
    let pooled = texts.shapes.and_then(|(old, new)| pool_rare(old, new));
    let shapes = pooled.as_ref().and_then(|rest| homogeneity(&rest.reference, &rest.current));
    found.figures.text = Some(TextFigures {
        lengths: both.ks,
        medians: (median(reference), median(current)),
        shapes,
        shapes_variation: pooled.as_ref().and_then(|rest| total_variation(&rest.reference, &rest.current)),
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
    found
}
