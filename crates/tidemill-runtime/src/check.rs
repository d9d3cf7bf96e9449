//! Whether the inputs of a call fit a session.

use crate::{Dim, RunError, Slot, Tensor};

/// The largest product of a shape's sizes, zeros left out.
const MAX_SPAN: usize = 1 << 31;

/// Checks number, element types and shapes.
pub(crate) fn inputs(slots: &[Slot], inputs: &[Tensor]) -> Result<(), RunError> {
    if slots.len() != inputs.len() {
        return Err(RunError::InputCount { expected: slots.len(), given: inputs.len() });
    }
    for (slot, input) in slots.iter().zip(inputs) {
        if slot.element != input.element() {
            let why = format!("takes elements of type {} and was given {}", slot.element, input.element());
            return Err(RunError::Input { input: slot.name.clone(), why });
        }
        let span = input.shape().iter().try_fold(1_usize, |span, size| span.checked_mul((*size).max(1)));
        if span.is_none_or(|span| span > MAX_SPAN) {
            let why = format!("shape {:?} is too large", input.shape());
            return Err(RunError::Input { input: slot.name.clone(), why });
        }
        // A declaration without dimensions says nothing about the shape.
        let fits = slot.shape.is_empty()
            || slot.shape.len() == input.shape().len()
                && slot.shape.iter().zip(input.shape()).all(|(dim, size)| match dim {
                    Dim::Fixed(fixed) => fixed == size,
                    Dim::Any(_) => true,
                });
        if !fits {
            let why = format!("takes shape {} and was given {:?}", shape_text(&slot.shape), input.shape());
            return Err(RunError::Input { input: slot.name.clone(), why });
        }
    }
    same_names_same_sizes(slots, inputs)
}

/// Dimensions with the same name have the same size within a call.
fn same_names_same_sizes(slots: &[Slot], inputs: &[Tensor]) -> Result<(), RunError> {
    let mut sizes: Vec<(&str, usize)> = Vec::new();
    for (slot, input) in slots.iter().zip(inputs) {
        for (dim, size) in slot.shape.iter().zip(input.shape()) {
            let Dim::Any(Some(name)) = dim else { continue };
            match sizes.iter().find(|(known, _)| known == name) {
                None => sizes.push((name, *size)),
                Some((_, known)) if known == size => {}
                Some((_, known)) => {
                    let why = format!("dimension `{name}` is {size}, and {known} elsewhere in the same call");
                    return Err(RunError::Input { input: slot.name.clone(), why });
                }
            }
        }
    }
    Ok(())
}

/// A shape for people: `[rows, 4]`.
pub(crate) fn shape_text(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Any(Some(name)) => name.clone(),
            Dim::Any(None) => "?".to_owned(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}
