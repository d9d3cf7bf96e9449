//! What a table of a request becomes for a model: one tensor a column, one matrix, or tensors of any shape.

use std::collections::BTreeMap;

use tidemill_runtime::{Dim, ElementType, Slot};

use super::COLUMNS_PROPERTY;
use crate::ModelMetadata;

/// Where a request's values go.
pub(super) enum Target {
    /// Each slot is a column of one value a row.
    Columns,
    /// One slot of two dimensions, whose columns may have names.
    Matrix {
        /// The names of the columns where they are known.
        names: Option<Vec<String>>,
        /// How many columns there are where that is known.
        width: Option<usize>,
    },
    /// Each slot has a value of any shape for each row.
    Tensors,
}

impl Target {
    pub(super) fn of(metadata: &ModelMetadata) -> Self {
        if metadata.is_tabular {
            return Self::Columns;
        }
        match metadata.inputs.as_slice() {
            [Slot { shape, .. }] if shape.len() == 2 => {
                let names = metadata.properties.get(COLUMNS_PROPERTY);
                let mut names: Option<Vec<String>> = names.and_then(|names| serde_json::from_str(names).ok());
                let width = match shape.last() {
                    Some(Dim::Fixed(width)) => Some(*width),
                    _ => names.as_ref().map(Vec::len),
                };
                // Names that do not belong to this matrix name nothing.
                if names.as_ref().map(Vec::len) != width {
                    names = None;
                }
                Self::Matrix { names, width }
            }
            _ => Self::Tensors,
        }
    }
}

fn slot(name: &str, element: ElementType, shape: &[Dim]) -> Slot {
    Slot { name: name.to_owned(), element, shape: shape.to_vec(), optional: false }
}

/// Metadata of a model of each kind, for fuzzing.
pub(super) fn examples() -> [ModelMetadata; 3] {
    let rows = || Dim::Any(None);
    let model = |inputs, is_tabular, columns: Option<&str>| ModelMetadata {
        name: "example".to_owned(),
        versions: Vec::new(),
        platform: "onnx".to_owned(),
        inputs,
        outputs: Vec::new(),
        is_tabular,
        properties: columns
            .map(|columns| (COLUMNS_PROPERTY.to_owned(), columns.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    };
    let column = |name, element| slot(name, element, &[rows()]);
    [
        model(
            vec![
                column("d", ElementType::F64),
                column("f", ElementType::F32),
                column("l", ElementType::I64),
                column("i", ElementType::I32),
                column("b", ElementType::Bool),
                column("s", ElementType::Bytes),
            ],
            true,
            None,
        ),
        model(vec![slot("x", ElementType::F32, &[rows(), Dim::Fixed(3)])], false, Some(r#"["p","q","r"]"#)),
        model(
            vec![
                slot("image", ElementType::U8, &[rows(), Dim::Fixed(2), Dim::Fixed(2)]),
                slot("mask", ElementType::F32, &[rows(), rows()]),
            ],
            false,
            None,
        ),
    ]
}
