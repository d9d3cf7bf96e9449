//! The declared answer that stands in where a model does not answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_runtime::{Dim, Slot, Tensor, Values};
use utoipa::ToSchema;

use super::convert::fit;
use crate::{InferError, Named};

/// What is answered where the model is not able to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndpointFallback)]
pub struct Fallback {
    /// For each output the value of a row: a number, a text or a truth value, or a list of them.
    #[schema(value_type = Object)]
    pub outputs: BTreeMap<String, Value>,
    /// In which cases; where not given: `model`, `unavailable`, `too_many` and `deadline`.
    #[serde(default = "usual")]
    pub on: Vec<Trigger>,
}

/// A case in which a model does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FallbackTrigger)]
pub enum Trigger {
    /// The request does not fit the model, or its values are refused.
    Invalid,
    /// Too many requests wait.
    TooMany,
    /// The model is not loaded.
    Unavailable,
    /// The request's time was over.
    Deadline,
    /// The model failed.
    Model,
}

fn usual() -> Vec<Trigger> {
    vec![Trigger::Model, Trigger::Unavailable, Trigger::TooMany, Trigger::Deadline]
}

impl Fallback {
    /// Whether every value can be an answer.
    ///
    /// # Errors
    ///
    /// Names the output whose value cannot.
    pub fn check(&self) -> Result<(), String> {
        if self.outputs.is_empty() {
            return Err("the fallback has no outputs".to_owned());
        }
        for (name, value) in &self.outputs {
            row(value).map_err(|why| format!("the fallback for `{name}`: {why}"))?;
        }
        Ok(())
    }

    /// Whether it stands in for this error.
    pub fn covers(&self, error: &InferError) -> bool {
        let trigger = match error {
            InferError::Invalid(_) => Trigger::Invalid,
            InferError::TooMany { .. } => Trigger::TooMany,
            InferError::Unavailable { .. } => Trigger::Unavailable,
            InferError::Deadline(_) => Trigger::Deadline,
            InferError::Model(_) => Trigger::Model,
            InferError::NotFound(_) | InferError::Internal(_) => return false,
        };
        self.on.contains(&trigger)
    }

    /// Whether an answer for so many rows is not too large: how many there are the caller alone decides.
    pub fn fits(&self, rows: usize) -> bool {
        const VALUE: usize = 32;
        const MOST_BYTES: usize = 256 << 20;
        let width = |value: &Value| match value {
            Value::Array(list) => list.iter().map(text_len).sum::<usize>() + list.len() * VALUE,
            one => text_len(one) + VALUE,
        };
        let row: usize = self.outputs.values().map(width).sum();
        rows.checked_mul(row).is_some_and(|bytes| bytes <= MOST_BYTES)
    }

    /// The answer for so many rows, in the order and types of `slots` where the model's outputs are known.
    pub fn answer(&self, rows: usize, slots: &[Slot]) -> Vec<Named> {
        let mut outputs: Vec<Named> = self
            .outputs
            .iter()
            .filter_map(|(name, value)| {
                let slot = slots.iter().find(|slot| slot.name == *name);
                let tensor = repeat(value, rows, slot)?;
                Some(Named { name: name.clone(), tensor })
            })
            .collect();
        let place = |output: &Named| slots.iter().position(|slot| slot.name == output.name);
        outputs.sort_by_key(|output| place(output).unwrap_or(usize::MAX));
        outputs
    }
}

fn text_len(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

/// The values of a row.
fn row(value: &Value) -> Result<Values, &'static str> {
    let list = match value {
        Value::Array(list) if list.is_empty() => return Err("a list must not be empty"),
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    if let Some(numbers) = list.iter().map(Value::as_i64).collect::<Option<Vec<_>>>() {
        return Ok(Values::I64(numbers));
    }
    if let Some(numbers) = list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>() {
        return Ok(Values::F64(numbers));
    }
    if let Some(truths) = list.iter().map(Value::as_bool).collect::<Option<Vec<_>>>() {
        return Ok(Values::Bool(truths));
    }
    let texts = list.iter().map(|value| value.as_str().map(|text| text.as_bytes().to_vec()));
    let texts = texts.collect::<Option<Vec<_>>>().map(Values::Bytes);
    texts.ok_or("expected a number, a text or a truth value, or a list of one of these")
}

fn repeat(value: &Value, rows: usize, slot: Option<&Slot>) -> Option<Tensor> {
    let one = row(value).ok()?;
    let width = one.len();
    let single = Tensor::new(vec![1, width], one).ok()?;
    let rank = slot.map_or(if value.is_array() { 2 } else { 1 }, |slot| slot.shape.len());
    let parts: Vec<&Tensor> = std::iter::repeat_n(&single, rows.max(1)).collect();
    let all = Tensor::join(&parts).ok()?.slice(0, rows);
    let shape = if rank == 1 && width == 1 { vec![rows] } else { vec![rows, width] };
    let tensor = Tensor::new(shape, all.into_values()).ok()?;
    let Some(slot) = slot else { return Some(tensor) };
    let any = Slot { shape: vec![Dim::Any(None); tensor.shape().len()], ..slot.clone() };
    // A value that the model's output could not hold is given as it is declared.
    Some(fit(tensor.clone(), &any).map_or(tensor, |fitted| fitted.tensor))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidemill_runtime::ElementType;

    use super::*;

    fn fallback(value: Value) -> Fallback {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_answer_has_the_models_types_and_order() {
        let fallback =
            fallback(json!({"outputs": {"label": 1, "probabilities": [0.25, 0.75], "note": "none"}}));
        let slot = |name: &str, element, width| Slot {
            name: name.to_owned(),
            element,
            shape: if width == 0 { vec![Dim::Any(None)] } else { vec![Dim::Any(None), Dim::Fixed(width)] },
            optional: false,
        };
        let slots = [slot("probabilities", ElementType::F32, 2), slot("label", ElementType::I64, 0)];
        let answer = fallback.answer(2, &slots);
        let by_name = |name: &str| &answer.iter().find(|output| output.name == name).unwrap().tensor;
        assert_eq!(by_name("label"), &Tensor::vector(Values::I64(vec![1, 1])));
        let twice = Tensor::new(vec![2, 2], Values::F32(vec![0.25, 0.75, 0.25, 0.75])).unwrap();
        assert_eq!(by_name("probabilities"), &twice);
        assert_eq!(by_name("note"), &Tensor::vector(Values::Bytes(vec![b"none".to_vec(); 2])));
        let names: Vec<&str> = answer.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, ["probabilities", "label", "note"]);
        assert_eq!(fallback.answer(0, &[])[0].tensor.rows(), 0);
        assert!(fallback.fits(0) && fallback.fits(10_000));
        assert!(!fallback.fits(60_000_000) && !fallback.fits(usize::MAX));
    }

    #[test]
    fn cases_and_what_cannot_be_declared() {
        let usual = fallback(json!({"outputs": {"y": 0}}));
        assert!(usual.covers(&InferError::Model(String::new())));
        assert!(!usual.covers(&InferError::Invalid(String::new())));
        let strict = fallback(json!({"outputs": {"y": 0}, "on": ["invalid"]}));
        assert!(strict.covers(&InferError::Invalid(String::new())));
        assert!(!strict.covers(&InferError::Model(String::new())));
        for (outputs, text) in [
            (json!({}), "no outputs"),
            (json!({"y": null}), "the fallback for `y`: expected a number"),
            (json!({"y": []}), "must not be empty"),
            (json!({"y": [1, "a"]}), "expected a number"),
        ] {
            let why = fallback(json!({"outputs": outputs})).check().unwrap_err();
            assert!(why.contains(text), "{why}");
        }
    }
}
