//! A model in ONNX Runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use ort::session::{Session as Inner, SessionInputValue};
use ort::value::{DynValue, MapValueType};

use super::copies::Copies;
use super::{NAME, tensors};
use crate::onnx::{Declared, Model, ValueKind};
use crate::{Dim, ElementType, LoadError, RunError, Session, Slot, Tensor, Values};

/// A loaded model.
#[derive(Debug)]
pub(crate) struct OrtSession {
    loaded: Arc<Loaded>,
    /// None where there is one copy, which callers and shadows share.
    shadows: Option<ForShadows>,
}

/// The model for calls whose answer nobody waits for: they take one of its copies at most, and no caller waits for that one.
#[derive(Debug)]
struct ForShadows(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    copies: Copies<Inner>,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    columns: BTreeMap<String, Vec<String>>,
    bytes: u64,
}

impl OrtSession {
    pub(super) fn new(sessions: Vec<Inner>, model: &Model, bytes: u64) -> Result<Self, LoadError> {
        let mut columns = BTreeMap::new();
        let inputs = model.graph.inputs.iter().map(|input| slot(input, model, &mut columns, false));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs = model.graph.outputs.iter().map(|output| slot(output, model, &mut columns, true));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let loaded = Arc::new(Loaded { copies: Copies::new(sessions), inputs, outputs, columns, bytes });
        let shadows = (loaded.copies.len() > 1).then(|| ForShadows(Arc::clone(&loaded)));
        Ok(Self { loaded, shadows })
    }
}

impl Loaded {
    /// Answers a call in the copy that `take` gives.
    fn run(
        &self,
        inputs: &[Tensor],
        take: fn(&Copies<Inner>) -> Option<MutexGuard<'_, Inner>>,
    ) -> Result<Vec<Tensor>, RunError> {
        crate::check::inputs(&self.inputs, inputs)?;
        let values = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|(slot, input)| Ok((slot.name.as_str(), tensors::into_ort(input)?)))
            .collect::<Result<Vec<(&str, SessionInputValue<'_>)>, RunError>>()?;
        let Some(mut copy) = take(&self.copies) else {
            return Err(RunError::Model("no session".to_owned()));
        };
        let results = copy.run(values).map_err(|error| RunError::Model(error.to_string()))?;
        self.outputs
            .iter()
            .map(|slot| {
                let value = results.get(slot.name.as_str());
                let value = value.ok_or_else(|| RunError::Model(format!("no output `{}`", slot.name)))?;
                match self.columns.get(&slot.name) {
                    Some(keys) => maps(value, keys),
                    None => tensors::from_ort(value),
                }
            })
            .collect()
    }

    fn columns(&self, slot: &str) -> Option<&[String]> {
        self.columns.get(slot).map(Vec::as_slice)
    }
}

impl Session for OrtSession {
    fn runtime(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[Slot] {
        &self.loaded.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.loaded.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        self.loaded.run(inputs, Copies::of_caller)
    }

    fn for_shadows(&self) -> Option<&dyn Session> {
        self.shadows.as_ref().map(|shadows| shadows as &dyn Session)
    }

    /// The file, twice: as ONNX Runtime keeps it and what it makes of it.
    fn memory_bytes(&self) -> u64 {
        self.loaded.bytes * 2 * self.loaded.copies.len() as u64
    }

    fn columns(&self, slot: &str) -> Option<&[String]> {
        self.loaded.columns(slot)
    }
}

impl Session for ForShadows {
    fn runtime(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[Slot] {
        &self.0.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.0.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        self.0.run(inputs, Copies::of_shadows)
    }

    /// It is counted with the model.
    fn memory_bytes(&self) -> u64 {
        0
    }

    fn columns(&self, slot: &str) -> Option<&[String]> {
        self.0.columns(slot)
    }
}

fn slot(
    declared: &Declared,
    model: &Model,
    columns: &mut BTreeMap<String, Vec<String>>,
    may_be_map: bool,
) -> Result<Slot, LoadError> {
    let name = declared.name.clone();
    let unsupported = |what: String| LoadError::Unsupported { runtime: NAME, what };
    match &declared.kind {
        ValueKind::Tensor(ElementType::Bf16, _) => Err(unsupported(format!("`{name}` is of type bfloat16"))),
        ValueKind::Tensor(element, shape) => {
            Ok(Slot { name, element: *element, shape: shape.clone(), optional: false })
        }
        ValueKind::Map(_, ElementType::F32) if may_be_map => {
            let keys = crate::maps::keys(&model.graph, declared.value);
            let keys =
                keys.ok_or_else(|| unsupported(format!("output `{name}` is a map of unknown keys")))?;
            let shape = vec![Dim::Any(None), Dim::Fixed(keys.len())];
            columns.insert(name.clone(), keys);
            Ok(Slot { name, element: ElementType::F32, shape, optional: false })
        }
        ValueKind::Map(..) | ValueKind::Other => Err(unsupported(format!("`{name}` is no tensor"))),
    }
}

/// A list of maps as a matrix.
fn maps(value: &DynValue, keys: &[String]) -> Result<Tensor, RunError> {
    let failed = |error: ort::Error| RunError::Model(error.to_string());
    let texts = value.try_extract_sequence::<MapValueType<String, f32>>();
    let mut rows: Vec<BTreeMap<String, f32>> = Vec::new();
    if let Ok(maps) = texts {
        for map in &maps {
            rows.push(map.extract_key_values().into_iter().collect());
        }
    } else {
        for map in &value.try_extract_sequence::<MapValueType<i64, f32>>().map_err(failed)? {
            rows.push(map.extract_key_values().into_iter().map(|(key, x)| (key.to_string(), x)).collect());
        }
    }
    let cell = |row: &BTreeMap<String, f32>, key: &String| row.get(key).copied().unwrap_or_default();
    let values = rows.iter().flat_map(|row| keys.iter().map(|key| cell(row, key))).collect();
    Ok(Tensor::new(vec![rows.len(), keys.len()], Values::F32(values))?)
}
