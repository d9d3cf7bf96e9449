//! Plans of a network: one with symbols for any shape, and some for the shapes that come often.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tract_onnx::prelude::*;

use super::kept::Kept;
use super::{symbol, tensors};
use crate::{Dim, Slot};

/// Shapes that have a plan of their own beside the one with symbols, and bytes of weights that these plans hold together at most.
const MAX_OWN: usize = 8;
const MAX_OWN_BYTES: u64 = 64 << 20;
/// Shapes whose plans are kept where there is none with symbols.
const MAX_ONLY: usize = 16;

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
    /// Shapes that may have a plan of their own.
    room: usize,
    own: Mutex<Kept<Shapes, Plan>>,
    /// Held while a plan is made: two at once would cost more, and calls that have a plan do not wait for it.
    making: Mutex<()>,
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans")
            .field("any", &self.any.is_some())
            .field("own", &self.own().len())
            .finish_non_exhaustive()
    }
}

impl Plans {
    /// Makes a plan with symbols, or else one for the smallest shape, so that a network which cannot run is refused
    /// when it is loaded. `bytes` are the model's, near enough those of its weights.
    pub(super) fn new(parsed: InferenceModel, inputs: &[Slot], bytes: u64) -> TractResult<Self> {
        let elements = inputs
            .iter()
            .map(|slot| {
                tensors::datum(slot.element)
                    .ok_or_else(|| TractError::msg(format!("elements of type {}", slot.element)))
            })
            .collect::<TractResult<Vec<DatumType>>>()?;
        let any = with_symbols(&parsed, inputs, &elements).ok();
        let room = if any.is_some() { room(inputs, bytes) } else { MAX_ONLY };
        let own = Mutex::new(Kept::new(room));
        let plans = Self { parsed, elements, any, room, own, making: Mutex::new(()) };
        if plans.any.is_none() {
            let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 1 };
            let smallest: Shapes = inputs.iter().map(|slot| slot.shape.iter().map(size).collect()).collect();
            plans.of(&smallest)?;
        }
        Ok(plans)
    }

    /// The plan for these shapes: their own, made when they have come often enough to earn it, else the one with symbols. Which of them
    /// answers may show in the last bits of floats, as the size of a batch may.
    pub(super) fn of(&self, shapes: &[Vec<usize>]) -> TractResult<Plan> {
        match &self.any {
            Some(any) if self.room == 0 => Ok(Arc::clone(any)),
            Some(any) => {
                let mut own = self.own();
                if let Some(plan) = own.find(shapes) {
                    return Ok(Arc::clone(plan));
                }
                let has_earned = own.missed(shapes);
                drop(own);
                if has_earned && let Ok(_alone) = self.making.try_lock() {
                    // Another call may have made it meanwhile.
                    if let Some(plan) = self.own().find(shapes) {
                        return Ok(Arc::clone(plan));
                    }
                    match self.make(shapes) {
                        Ok(plan) => {
                            self.own().keep(shapes.to_vec(), Arc::clone(&plan));
                            return Ok(plan);
                        }
                        // The one with symbols runs it all the same.
                        Err(_) => self.own().refuse(shapes),
                    }
                }
                Ok(Arc::clone(any))
            }
            None => {
                if let Some(plan) = self.own().find(shapes) {
                    return Ok(Arc::clone(plan));
                }
                let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
                // Another call may have made it meanwhile.
                if let Some(plan) = self.own().find(shapes) {
                    return Ok(Arc::clone(plan));
                }
                let plan = self.make(shapes)?;
                self.own().keep(shapes.to_vec(), Arc::clone(&plan));
                Ok(plan)
            }
        }
    }

    /// How often weights are held by plans: those that shapes may earn are counted from the beginning, so that a budget of memory which
    /// held when the model was loaded holds later.
    pub(super) fn most(&self) -> usize {
        if self.any.is_some() { 1 + self.room } else { self.own().len() }
    }

    fn own(&self) -> MutexGuard<'_, Kept<Shapes, Plan>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Shapes that may have a plan of their own: none where there is only one shape, or weights are large.
fn room(inputs: &[Slot], bytes: u64) -> usize {
    let is_open = inputs.iter().flat_map(|slot| &slot.shape).any(|dim| matches!(dim, Dim::Any(_)));
    let fit = MAX_OWN_BYTES / bytes.max(1);
    if is_open { usize::try_from(fit).map_or(MAX_OWN, |fit| fit.min(MAX_OWN)) } else { 0 }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;

    #[test]
    fn room_is_for_open_shapes_and_bounded_in_number_and_bytes() {
        let slot = |first: Dim| Slot {
            name: "x".to_owned(),
            element: ElementType::F32,
            shape: vec![first, Dim::Fixed(3)],
            optional: false,
        };
        let open = [slot(Dim::Any(Some("n".to_owned())))];
        for (bytes, expected) in
            [(0, 8), (1 << 20, 8), (8 << 20, 8), (30 << 20, 2), (64 << 20, 1), (65 << 20, 0)]
        {
            assert_eq!(room(&open, bytes), expected, "{bytes}");
        }
        assert_eq!(room(&[slot(Dim::Fixed(1))], 1 << 20), 0, "there is nothing that could be more special");
    }
}
