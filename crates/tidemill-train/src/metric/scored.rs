//! Rows with what was true and what a model answered.

/// What was true of each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// Class numbers below `classes`, which is at least 2.
    Classes {
        /// One a row.
        values: Vec<u32>,
        /// How many classes there are.
        classes: usize,
    },
    /// Numbers, one a row.
    Numbers(Vec<f64>),
}

/// Rows with truth, answers and weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// What was true.
    pub truth: Truth,
    /// Regression: one prediction a row. Two classes: the probability of class 1. More classes: for each row one
    /// probability a class, row after row.
    pub answers: Vec<f64>,
    /// One a row, not negative; 1 each where not given.
    pub weights: Option<Vec<f64>>,
}

impl Scored {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match &self.truth {
            Truth::Classes { values, .. } => values.len(),
            Truth::Numbers(values) => values.len(),
        }
    }

    /// Numbers of one answer: the number of classes where that is above 2, otherwise 1.
    pub fn width(&self) -> usize {
        match &self.truth {
            Truth::Classes { classes, .. } if *classes > 2 => *classes,
            Truth::Classes { .. } | Truth::Numbers(_) => 1,
        }
    }

    /// The weights, also where none were given.
    pub fn weights(&self) -> Vec<f64> {
        self.weights.clone().unwrap_or_else(|| vec![1.0; self.rows()])
    }

    /// The class that is answered for each row: class 1 where its probability reaches the threshold, for more than
    /// two classes the most probable one, the first among equals. Empty for regression.
    pub fn labels(&self, threshold: f64) -> Vec<u32> {
        match &self.truth {
            Truth::Numbers(_) => Vec::new(),
            Truth::Classes { classes: ..=2, .. } => {
                self.answers.iter().map(|p| u32::from(*p >= threshold)).collect()
            }
            Truth::Classes { classes, .. } => {
                self.answers.chunks_exact(*classes).map(most_probable).collect()
            }
        }
    }

    /// These rows, in this order.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        let width = self.width();
        let pick = |values: &[f64]| rows.iter().map(|row| values[*row as usize]).collect();
        let truth = match &self.truth {
            Truth::Classes { values, classes } => Truth::Classes {
                values: rows.iter().map(|row| values[*row as usize]).collect(),
                classes: *classes,
            },
            Truth::Numbers(values) => Truth::Numbers(pick(values)),
        };
        let answers = rows
            .iter()
            .flat_map(|row| &self.answers[*row as usize * width..(*row as usize + 1) * width])
            .copied()
            .collect();
        Self { truth, answers, weights: self.weights.as_deref().map(pick) }
    }
}

fn most_probable(row: &[f64]) -> u32 {
    let mut best = 0;
    for (class, p) in row.iter().enumerate() {
        if *p > row[best] {
            best = class;
        }
    }
    best as u32
}
