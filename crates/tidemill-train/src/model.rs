//! A trained model of any algorithm, with what it needs to read new rows.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::frame::{ClassLabel, Frame, FrameSchema, Table};
use crate::gbdt::GbdtModel;
use crate::linear::LinearModel;
use crate::prior::PriorModel;

/// What a model answers for some rows: rows × width numbers, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// The numbers, row by row.
    pub values: Vec<f64>,
    /// Numbers a row: 1 for regression, the number of classes for classification.
    pub width: usize,
}

impl Scores {
    /// The numbers of one row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// One number of each row, for example the probability of class `index`.
    pub fn column(&self, index: usize) -> Vec<f64> {
        self.values.iter().skip(index).step_by(self.width).copied().collect()
    }
}

/// Answers rows of a frame that has the columns the model was trained on.
pub trait Predictor {
    /// Regression: the predicted value. Classification: the probability of each class, in the order of the
    /// classes; each row adds up to 1.
    fn scores(&self, frame: &Frame) -> Scores;
}

/// A model of one of the algorithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Boosted trees.
    Gbdt(GbdtModel),
    /// Ridge, logistic or softmax regression.
    Linear(LinearModel),
    /// The mean or the class frequencies.
    Prior(PriorModel),
}

impl Predictor for Model {
    fn scores(&self, frame: &Frame) -> Scores {
        match self {
            Self::Gbdt(model) => model.scores(frame),
            Self::Linear(model) => model.scores(frame),
            Self::Prior(model) => model.scores(frame),
        }
    }
}

/// A model with the columns it reads and the classes it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainedModel {
    /// The columns it reads.
    pub schema: FrameSchema,
    /// Name of the target column.
    pub target: String,
    /// The classes it answers, sorted; `None` for regression.
    pub classes: Option<Vec<ClassLabel>>,
    /// The model.
    pub model: Model,
}

impl TrainedModel {
    /// Answers all rows of a table.
    pub fn scores(&self, table: &Table) -> Result<Scores> {
        Ok(self.model.scores(&self.schema.frame(table)?))
    }
}
