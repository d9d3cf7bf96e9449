//! `TreeEnsembleRegressor`: 32-bit answers, whatever the input's type.

use super::aggregate::{Aggregate, Targets};
use super::build::{numbers_of, read};
use super::{Forest, Real};
use crate::onnx::Attributes;
use crate::{ElementType, Values};

use super::super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings};
use super::super::post::PostTransform;

/// Comparing and summing is done in the input's precision, which is known when a call comes.
#[derive(Debug)]
struct Regressor {
    single: Targets<f32>,
    /// Only where the graph has values of 64 bits.
    double: Option<Targets<f64>>,
}

/// Builds the operator.
pub(crate) fn regressor(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let double = around.doubles.then(|| targets(attributes)).transpose()?;
    Ok(Box::new(Regressor { single: targets(attributes)?, double }))
}

fn targets<T: Real>(attributes: &Attributes) -> Result<Targets<T>, Refusal> {
    let forest: Forest<T> = read(attributes, "target")?.build()?;
    let count = attributes.int("n_targets")?.unwrap_or(1);
    let count = usize::try_from(count).map_err(|_| format!("{count} targets"))?;
    let targets = Targets {
        forest,
        targets: count,
        aggregate: Aggregate::from_name(attributes.text("aggregate_function")?.unwrap_or("SUM"))?,
        base: numbers_of(attributes, "base_values")?,
        post: PostTransform::read(attributes)?,
    };
    targets.check()?;
    Ok(targets)
}

impl Kernel for Regressor {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let (scores, rows) = match &self.double {
            Some(double) if x.element() == ElementType::F64 => {
                let (scores, rows) = double.scores(call, x)?;
                (scores.iter().map(|score| *score as f32).collect(), rows)
            }
            _ => self.single.scores(call, x)?,
        };
        call.give(vec![rows, self.single.targets], Values::F32(scores))
    }

    fn memory_bytes(&self) -> u64 {
        self.single.memory_bytes() + self.double.as_ref().map_or(0, Targets::memory_bytes)
    }
}
