//! Rows with known answers, for a model that was not trained here.

use arrow::array::RecordBatch;
use tidemill_core::declare::Training;

use super::predictions::{self, Evaluation};
use super::source::{Source, scored};
use super::{check_costs, evaluate};
use crate::metric::Decision;
use crate::model::Scores;
use crate::{Error, Result};

/// Rows that a model did not learn from, with their target.
pub struct HeldOut<'a> {
    source: Source<'a>,
    training: &'a Training,
    is_turned: bool,
}

impl<'a> HeldOut<'a> {
    /// Reads target and weights as `training` names them; how anything learned is not asked.
    ///
    /// # Errors
    /// What [`super::fit`] gives for a table without such a target or such weights.
    pub fn read(batches: &[RecordBatch], training: &'a Training) -> Result<Self> {
        let source = Source::read(batches, training)?;
        let sorted = source.table.target(&source.task.target, source.task.kind)?;
        let is_turned = sorted.classes() != source.target.classes();
        Ok(Self { source, training, is_turned })
    }

    /// Number of classes; none for regression.
    pub fn classes(&self) -> usize {
        self.source.target.classes().map_or(0, <[_]>::len)
    }

    /// Whether the positive class is the first of two in sorted order, in which most libraries give probabilities. Answers are given to
    /// [`Self::evaluate`] with the positive one last.
    pub fn is_turned(&self) -> bool {
        self.is_turned
    }

    /// Measures answers, one number a row for regression and one a class otherwise.
    ///
    /// # Errors
    /// [`Error::Unfit`] for answers to other rows or of another width; what measuring gives.
    pub fn evaluate(&self, answers: &[Vec<f64>], threshold: f64) -> Result<Evaluation> {
        let (source, width) = (&self.source, self.classes().max(1));
        let rows = source.table.rows();
        if answers.len() != rows || answers.iter().any(|answer| answer.len() != width) {
            return Err(Error::Unfit(format!("there are not {width} numbers for each of {rows} rows")));
        }
        let costs = self.training.costs.as_ref().filter(|_| width == 2);
        if let Some(costs) = costs {
            check_costs(costs)?;
        }
        let scores = Scores { values: answers.iter().flatten().copied().collect(), width };
        let scored = scored(&source.target, source.weights.clone(), &scores);
        let decision = Decision { threshold, costs: costs.cloned() };
        let metrics = evaluate::chosen(None, &scored.truth, costs.is_some())?;
        let (metrics, _) = evaluate::with_intervals(&scored, &metrics, &decision, self.training.seed)?;
        let all: Vec<usize> = (0..rows).collect();
        let names = source.target.classes().unwrap_or_default();
        let predictions =
            predictions::write(&source.table, &all, &scored, names, &decision, self.training.seed)?;
        Ok(Evaluation { metrics, predictions })
    }
}
