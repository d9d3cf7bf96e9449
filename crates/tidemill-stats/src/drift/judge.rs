//! The decision over all columns of a table.

use serde::{Deserialize, Serialize};

use crate::categorical::largest_chance;
use crate::correlation::{CorrelationChange, correlation_change};
use crate::drift::{ColumnDrift, DomainClassifier, Family, Level, Measured, Rules, TestKind, reason};
use crate::multiple::{benjamini_hochberg, bonferroni, rejection_limit};

/// The correlation of two columns on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair<'a> {
    /// Names of the columns.
    pub columns: (&'a str, &'a str),
    /// Correlation and the number of complete pairs on the reference side: Pearson's r, or Spearman's from samples.
    pub reference: (f64, f64),
    /// The same on the current side.
    pub current: (f64, f64),
    /// The test on samples of rows; `None` where Fisher's on all rows is meant.
    pub sampled: Option<Sampled<'a>>,
}

/// What a test on samples of rows found: see [`dependence`](crate::dependence).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled<'a> {
    /// The change over its standard error.
    pub z: f64,
    /// Its p-value.
    pub p: f64,
    /// The categories that the correlation is of, where a column has categories.
    pub of: (Option<&'a str>, Option<&'a str>),
}

/// A judged pair of columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairDrift {
    /// Names of the columns.
    pub columns: (String, String),
    /// The categories that the correlation is of, where a column has categories.
    #[serde(default, skip_serializing_if = "are_whole")]
    pub of: (Option<String>, Option<String>),
    /// Correlation on the reference side.
    pub reference: f64,
    /// Correlation on the current side.
    pub current: f64,
    /// The test on all rows.
    pub change: CorrelationChange,
    /// On the effective sample, after correction over pairs.
    pub p_adjusted: f64,
    /// What it comes to.
    pub level: Level,
}

fn are_whole(of: &(Option<String>, Option<String>)) -> bool {
    of.0.is_none() && of.1.is_none()
}

impl PairDrift {
    /// What became of the pair, in words.
    pub fn words(&self) -> String {
        reason::of_pair(self)
    }
}

/// What a table comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The larger of `columns_level` and `joint_level`.
    pub level: Level,
    /// From the columns alone: the false-alarm rate without drift is at most `rules.alpha`.
    pub columns_level: Level,
    /// From correlations and the domain classifier. `NotJudged` if neither was given.
    pub joint_level: Level,
    /// Importance-weighted share of major columns among those judged.
    pub major_share: f64,
    /// The same with the columns of major pairs and those that the classifier tells the sides apart by; these are major for the table only
    /// where this reaches what `rules.major_share` asks for.
    #[serde(default)]
    pub joint_share: f64,
    /// The least chance of a category that is new or gone, times how many could have been (Bonferroni); nothing where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_p: Option<f64>,
    /// All columns: major before minor before none before those not judged, and within a level by importance × shift, the
    /// largest first.
    pub columns: Vec<ColumnDrift>,
    /// All pairs, those of the highest level and largest change first.
    pub pairs: Vec<PairDrift>,
    /// The domain classifier, if there was one.
    pub classifier: Option<DomainClassifier>,
    /// Why, in one sentence without a full stop.
    pub reason: String,
}

/// Decides over measured columns, and over correlations and a domain classifier where the caller has them. Pairs
/// without a defined test are left out.
pub fn judge(
    mut measured: Vec<Measured>,
    pairs: &[Pair<'_>],
    classifier: Option<DomainClassifier>,
    rules: &Rules,
) -> Verdict {
    let domain_p = believe(&mut measured, rules);
    let weights = importances(&measured);
    let corrections = correct(&measured, rules);
    let count = measured.len();
    let mut columns: Vec<ColumnDrift> = measured
        .into_iter()
        .zip(corrections)
        .zip(weights)
        .map(|((measured, correction), importance)| column(measured, correction, importance, count))
        .collect();
    columns.sort_by(|a, b| {
        let weight = |column: &ColumnDrift| column.importance * column.shift;
        b.level.cmp(&a.level).then(weight(b).total_cmp(&weight(a))).then(a.name.cmp(&b.name))
    });
    let pairs = judge_pairs(pairs, rules);
    let from_classifier = classifier.as_ref().map_or(Level::NotJudged, |found| found.level(rules));
    let told = classifier.as_ref().filter(|_| from_classifier == Level::Major);
    let told: &[String] = told.map_or(&[], |found| found.columns.as_slice());
    let (major_share, joint_share) =
        (share_of_major(&columns, &[], &[]), share_of_major(&columns, &pairs, told));
    // What is major is so for the table only where enough of what matters to the model is.
    let for_table = |level: Level, share: f64| match level {
        Level::Major if share <= 0.0 || share < rules.major_share => Level::Minor,
        level => level,
    };
    let columns_level =
        for_table(columns.first().map_or(Level::NotJudged, |column| column.level), major_share);
    let from_pairs = for_table(pairs.first().map_or(Level::NotJudged, |pair| pair.level), joint_share);
    // Where nobody says by which columns, there is nothing to weigh.
    let from_classifier =
        if told.is_empty() { from_classifier } else { for_table(from_classifier, joint_share) };
    let joint_level = from_pairs.max(from_classifier);
    let mut verdict = Verdict {
        level: columns_level.max(joint_level),
        columns_level,
        joint_level,
        major_share,
        joint_share,
        domain_p,
        columns,
        pairs,
        classifier,
        reason: String::new(),
    };
    verdict.reason = reason::of_table(&verdict, rules);
    verdict
}

/// Leaves those new and gone categories that are no luck, given how many the whole table could have shown; gives the least chance of those
/// that are left, times how many there could have been.
fn believe(measured: &mut [Measured], rules: &Rules) -> Option<f64> {
    let chances: Vec<f64> = measured.iter().flat_map(|column| column.chances.iter().copied()).collect();
    let possible = chances.len() as f64;
    let limit = largest_chance(chances, rules.domain);
    let mut least: Option<f64> = None;
    for column in measured {
        let Some(figures) = &mut column.figures.categorical else { continue };
        let keep: Vec<bool> = figures.domain.iter().map(|change| change.chance <= limit).collect();
        // The first label is that of the category that moved most.
        let mut labels = std::iter::once(true).chain(keep.iter().copied());
        column.labels.retain(|_| labels.next().unwrap_or(false));
        let mut changes = keep.into_iter();
        figures.domain.retain(|_| changes.next().unwrap_or(false));
        let chances = figures.domain.iter().map(|change| change.chance);
        least = least.into_iter().chain(chances).reduce(f64::min);
    }
    least.map(|least| (least * possible).min(1.0))
}

/// The shares of importance of all columns that have a test; zero for the others. Where none of them matters to the model there is
/// nothing to weigh by, and all count alike.
fn importances(measured: &[Measured]) -> Vec<f64> {
    let judged = |column: &&Measured| !column.tests.is_empty();
    let given: Vec<f64> = measured.iter().filter(judged).filter_map(|column| column.importance).collect();
    let usual = if given.is_empty() { 1.0 } else { given.iter().sum::<f64>() / given.len() as f64 };
    let raw = |column: &Measured| {
        if column.tests.is_empty() { 0.0 } else { column.importance.map_or(usual, |given| given.max(0.0)) }
    };
    let total: f64 = measured.iter().map(raw).sum();
    if total > 0.0 {
        return measured.iter().map(|column| raw(column) / total).collect();
    }
    let count = measured.iter().filter(judged).count() as f64;
    measured.iter().map(|column| if column.tests.is_empty() { 0.0 } else { 1.0 / count }).collect()
}

/// What correction makes of the p-values of one column.
struct Correction {
    p: Option<f64>,
    adjusted: Option<f64>,
    significant: Vec<bool>,
}

fn correct(measured: &[Measured], rules: &Rules) -> Vec<Correction> {
    let p_values = |column: &Measured| column.tests.iter().map(|test| test.p).collect::<Vec<f64>>();
    let of_columns: Vec<Option<f64>> = measured.iter().map(|column| bonferroni(&p_values(column))).collect();
    match rules.family {
        Family::Columns => {
            let family: Vec<f64> = of_columns.iter().copied().flatten().collect();
            let adjusted = benjamini_hochberg(&family);
            let limit = rejection_limit(&adjusted, rules.alpha);
            let mut next = adjusted.into_iter();
            let correction = |(column, p): (&Measured, Option<f64>)| {
                let tests = column.tests.len() as f64;
                let significant = column.tests.iter().map(|test| test.p * tests < limit).collect();
                Correction { p, adjusted: p.and_then(|_| next.next()), significant }
            };
            measured.iter().zip(of_columns).map(correction).collect()
        }
        Family::Tests => {
            let family: Vec<f64> = measured.iter().flat_map(p_values).collect();
            let mut next = benjamini_hochberg(&family).into_iter();
            let correction = |(column, p): (&Measured, Option<f64>)| {
                let adjusted: Vec<f64> = next.by_ref().take(column.tests.len()).collect();
                Correction {
                    p,
                    significant: adjusted.iter().map(|p| *p < rules.alpha).collect(),
                    adjusted: adjusted.into_iter().reduce(f64::min),
                }
            };
            measured.iter().zip(of_columns).map(correction).collect()
        }
    }
}

fn column(mut measured: Measured, correction: Correction, importance: f64, columns: usize) -> ColumnDrift {
    for (test, significant) in measured.tests.iter_mut().zip(correction.significant) {
        test.significant = significant;
    }
    let alarmed = measured.figures.categorical.as_ref().is_some_and(|figures| !figures.domain.is_empty());
    let large = measured.tests.iter().any(|test| test.significant && test.effect >= test.floor);
    let level = if alarmed || large {
        Level::Major
    } else if measured.tests.is_empty() {
        Level::NotJudged
    } else if measured.tests.iter().any(|test| test.significant) {
        Level::Minor
    } else {
        Level::None
    };
    let figures = &measured.figures;
    let apart = figures.categorical.as_ref().map_or(0.0, |figures| {
        // A value that is there once is on one side only, whatever happened.
        figures.pooled_variation.unwrap_or(figures.total_variation)
    });
    let apart = figures
        .text
        .as_ref()
        .and_then(|text| text.shapes_variation)
        .map_or(apart, |shapes| apart.max(shapes));
    let shift = measured
        .tests
        .iter()
        .filter(|test| !matches!(test.kind, TestKind::ChiSquare | TestKind::Shape))
        .fold(apart, |largest, test| largest.max(test.effect));
    let reason = reason::of_column(&measured, level, correction.adjusted, columns);
    ColumnDrift {
        name: measured.name,
        level,
        importance,
        shift,
        p: correction.p,
        p_adjusted: correction.adjusted,
        tests: measured.tests,
        figures: measured.figures,
        reason,
    }
}

/// The share of importance of the columns that are major, alone, in one of these pairs, or as those that a classifier tells the sides apart
/// by. Columns of pairs that were not compared themselves are all that is known.
fn share_of_major(columns: &[ColumnDrift], pairs: &[PairDrift], told: &[String]) -> f64 {
    let major: Vec<&PairDrift> = pairs.iter().filter(|pair| pair.level == Level::Major).collect();
    let is_in = |pair: &PairDrift, name: &str| pair.columns.0 == name || pair.columns.1 == name;
    let is_known = |pair: &&PairDrift| columns.iter().any(|column| is_in(pair, &column.name));
    if !major.is_empty() && !major.iter().any(is_known) {
        return 1.0;
    }
    let parts = columns.iter().filter(|column| {
        column.level == Level::Major
            || told.contains(&column.name)
            || major.iter().any(|pair| is_in(pair, &column.name))
    });
    // The sum of nothing is minus zero.
    parts.map(|column| column.importance).sum::<f64>().abs()
}

fn judge_pairs(pairs: &[Pair<'_>], rules: &Rules) -> Vec<PairDrift> {
    let capped = |(r, n): (f64, f64)| (r, n.min(rules.cap));
    let tested: Vec<(&Pair<'_>, CorrelationChange, f64)> = pairs
        .iter()
        .filter(|pair| pair.reference.1 >= rules.min_rows && pair.current.1 >= rules.min_rows)
        .filter_map(|pair| {
            if let Some(Sampled { z, p, .. }) = pair.sampled {
                let difference = pair.current.0 - pair.reference.0;
                return Some((pair, CorrelationChange { difference, z, p }, p));
            }
            let all = correlation_change(pair.reference, pair.current)?;
            let effective = correlation_change(capped(pair.reference), capped(pair.current))?;
            Some((pair, all, effective.p))
        })
        .collect();
    let adjusted = benjamini_hochberg(&tested.iter().map(|(_, _, p)| *p).collect::<Vec<f64>>());
    let mut judged: Vec<PairDrift> = tested
        .into_iter()
        .zip(adjusted)
        .map(|((pair, change, _), p_adjusted)| PairDrift {
            columns: (pair.columns.0.to_owned(), pair.columns.1.to_owned()),
            of: pair.sampled.map_or((None, None), |sampled| {
                (sampled.of.0.map(str::to_owned), sampled.of.1.map(str::to_owned))
            }),
            reference: pair.reference.0,
            current: pair.current.0,
            change,
            p_adjusted,
            level: if p_adjusted >= rules.pair_alpha {
                Level::None
            } else if change.difference.abs() >= rules.floors.correlation {
                Level::Major
            } else {
                Level::Minor
            },
        })
        .collect();
    judged.sort_by(|a, b| {
        let size = |pair: &PairDrift| pair.change.difference.abs();
        b.level.cmp(&a.level).then(size(b).total_cmp(&size(a))).then(a.columns.cmp(&b.columns))
    });
    judged
}
