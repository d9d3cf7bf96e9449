//! A model in ONNX Runtime.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ort::session::{Session as Inner, SessionInputValue};
use ort::value::{DynValue, MapValueType};

use super::{NAME, tensors};
use crate::onnx::{Declared, Model, ValueKind};
use crate::{Dim, ElementType, LoadError, RunError, Session, Slot, Tensor, Values};

/// A loaded model: some copies, each for one call at a time.
#[derive(Debug)]
pub(crate) struct OrtSession {
    copies: Vec<Mutex<Inner>>,
    next: AtomicUsize,
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
        let copies = sessions.into_iter().map(Mutex::new).collect();
        Ok(Self { copies, next: AtomicUsize::new(0), inputs, outputs, columns, bytes })
    }

    /// A copy that is free, or the next one in turn as soon as it is.
    fn copy(&self) -> Option<MutexGuard<'_, Inner>> {
        if let Some(free) = self.copies.iter().find_map(|copy| copy.try_lock().ok()) {
            return Some(free);
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.copies.len().max(1);
        self.copies.get(turn).map(|copy| copy.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session for OrtSession {
    fn runtime(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[Slot] {
        &self.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        crate::check::inputs(&self.inputs, inputs)?;
        let values = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|(slot, input)| Ok((slot.name.as_str(), tensors::into_ort(input)?)))
            .collect::<Result<Vec<(&str, SessionInputValue<'_>)>, RunError>>()?;
        let Some(mut copy) = self.copy() else {
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

    /// The file, twice: as ONNX Runtime keeps it and what it makes of it.
    fn memory_bytes(&self) -> u64 {
        self.bytes * 2 * self.copies.len() as u64
    }

    fn columns(&self, slot: &str) -> Option<&[String]> {
        self.columns.get(slot).map(Vec::as_slice)
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
