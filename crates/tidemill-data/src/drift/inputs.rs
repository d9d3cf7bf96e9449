//! Owned inputs of the battery for one column, from either source.

use tidemill_stats::categorical::pool_rare;
use tidemill_stats::drift::{
    Column, Measured, NewWords, Rules, Texts, Values, WordCounts, measure, measure_text,
};
use tidemill_stats::sample::{Moments, Sample};

use super::{Chosen, DriftOptions};
use crate::profile::Unseen;

/// Values of one side of a numeric column.
pub(crate) struct Side {
    /// Ascending, without NaN.
    pub(crate) values: Vec<f64>,
    /// How many values each stands for; `None` where they are all values.
    pub(crate) weights: Option<Vec<f64>>,
    pub(crate) rank_error: f64,
    pub(crate) rows: u64,
    pub(crate) moments: Option<Moments>,
}

impl Side {
    fn sample(&self) -> Sample<'_> {
        let sketch = self
            .weights
            .as_ref()
            .and_then(|weights| Sample::sketch(&self.values, weights, self.rows, self.rank_error));
        // Weights of a sketch of ours are whole numbers above 0, which is never refused.
        sketch.unwrap_or_else(|| Sample::exact(&self.values))
    }
}

/// Counts of categories on both sides.
pub(crate) struct Categories {
    pub(crate) labels: Vec<String>,
    pub(crate) reference: Vec<f64>,
    pub(crate) current: Vec<f64>,
    pub(crate) complete: bool,
}

/// A column of both sides.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) importance: Option<f64>,
    pub(crate) missing: (u64, u64),
    pub(crate) values: InputValues,
}

pub(crate) enum InputValues {
    Numeric(Side, Side),
    Categorical(Categories),
    /// Values of which hardly any comes twice, and what else is known of them.
    Text(Categories, TextSides),
}

/// Lengths, shapes and words of texts.
pub(crate) struct TextSides {
    pub(crate) lengths: (Side, Side),
    /// Counts of shapes in one order, where they were all counted.
    pub(crate) shapes: Option<(Vec<f64>, Vec<f64>)>,
    /// Words that the reference never saw, where words were kept.
    pub(crate) unseen: Option<Unseen>,
}

/// The share of rows that values with counts of their own must have for the column to be one of categories.
const NAMED: f64 = 0.5;

impl Categories {
    fn values<'a>(&'a self, labels: &'a [&'a str]) -> Values<'a> {
        Values::Categorical {
            labels,
            reference: &self.reference,
            current: &self.current,
            complete: self.complete,
        }
    }

    /// Whether most rows have values that are too rare to be told apart from chance. It looks at both sides together, so that it does not
    /// depend on how they differ.
    pub(crate) fn are_rare(&self) -> bool {
        let named = self.labels.len() - usize::from(!self.complete);
        let (reference, current) = (&self.reference[..named], &self.current[..named]);
        let total: f64 = self.reference.iter().chain(&self.current).sum();
        let kept = pool_rare(reference, current).map_or(0.0, |found| {
            let stays = found.reference.len() - usize::from(found.pooled > 0);
            found.reference.iter().take(stays).chain(found.current.iter().take(stays)).sum()
        });
        kept < NAMED * total
    }
}

impl Input {
    /// A chosen column with its values, and how many of them are missing on either side.
    pub(super) fn new(
        column: &Chosen,
        missing: (u64, u64),
        values: InputValues,
        options: &DriftOptions,
    ) -> Self {
        let importance = options.importance.get(&column.name).copied();
        Self { name: column.name.clone(), importance, missing, values }
    }

    /// Runs the battery.
    pub(crate) fn measure(&self, rules: &Rules) -> Measured {
        let column = |values| Column {
            name: &self.name,
            importance: self.importance,
            missing_reference: self.missing.0,
            missing_current: self.missing.1,
            values,
        };
        match &self.values {
            InputValues::Numeric(reference, current) => {
                let values = Values::Numeric {
                    reference: reference.sample(),
                    current: current.sample(),
                    moments: reference.moments.zip(current.moments),
                };
                measure(&column(values), rules)
            }
            InputValues::Categorical(categories) => {
                let labels: Vec<&str> = categories.labels.iter().map(String::as_str).collect();
                measure(&column(categories.values(&labels)), rules)
            }
            InputValues::Text(categories, texts) => {
                let labels: Vec<&str> = categories.labels.iter().map(String::as_str).collect();
                let (reference, current) = &texts.lengths;
                let side = |new, (all, rows)| WordCounts { new, all, rows };
                let texts = Texts {
                    lengths: (reference.sample(), current.sample()),
                    shapes: texts.shapes.as_ref().map(|(old, new)| (old.as_slice(), new.as_slice())),
                    words: texts.unseen.map(|unseen| NewWords {
                        reference: side(unseen.once, unseen.reference),
                        current: side(unseen.new, unseen.current),
                    }),
                };
                measure_text(&column(categories.values(&labels)), &texts, rules)
            }
        }
    }
}
