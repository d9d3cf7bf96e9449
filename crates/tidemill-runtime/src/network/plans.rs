//! Plans of a network: one with symbols, or one for each shape.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;

use super::{symbol, tensors};
use crate::{Dim, Slot};

/// Shapes whose plans are kept.
const MAX_PLANS: usize = 16;

/// What runs a network for some shapes.
pub(super) type Plan = Arc<TypedRunnableModel>;

/// The shapes of a call's inputs.
type Shapes = Vec<Vec<usize>>;

/// All plans of one network.
pub(super) struct Plans {
    parsed: InferenceModel,
    elements: Vec<DatumType>,
    /// For any shape, where that works.
    any: Option<Plan>,
    /// The most recently used last.
    by_shape: Mutex<Vec<(Shapes, Plan)>>,
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans")
            .field("any", &self.any.is_some())
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl Plans {
    /// Makes a plan with symbols, or else one for the smallest shape, so that a network which cannot run is refused
    /// when it is loaded.
    pub(super) fn new(parsed: InferenceModel, inputs: &[Slot]) -> TractResult<Self> {
        let elements = inputs
            .iter()
            .map(|slot| {
                tensors::datum(slot.element)
                    .ok_or_else(|| TractError::msg(format!("elements of type {}", slot.element)))
            })
            .collect::<TractResult<Vec<DatumType>>>()?;
        let any = with_symbols(&parsed, inputs, &elements).ok();
        let plans = Self { parsed, elements, any, by_shape: Mutex::new(Vec::new()) };
        if plans.any.is_none() {
            let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 1 };
            let smallest: Shapes = inputs.iter().map(|slot| slot.shape.iter().map(size).collect()).collect();
            plans.of(&smallest)?;
        }
        Ok(plans)
    }

    /// The plan for these shapes.
    pub(super) fn of(&self, shapes: &[Vec<usize>]) -> TractResult<Plan> {
        if let Some(any) = &self.any {
            return Ok(Arc::clone(any));
        }
        let mut kept = self.by_shape.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = kept.iter().position(|(known, _)| known == shapes) {
            let entry = kept.remove(place);
            let plan = Arc::clone(&entry.1);
            kept.push(entry);
            return Ok(plan);
        }
        // Others wait meanwhile: making the same plan twice at once would cost more.
        let plan = self.make(shapes)?;
        if kept.len() >= MAX_PLANS {
            kept.remove(0);
        }
        kept.push((shapes.to_vec(), Arc::clone(&plan)));
        Ok(plan)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let kept = self.by_shape.lock().unwrap_or_else(PoisonError::into_inner).len();
        kept + usize::from(self.any.is_some())
    }

    fn make(&self, shapes: &[Vec<usize>]) -> TractResult<Plan> {
        let mut model = self.parsed.clone();
        for (index, (shape, element)) in shapes.iter().zip(&self.elements).enumerate() {
            let dims: Vec<TDim> = shape.iter().map(|size| TDim::from(*size as i64)).collect();
            model.set_input_fact(index, InferenceFact::dt_shape(*element, dims))?;
        }
        model.into_optimized()?.into_runnable()
    }
}

fn with_symbols(parsed: &InferenceModel, inputs: &[Slot], elements: &[DatumType]) -> TractResult<Plan> {
    let mut model = parsed.clone();
    for (index, (slot, element)) in inputs.iter().zip(elements).enumerate() {
        let dims: Vec<TDim> = slot
            .shape
            .iter()
            .enumerate()
            .map(|(place, dim)| match (dim, symbol(index, place, dim)) {
                (Dim::Fixed(size), _) => TDim::from(*size as i64),
                (_, Some(name)) => TDim::from(model.symbols.sym(&name)),
                (_, None) => TDim::from(1_i64),
            })
            .collect();
        model.set_input_fact(index, InferenceFact::dt_shape(*element, dims))?;
    }
    model.into_optimized()?.into_runnable()
}
