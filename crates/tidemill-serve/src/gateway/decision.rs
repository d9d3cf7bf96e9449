//! The decision of the release that answered: whether somebody acts on a score. It is made here, by the threshold of the very arm, so that
//! nobody has to know which release has which.

use half::{bf16, f16};
use tidemill_runtime::{Tensor, Values};

use crate::Named;
use crate::record::answers::which_score;

/// The output that holds decisions, a truth value for each row. A model that has an output of this name keeps it, and nothing is added.
pub const DECISION: &str = "decision";

/// What an answer says of each row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// The score of the positive class.
    pub(super) scores: Vec<f64>,
    /// From which score on somebody acts, where that is declared.
    pub(super) threshold: Option<f64>,
}

impl Said {
    /// What these outputs say; none where nobody knows which of them is a score.
    pub(super) fn of(outputs: &[Named], threshold: Option<f64>) -> Option<Self> {
        let fractions: Vec<(&str, &Tensor)> = outputs
            .iter()
            .filter(|output| output.tensor.shape().len() <= 2 && is_fraction(output.tensor.values()))
            .map(|output| (output.name.as_str(), &output.tensor))
            .collect();
        let scores = lasts(which_score(&fractions)?)?;
        Some(Self { scores, threshold })
    }

    /// Whether somebody acts on each row.
    pub(super) fn decisions(&self) -> Option<Vec<bool>> {
        self.threshold.map(|threshold| self.scores.iter().map(|score| *score >= threshold).collect())
    }

    /// The output of that.
    pub(super) fn output(&self) -> Option<Named> {
        let tensor = Tensor::vector(Values::Bool(self.decisions()?));
        Some(Named { name: DECISION.to_owned(), tensor })
    }
}

/// Adds decisions to what is recorded or answered, unless the model says something under that name.
pub(super) fn add(outputs: &mut Vec<Named>, decision: Option<&Named>) {
    if let Some(decision) = decision
        && outputs.iter().all(|output| output.name != DECISION)
    {
        outputs.push(decision.clone());
    }
}

const fn is_fraction(values: &Values) -> bool {
    matches!(values, Values::F16(_) | Values::Bf16(_) | Values::F32(_) | Values::F64(_))
}

/// The last number of each row, which is the positive class of two.
fn lasts(tensor: &Tensor) -> Option<Vec<f64>> {
    fn of<T: Copy>(values: &[T], length: usize, number: impl Fn(T) -> f64) -> Option<Vec<f64>> {
        (length > 0)
            .then(|| values.chunks_exact(length).filter_map(|row| row.last().copied().map(&number)).collect())
    }
    let length = tensor.row_len();
    match tensor.values() {
        Values::F16(values) => of(values, length, f16::to_f64),
        Values::Bf16(values) => of(values, length, bf16::to_f64),
        Values::F32(values) => of(values, length, f64::from),
        Values::F64(values) => of(values, length, |value| value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(name: &str, shape: &[usize], values: Values) -> Named {
        Named { name: name.into(), tensor: Tensor::new(shape.to_vec(), values).unwrap() }
    }

    #[test]
    fn who_acts_is_said_by_the_score_of_the_positive_class() {
        let pairs = output("probabilities", &[3, 2], Values::F32(vec![0.75, 0.25, 0.5, 0.5, 1.0, 0.0]));
        let label = output("label", &[3], Values::I64(vec![0, 1, 0]));
        let said = Said::of(&[label.clone(), pairs.clone()], Some(0.5)).unwrap();
        let decided = output(DECISION, &[3], Values::Bool(vec![false, true, false]));
        assert_eq!(said.output(), Some(decided.clone()));
        assert_eq!(Said::of(&[pairs.clone()], Some(0.2)).unwrap().decisions(), Some(vec![true, true, false]));
        assert_eq!(Said::of(&[pairs.clone()], None).unwrap().output(), None, "nobody decides");
        assert_eq!(Said::of(&[label], Some(0.5)), None, "there is no score");
        let broken = Said { scores: vec![f64::NAN], threshold: Some(0.5) };
        assert_eq!(broken.decisions(), Some(vec![false]), "nobody acts on what is no number");
        let two = [output("y", &[1], Values::F64(vec![0.1])), output("z", &[1], Values::F64(vec![0.9]))];
        assert_eq!(Said::of(&two, Some(0.5)), None, "nobody knows which of them it is");
        // What the model says itself stays.
        let own = output(DECISION, &[3], Values::I64(vec![7, 8, 9]));
        let (mut kept, mut added) = (vec![pairs.clone(), own.clone()], vec![pairs.clone()]);
        add(&mut kept, said.output().as_ref());
        add(&mut added, said.output().as_ref());
        assert_eq!((kept, added), (vec![pairs.clone(), own], vec![pairs, decided]));
    }
}
