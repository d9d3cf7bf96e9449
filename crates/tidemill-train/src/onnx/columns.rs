//! From the inputs of a graph to numbers and to numbered categories, as a frame would read them.

use super::graph::{Attribute, Constant, Graph, ML};
use super::proto::DataType;
use crate::frame::{ColumnSpec, Source};

/// The type of a column's input.
pub(super) fn data_type(source: Source) -> DataType {
    match source {
        Source::Bool => DataType::Bool,
        Source::Int => DataType::Int64,
        Source::Float => DataType::Float,
        Source::Double => DataType::Double,
        Source::Text => DataType::String,
    }
}

/// The column as numbers of type `kind`, rows × 1.
pub(super) fn number(graph: &mut Graph, column: &ColumnSpec, kind: DataType) -> String {
    graph.cast(&column.name, data_type(column.source), kind)
}

/// The number of each row's category, a vector of rows: its place in `levels` counted from 1, and 0 for missing
/// values and everything else.
pub(super) fn category(graph: &mut Graph, column: &ColumnSpec, levels: &[&str]) -> String {
    let codes = if column.source == Source::Text {
        let texts = levels.iter().map(|level| level.as_bytes().to_vec()).collect();
        let attributes = vec![
            ("cats_strings", Attribute::Texts(texts)),
            ("cats_int64s", Attribute::Ints((1..=levels.len() as i64).collect())),
            ("default_int64", Attribute::Int(0)),
        ];
        graph.node_of(ML, "CategoryMapper", &[&column.name], attributes)
    } else {
        // Numbers are compared with every level at once; the one that is equal contributes its place.
        let values: Vec<f64> = levels.iter().map(|level| level.parse().unwrap_or(f64::NAN)).collect();
        let places: Vec<f32> = (1..=levels.len()).map(|place| place as f32).collect();
        let width = levels.len() as i64;
        let number = number(graph, column, DataType::Double);
        let values = graph.constant(&[1, width], Constant::Double(&values));
        let places = graph.constant(&[width, 1], Constant::Float(&places));
        let equal = graph.node("Equal", &[&number, &values], vec![]);
        let hits = graph.cast(&equal, DataType::Bool, DataType::Float);
        let place = graph.node("MatMul", &[&hits, &places], vec![]);
        graph.cast(&place, DataType::Float, DataType::Int64)
    };
    let flat = graph.constant(&[1], Constant::Int(&[-1]));
    graph.node("Reshape", &[&codes, &flat], vec![])
}
