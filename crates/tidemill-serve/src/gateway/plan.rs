//! How a request's tensors become a session's inputs. Worked out once, when a model is loaded.

use std::collections::HashMap;

use tidemill_runtime::{Dim, ElementType, Session, Slot, Tensor, Values};

use super::convert::fit;
use super::signature::{Field, Signature};
use super::validate::{Kind, Violation};
use crate::{InferError, Named};

/// Bytes that a request may take beside what it gave: for its matrix, and for what stands for inputs that are not there. What it gave
/// is bounded by its body, these by its rows and the model's width alone.
const MOST_LAID_OUT: usize = 256 << 20;

/// How requests are laid out for a model.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What a request gives.
    pub inputs: Vec<Slot>,
    /// Whether the inputs are the columns of one table.
    pub is_tabular: bool,
    /// Whether rows of several requests may be joined into one call.
    pub is_joinable: bool,
    /// Of each input whether empty text stands for a missing value.
    pub nullable: Vec<bool>,
    layout: Layout,
    /// Where each name is in `inputs`.
    places: HashMap<String, usize>,
}

#[derive(Clone, Debug)]
enum Layout {
    /// Each input of the request is one of the session's.
    Direct,
    /// The session takes the columns as one matrix.
    Matrix(Slot),
}

/// A request as the session takes it.
#[derive(Debug)]
pub struct Prepared {
    /// In the session's order.
    pub tensors: Vec<Tensor>,
    /// The names of the tensors.
    pub names: Vec<String>,
    /// What was given, where the tensors above are a copy of it.
    pub originals: Option<Vec<Named>>,
    /// Rows of the request.
    pub rows: usize,
    /// What is wrong with the request but did not keep it from being laid out.
    pub violations: Vec<Violation>,
}

impl Plan {
    /// For a session, with what its trainer said.
    ///
    /// # Errors
    ///
    /// Says where signature and model do not fit together.
    pub fn new(session: &dyn Session, signature: Option<&Signature>) -> Result<Self, String> {
        let slots = session.inputs();
        let is_joinable = slots.iter().chain(session.outputs()).all(has_rows);
        if let Some(signature) = signature {
            check_outputs(session.outputs(), signature)?;
        }
        let own = |is_tabular| (slots.to_vec(), Layout::Direct, is_tabular);
        let (inputs, layout, is_tabular) = match signature {
            Some(signature) if signature.is_table() => columns(slots, signature)?,
            Some(signature) => {
                check_tensors(slots, signature)?;
                own(false)
            }
            None => own(!slots.is_empty() && slots.iter().all(is_column)),
        };
        let is_nullable =
            |slot: &Slot| signature.is_some_and(|it| it.nullable().any(|name| name == slot.name));
        let nullable = inputs.iter().map(is_nullable).collect();
        let places = inputs.iter().enumerate().map(|(at, slot)| (slot.name.clone(), at)).collect();
        Ok(Self { inputs, is_tabular, is_joinable, nullable, layout, places })
    }

    /// Whether the inputs are packed into one matrix.
    pub fn is_matrix(&self) -> bool {
        matches!(self.layout, Layout::Matrix(_))
    }

    /// The columns of a matrix, each with its name.
    pub fn split(&self, matrix: &Tensor) -> Vec<Named> {
        fn every<T: Clone>(values: &[T], from: usize, width: usize) -> Vec<T> {
            values.iter().skip(from).step_by(width).cloned().collect()
        }
        let width = self.inputs.len().max(1);
        let columns = self.inputs.iter().enumerate().map(|(at, slot)| {
            let values = match matrix.values() {
                Values::F32(values) => Values::F32(every(values, at, width)),
                Values::F64(values) => Values::F64(every(values, at, width)),
                Values::I64(values) => Values::I64(every(values, at, width)),
                Values::I32(values) => Values::I32(every(values, at, width)),
                Values::Bytes(values) => Values::Bytes(every(values, at, width)),
                // No matrix of another type is ever made.
                _ => Values::F32(Vec::new()),
            };
            Named { name: slot.name.clone(), tensor: Tensor::vector(values) }
        });
        columns.collect()
    }

    /// Lays out a request.
    ///
    /// # Errors
    ///
    /// Names the input that is missing where nothing may stand for it, is there twice or does not fit.
    pub fn prepare(&self, inputs: Vec<Named>) -> Result<Prepared, InferError> {
        if let (Layout::Matrix(slot), [one]) = (&self.layout, inputs.as_slice())
            && (one.name == slot.name || one.name.is_empty())
            && !self.places.contains_key(&one.name)
        {
            return Self::whole_matrix(slot, inputs);
        }
        let mut violations = Vec::new();
        let given = self.place(inputs, &mut violations)?;
        let prepared = match &self.layout {
            Layout::Direct => self.direct(given, violations)?,
            Layout::Matrix(slot) => self.matrix(slot, given, violations)?,
        };
        Ok(prepared)
    }

    /// The matrix itself instead of its columns.
    fn whole_matrix(slot: &Slot, mut inputs: Vec<Named>) -> Result<Prepared, InferError> {
        let Some(one) = inputs.pop() else { return Err(InferError::Invalid("there is no input".to_owned())) };
        let fitted = fit(one.tensor, slot).map_err(|why| invalid(&slot.name, &why))?;
        let violations =
            if fitted.is_converted { vec![Violation::of(Kind::WrongType, &slot.name)] } else { vec![] };
        let (rows, names) = (fitted.tensor.rows(), vec![slot.name.clone()]);
        Ok(Prepared { rows, names, tensors: vec![fitted.tensor], originals: None, violations })
    }

    /// The request's tensors in the order of `self.inputs`.
    fn place(
        &self,
        inputs: Vec<Named>,
        violations: &mut Vec<Violation>,
    ) -> Result<Vec<Option<Named>>, InferError> {
        let mut given: Vec<Option<Named>> = Vec::new();
        given.resize_with(self.inputs.len(), || None);
        let single = self.inputs.len() == 1 && inputs.len() == 1;
        for (at, Named { name, tensor }) in inputs.into_iter().enumerate() {
            // Most requests have the model's order.
            let place = match self.inputs.get(at) {
                Some(slot) if slot.name == name => Some(at),
                // A protocol without names for a single tensor leaves it empty.
                _ if single && name.is_empty() => Some(0),
                _ => self.places.get(&name).copied(),
            };
            match place.and_then(|place| given.get_mut(place)) {
                Some(place @ None) => *place = Some(Named { name, tensor }),
                Some(Some(_)) => {
                    return Err(InferError::Invalid(format!("input `{name}` is given more than once")));
                }
                None => violations.push(Violation::of(Kind::Extra, &name)),
            }
        }
        Ok(given)
    }

    fn direct(
        &self,
        given: Vec<Option<Named>>,
        mut violations: Vec<Violation>,
    ) -> Result<Prepared, InferError> {
        let rows = rows_of(&given);
        bounded(rows, absent_bytes(&given, &self.inputs))?;
        let (mut tensors, mut names) = (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
        for (one, slot) in given.into_iter().zip(&self.inputs) {
            let Named { name, tensor } = match one {
                Some(one) => one,
                None => absent(slot, rows, &mut violations)?,
            };
            names.push(name);
            let fitted = fit(tensor, slot).map_err(|why| invalid(&slot.name, &why))?;
            if fitted.is_converted {
                violations.push(Violation::of(Kind::WrongType, &slot.name));
            }
            if self.is_joinable && fitted.tensor.rows() != rows {
                return Err(other_rows(&slot.name, fitted.tensor.rows(), rows));
            }
            tensors.push(fitted.tensor);
        }
        Ok(Prepared { tensors, names, originals: None, rows, violations })
    }

    fn matrix(
        &self,
        slot: &Slot,
        given: Vec<Option<Named>>,
        mut violations: Vec<Violation>,
    ) -> Result<Prepared, InferError> {
        let rows = rows_of(&given);
        let width = self.inputs.len();
        let row = width.saturating_mul(value_bytes(slot.element));
        bounded(rows, row.saturating_add(absent_bytes(&given, &self.inputs)))?;
        let mut originals = Vec::with_capacity(width);
        let mut matrix = Matrix::new(slot.element, rows, width).map_err(|why| invalid(&slot.name, &why))?;
        for (at, (one, input)) in given.into_iter().zip(&self.inputs).enumerate() {
            let Named { name, tensor } = match one {
                Some(one) => one,
                None => absent(input, rows, &mut violations)?,
            };
            if tensor.rows() != rows || tensor.row_len() != 1 || tensor.shape().is_empty() {
                return Err(if tensor.row_len() == 1 {
                    other_rows(&input.name, tensor.rows(), rows)
                } else {
                    invalid(&input.name, &format!("expected one value in a row, shape {:?}", tensor.shape()))
                });
            }
            let wanted = Slot { element: slot.element, shape: vec![Dim::Any(None)], ..input.clone() };
            if tensor.element() != input.element && tensor.element() != slot.element {
                violations.push(Violation::of(Kind::WrongType, &input.name));
            }
            let column = fit(tensor.clone(), &wanted).map_err(|why| invalid(&input.name, &why))?;
            matrix.set(at, column.tensor.values());
            originals.push(Named { name, tensor });
        }
        let tensor = Tensor::new(vec![rows, width], matrix.values)
            .map_err(|error| InferError::Internal(format!("the columns do not make a matrix: {error}")))?;
        let names = vec![slot.name.clone()];
        Ok(Prepared { tensors: vec![tensor], names, originals: Some(originals), rows, violations })
    }
}

/// A matrix that is filled column by column.
struct Matrix {
    values: Values,
    width: usize,
}

impl Matrix {
    fn new(element: ElementType, rows: usize, width: usize) -> Result<Self, String> {
        let len = rows.checked_mul(width).ok_or("too many rows")?;
        let values = match element {
            ElementType::F32 => Values::F32(vec![0.0; len]),
            ElementType::F64 => Values::F64(vec![0.0; len]),
            ElementType::I64 => Values::I64(vec![0; len]),
            ElementType::I32 => Values::I32(vec![0; len]),
            ElementType::Bytes => Values::Bytes(vec![Vec::new(); len]),
            other => return Err(format!("columns cannot be packed into a matrix of {other}")),
        };
        Ok(Self { values, width })
    }

    fn set(&mut self, column: usize, from: &Values) {
        fn spread<T: Clone>(into: &mut [T], from: &[T], column: usize, width: usize) {
            let places = into.iter_mut().skip(column).step_by(width.max(1));
            places.zip(from).for_each(|(place, value)| *place = value.clone());
        }
        match (&mut self.values, from) {
            (Values::F32(into), Values::F32(from)) => spread(into, from, column, self.width),
            (Values::F64(into), Values::F64(from)) => spread(into, from, column, self.width),
            (Values::I64(into), Values::I64(from)) => spread(into, from, column, self.width),
            (Values::I32(into), Values::I32(from)) => spread(into, from, column, self.width),
            (Values::Bytes(into), Values::Bytes(from)) => spread(into, from, column, self.width),
            _ => {}
        }
    }
}

/// What stands for an input that is not there: NaN or empty text, which models take as missing.
fn absent(slot: &Slot, rows: usize, violations: &mut Vec<Violation>) -> Result<Named, InferError> {
    if !slot.optional {
        violations.push(Violation::of(Kind::Missing, &slot.name));
    }
    let width = slot.shape.iter().skip(1).try_fold(1_usize, |width, dim| match dim {
        Dim::Fixed(size) => width.checked_mul(*size),
        Dim::Any(_) => None,
    });
    let values = match (slot.element, width) {
        (ElementType::F32, Some(1)) => Values::F32(vec![f32::NAN; rows]),
        (ElementType::F64, Some(1)) => Values::F64(vec![f64::NAN; rows]),
        (ElementType::Bytes, Some(1)) => Values::Bytes(vec![Vec::new(); rows]),
        (element, _) => {
            let why = format!("input `{}` is missing, and nothing can stand for {element}", slot.name);
            return Err(InferError::Invalid(why));
        }
    };
    Ok(Named { name: slot.name.clone(), tensor: Tensor::vector(values) })
}

/// Bytes of a value in memory.
fn value_bytes(element: ElementType) -> usize {
    element.size().unwrap_or(size_of::<Vec<u8>>())
}

/// Bytes of a row of what stands for inputs that are not there.
fn absent_bytes(given: &[Option<Named>], inputs: &[Slot]) -> usize {
    let absent = given.iter().zip(inputs).filter(|(one, _)| one.is_none());
    absent.map(|(_, slot)| value_bytes(slot.element)).sum()
}

/// Whether so many rows may be laid out, before memory is taken for them.
fn bounded(rows: usize, row_bytes: usize) -> Result<(), InferError> {
    match rows.checked_mul(row_bytes) {
        Some(bytes) if bytes <= MOST_LAID_OUT => Ok(()),
        _ => {
            let most = MOST_LAID_OUT / row_bytes.max(1);
            let why = format!(
                "the request has {rows} rows, and this model takes at most {most} at once; send fewer in a request"
            );
            Err(InferError::Invalid(why))
        }
    }
}

fn rows_of(given: &[Option<Named>]) -> usize {
    given.iter().flatten().map(|one| one.tensor.rows()).next().unwrap_or(0)
}

fn invalid(input: &str, why: &str) -> InferError {
    InferError::Invalid(format!("input `{input}`: {why}"))
}

fn other_rows(input: &str, rows: usize, first: usize) -> InferError {
    invalid(input, &format!("it has {rows} rows and the first input has {first}"))
}

fn has_rows(slot: &Slot) -> bool {
    matches!(slot.shape.first(), Some(Dim::Any(_)))
}

fn is_column(slot: &Slot) -> bool {
    matches!(slot.shape.as_slice(), [Dim::Any(_)] | [Dim::Any(_), Dim::Fixed(1)])
}

/// Fits a signature of columns to the session's inputs: each its own, or all in one matrix.
fn columns(slots: &[Slot], signature: &Signature) -> Result<(Vec<Slot>, Layout, bool), String> {
    let names: Vec<&str> = signature.inputs.iter().filter_map(|field| field.name.as_deref()).collect();
    if let [slot] = slots
        && let [Dim::Any(_), width] = slot.shape.as_slice()
        && (names.len() > 1 || names.first() != Some(&slot.name.as_str()))
    {
        for field in &signature.inputs {
            same_kind("column", field, slot)?;
        }
        if let Dim::Fixed(width) = width
            && *width != names.len()
        {
            let (count, input) = (names.len(), &slot.name);
            return Err(format!(
                "the signature has {count} columns and the model's input `{input}` takes {width}"
            ));
        }
        let inputs = signature.inputs.iter().map(|field| field.slot(slot.element)).collect();
        return Ok((inputs, Layout::Matrix(slot.clone()), true));
    }
    if let Some(slot) = slots.iter().find(|slot| !slot.optional && !names.contains(&slot.name.as_str())) {
        return Err(format!("the model takes an input `{}` that the signature does not have", slot.name));
    }
    if let Some(name) = names.iter().find(|name| !slots.iter().any(|slot| slot.name == **name)) {
        return Err(format!("the signature has a column `{name}` that the model does not take"));
    }
    let order: Vec<&str> =
        slots.iter().map(|slot| slot.name.as_str()).filter(|n| names.contains(n)).collect();
    if let Some(why) = signature.differs(&order) {
        return Err(format!("the model's inputs are in another order than the signature's columns: {why}"));
    }
    for field in &signature.inputs {
        if let Some(slot) = slots.iter().find(|slot| field.name.as_deref() == Some(&slot.name)) {
            same_kind("column", field, slot)?;
        }
    }
    let inputs = slots.iter().map(|slot| {
        let field = signature.inputs.iter().find(|field| field.name.as_deref() == Some(&slot.name));
        Slot { optional: slot.optional || field.is_some_and(|field| !field.is_required), ..slot.clone() }
    });
    Ok((inputs.collect(), Layout::Direct, slots.iter().all(is_column)))
}

/// Fits a signature of tensors to the session's inputs.
fn check_tensors(slots: &[Slot], signature: &Signature) -> Result<(), String> {
    for (at, field) in signature.inputs.iter().enumerate() {
        let slot = match &field.name {
            Some(name) if slots.len() > 1 || signature.inputs.len() > 1 => {
                let found = slots.iter().find(|slot| slot.name == *name);
                found.ok_or_else(|| {
                    format!("the signature has an input `{name}` that the model does not take")
                })?
            }
            _ => slots.get(at).ok_or("the signature has more inputs than the model")?,
        };
        same_kind("input", field, slot)?;
        let shape = field.shape.as_deref().unwrap_or_default();
        let fits = shape.is_empty()
            || shape.len() == slot.shape.len()
                && shape.iter().zip(&slot.shape).all(|(size, dim)| match (size, dim) {
                    (Some(size), Dim::Fixed(wanted)) => size == wanted,
                    _ => true,
                });
        if !fits {
            return Err(format!(
                "the signature gives the input `{}` the shape {shape:?} and the model takes {:?}",
                slot.name, slot.shape
            ));
        }
    }
    Ok(())
}

/// Compares what the signature says of the answer with what the model gives: outputs of the same name, or the only ones of both.
fn check_outputs(slots: &[Slot], signature: &Signature) -> Result<(), String> {
    for field in &signature.outputs {
        let named = slots.iter().find(|slot| field.name.as_deref() == Some(&slot.name));
        // Others are put together from the model's outputs, as the labels of a classifier are.
        let ((Some(slot), ..) | (None, [slot], [_])) = (named, slots, signature.outputs.as_slice()) else {
            continue;
        };
        same_kind("output", field, slot)?;
        let Some(shape) = &field.shape else { continue };
        let sizes = |shape: &[Option<usize>]| -> Option<usize> {
            shape.iter().skip(1).try_fold(1_usize, |product, size| product.checked_mul((*size)?))
        };
        let own: Vec<Option<usize>> = slot
            .shape
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(size) => Some(*size),
                Dim::Any(_) => None,
            })
            .collect();
        if let (Some(said), Some(given)) = (sizes(shape), sizes(&own))
            && said != given
        {
            return Err(format!(
                "the signature says that the output `{}` has {said} values in a row and the model gives {given}",
                slot.name
            ));
        }
    }
    Ok(())
}

/// Text and numbers are never turned into each other, so a signature that says one and a model that has the other can answer nobody.
fn same_kind(what: &str, field: &Field, slot: &Slot) -> Result<(), String> {
    let Some(said) = field.element else { return Ok(()) };
    if (said == ElementType::Bytes) == (slot.element == ElementType::Bytes) {
        return Ok(());
    }
    let name = field.name.as_deref().unwrap_or(&slot.name);
    Err(format!(
        "the signature says that the {what} `{name}` is {said} and the model has {} for it in `{}`",
        slot.element, slot.name
    ))
}

#[cfg(test)]
mod tests;
