//! Records with their own values again, as they were taken: what tests compare.

use std::sync::Arc;
use std::time::Duration;

use tidemill_runtime::{ElementType, Tensor, Values};

use super::{Column, Layout, Raw, View};
use crate::record::bytes::Cursor;
use crate::{Failure, Named, Record, Status};

/// A record with its own values.
pub(crate) fn owned(view: &View<'_>, layout: &Layout, endpoint: &Arc<str>) -> Option<Record> {
    let named = |(column, raw): (&Column, &Raw<'_>)| {
        let shape = raw.dims.get(..raw.rank)?.to_vec();
        let tensor = Tensor::new(shape, values(column.element, raw.values)?).ok()?;
        Some(Named { name: column.name.clone(), tensor })
    };
    let (inputs, outputs) = view.tensors.split_at_checked(layout.inputs.len())?;
    let failure = || {
        let (kind, message) = view.failure?;
        Some(Failure { kind: known_kind(kind), message: message.to_owned() })
    };
    Some(Record {
        id: view.id.into(),
        time: view.time,
        endpoint: endpoint.clone(),
        model: layout.model.clone(),
        version: layout.version.clone(),
        release: layout.release.clone(),
        arm: layout.arm.clone(),
        is_shadow: layout.is_shadow,
        latency: Duration::from_micros(view.latency_us),
        inputs: layout.inputs.iter().zip(inputs).map(named).collect::<Option<_>>()?,
        outputs: layout.outputs.iter().zip(outputs).map(named).collect::<Option<_>>()?,
        status: match view.status {
            0 => Status::Answered,
            1 => Status::FellBack(failure()?),
            _ => Status::Failed(failure()?),
        },
        warnings: view.warnings.iter().map(|warning| (*warning).to_owned()).collect(),
        entity: view.entity.map(Arc::from),
        headers: layout
            .headers
            .iter()
            .zip(&view.headers)
            .map(|(name, value)| (name.clone(), (*value).to_owned()))
            .collect(),
    })
}

/// The closed set of [`Failure::kind`]; one that a newer version has added reads as `other`.
fn known_kind(kind: &str) -> &'static str {
    ["invalid", "too_many", "unavailable", "deadline", "model", "internal", "cancelled"]
        .into_iter()
        .find(|known| *known == kind)
        .unwrap_or("other")
}

fn values(element: ElementType, bytes: &[u8]) -> Option<Values> {
    macro_rules! little_endian {
        ($kind:ident, $type:ty) => {
            Values::$kind(
                bytes
                    .chunks_exact(size_of::<$type>())
                    .map(|chunk| chunk.try_into().ok().map(<$type>::from_le_bytes))
                    .collect::<Option<_>>()?,
            )
        };
    }
    Some(match element {
        ElementType::Bool => Values::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
        ElementType::U8 => Values::U8(bytes.to_vec()),
        ElementType::U16 => little_endian!(U16, u16),
        ElementType::U32 => little_endian!(U32, u32),
        ElementType::U64 => little_endian!(U64, u64),
        ElementType::I8 => little_endian!(I8, i8),
        ElementType::I16 => little_endian!(I16, i16),
        ElementType::I32 => little_endian!(I32, i32),
        ElementType::I64 => little_endian!(I64, i64),
        ElementType::F16 => little_endian!(F16, half::f16),
        ElementType::Bf16 => little_endian!(Bf16, half::bf16),
        ElementType::F32 => little_endian!(F32, f32),
        ElementType::F64 => little_endian!(F64, f64),
        ElementType::Bytes => {
            let mut cursor = Cursor::new(bytes);
            let mut strings = Vec::new();
            while !cursor.is_empty() {
                strings.push(cursor.bytes()?.to_vec());
            }
            Values::Bytes(strings)
        }
    })
}
