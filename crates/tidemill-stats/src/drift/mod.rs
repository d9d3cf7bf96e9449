//! Whether data moved: the default battery of tests for a column, and the decision for a whole table.
//!
//! A column is measured on its own ([`measure`]), which callers may do in parallel; the decision ([`judge`]) needs
//! all columns, because false alarms are controlled over them together. Significance alone never alarms: a level is
//! `major` only when the effect is also as large as its floor, or when a category appeared or vanished.

mod judge;
mod measure;
mod reason;
mod text;
mod told;

use serde::{Deserialize, Serialize};

pub use judge::{Pair, PairDrift, Sampled, Verdict, judge};
pub use measure::{CategoricalFigures, Figures, Measured, NumericFigures, Tail, measure};
pub use text::{NewWords, TextFigures, Texts, WordCounts, measure_text};
pub use told::{Answered, DomainClassifier, told_apart};

use crate::categorical::DomainRule;
use crate::sample::{Moments, Sample};

/// How significance and effects turn into levels. The defaults are the documented ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// False discovery rate over columns, and the false-alarm rate of a table without drift.
    pub alpha: f64,
    /// False discovery rate over pairs of columns whose correlation is compared, and level of a classifier that tells the sides apart.
    pub pair_alpha: f64,
    /// Least number of non-missing rows a side for tests of values, and of rows for the test of missing values.
    pub min_rows: f64,
    /// p-values are computed as if a side had at most this many rows, so that levels do not depend on traffic.
    pub cap: f64,
    /// Effect floors.
    pub floors: Floors,
    /// New and gone categories.
    pub domain: DomainRule,
    /// How p-values are put together.
    pub family: Family,
    /// Least importance-weighted share of major columns that makes the table major. At zero one column that matters does.
    pub major_share: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            pair_alpha: 0.005,
            min_rows: 100.0,
            cap: 100_000.0,
            floors: Floors::default(),
            domain: DomainRule::default(),
            family: Family::Columns,
            major_share: 0.0,
        }
    }
}

/// The smallest effect of each test that is `major` when it is significant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Floors {
    /// Kolmogorov-Smirnov distance.
    pub ks: f64,
    /// Cramér's V, bias-corrected, rare categories pooled.
    pub cramers_v: f64,
    /// Absolute difference of the shares of missing values.
    pub missing: f64,
    /// Absolute difference of the shares outside of the reference's middle 99 %.
    pub tail: f64,
    /// By how much the share of words that the reference never saw is above what is to be expected.
    pub new_words: f64,
    /// Absolute difference of two correlations.
    pub correlation: f64,
    /// Lower bound of the area under the curve of a classifier that tells the sides apart.
    pub classifier: f64,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            ks: 0.05,
            cramers_v: 0.05,
            missing: 0.01,
            tail: 0.005,
            new_words: 0.05,
            correlation: 0.1,
            classifier: 0.55,
        }
    }
}

/// How p-values are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Bonferroni over the tests of a column, then Benjamini-Hochberg over columns (`columns_bh`).
    #[serde(rename = "columns_bh")]
    Columns,
    /// Every single p-value in one Benjamini-Hochberg family (`bh`).
    #[serde(rename = "bh")]
    Tests,
}

/// One column of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Column<'a> {
    /// Name, for the report.
    pub name: &'a str,
    /// How much the model uses it, in any unit, at least zero. `None` counts as the mean of the others, and as one if no
    /// column has an importance.
    pub importance: Option<f64>,
    /// Rows without a value on the reference side.
    pub missing_reference: u64,
    /// Rows without a value on the current side.
    pub missing_current: u64,
    /// The values that are there.
    pub values: Values<'a>,
}

/// The values of both sides of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values<'a> {
    /// Numbers, also times.
    Numeric {
        /// Reference side.
        reference: Sample<'a>,
        /// Current side.
        current: Sample<'a>,
        /// Exact moments of both sides where a profile has them; else they come from the samples.
        moments: Option<(Moments, Moments)>,
    },
    /// Categories, truth values, short texts.
    Categorical {
        /// What the categories are called; may be empty.
        labels: &'a [&'a str],
        /// Rows of each category on the reference side.
        reference: &'a [f64],
        /// Rows of each category on the current side, in the same order.
        current: &'a [f64],
        /// Whether the counts are complete. Of a sketch of frequent items they are not, and then a category that one side
        /// lacks is no alarm.
        complete: bool,
    },
}

/// What a column or a table comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Too few rows to say anything.
    NotJudged,
    /// No test is significant.
    None,
    /// Significant, and every significant effect is below its floor. Shown, never acted upon.
    Minor,
    /// Significant and large, or a category appeared or vanished.
    Major,
}

/// Which test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestKind {
    /// Kolmogorov-Smirnov; effect is the distance.
    Ks,
    /// Chi-square of homogeneity with rare categories pooled; effect is the corrected Cramér's V.
    ChiSquare,
    /// Shares of missing values; effect is their absolute difference.
    Missing,
    /// Shares outside of the reference's middle 99 %; effect is their absolute difference.
    Tail,
    /// Kolmogorov-Smirnov of the lengths of texts; effect is the distance.
    Length,
    /// Chi-square of the shapes of texts with rare ones pooled; effect is the corrected Cramér's V.
    Shape,
    /// Words that the reference never saw, beside its own that are in one row alone; effect is by how much the share is larger.
    NewWords,
}

/// One test of a column.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Which one.
    pub kind: TestKind,
    /// p-value on the effective sample, before any correction.
    pub p: f64,
    /// Size of the effect, at least zero.
    pub effect: f64,
    /// Floor of the effect.
    pub floor: f64,
    /// Whether it is significant after correction over the whole table.
    pub significant: bool,
}

/// A judged column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// Name of the column.
    pub name: String,
    /// What it comes to.
    pub level: Level,
    /// Its share of the importance of all judged columns.
    pub importance: f64,
    /// Share of rows that would have to change for the sides to agree: the largest of the Kolmogorov-Smirnov or total
    /// variation distance, rare categories pooled, the difference of missing shares and the difference of tails. In [0, 1].
    pub shift: f64,
    /// p-value of the column: min(1, m·smallest) over its m tests. `None` when nothing was tested.
    pub p: Option<f64>,
    /// After correction over columns.
    pub p_adjusted: Option<f64>,
    /// The tests, in a fixed order.
    pub tests: Vec<Test>,
    /// All figures, for reports.
    pub figures: Figures,
    /// Why it has this level, in one sentence without a full stop.
    pub reason: String,
}

/// Measures and judges columns. See [`measure`] and [`judge`].
pub fn compare(columns: &[Column<'_>], rules: &Rules) -> Verdict {
    judge(columns.iter().map(|column| measure(column, rules)).collect(), &[], None, rules)
}
