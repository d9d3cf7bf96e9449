//! Linear models, in double precision from the inputs to the answers.

use super::columns::{category, number};
use super::graph::{Attribute, Constant, Graph};
use super::proto::DataType;
use crate::frame::FrameSchema;
use crate::linear::{LinearModel, Term};
use crate::{Error, Result};

/// Raw scores, rows × outputs, 64-bit.
pub(super) fn raw_scores(
    graph: &mut Graph,
    schema: &FrameSchema,
    model: &LinearModel,
    first: &str,
) -> Result<String> {
    let width = model.outputs() as i64;
    let mut scores = super::repeat(graph, Constant::Double(&model.intercepts), width, first);
    let mut numbers = Numbers::default();
    for (spec, term) in schema.columns.iter().zip(&model.terms) {
        match term {
            Term::Numeric { mean, scale, coefficients } => {
                numbers.inputs.push(number(graph, spec, DataType::Double));
                numbers.means.push(*mean);
                numbers.scales.push(*scale);
                numbers.coefficients.extend_from_slice(coefficients);
            }
            Term::Categorical { levels, coefficients, missing, other } => {
                let Some(all) = spec.levels() else {
                    return Err(Error::Export(format!("column `{}` does not hold categories", spec.name)));
                };
                let names: Vec<&str> = all.iter().map(String::as_str).collect();
                let codes = category(graph, spec, &names);
                let mut cells = missing.clone();
                for code in 0..all.len() as u32 {
                    let own = levels.binary_search(&code).ok().map(|place| &coefficients[place]);
                    cells.extend_from_slice(own.unwrap_or(other));
                }
                let table = graph.constant(&[all.len() as i64 + 1, width], Constant::Double(&cells));
                let part = graph.node("Gather", &[&table, &codes], vec![("axis", Attribute::Int(0))]);
                scores = graph.node("Add", &[&scores, &part], vec![]);
            }
        }
    }
    Ok(if numbers.inputs.is_empty() { scores } else { numbers.add_to(graph, &scores, width) })
}

#[derive(Default)]
struct Numbers {
    inputs: Vec<String>,
    means: Vec<f64>,
    scales: Vec<f64>,
    /// Row by row, one value for each output.
    coefficients: Vec<f64>,
}

impl Numbers {
    /// Standardises, replaces missing values by the mean, which is 0 then, and adds what the columns give.
    fn add_to(&self, graph: &mut Graph, scores: &str, width: i64) -> String {
        let count = self.inputs.len() as i64;
        let inputs: Vec<&str> = self.inputs.iter().map(String::as_str).collect();
        let matrix = graph.node("Concat", &inputs, vec![("axis", Attribute::Int(1))]);
        let means = graph.constant(&[1, count], Constant::Double(&self.means));
        let scales = graph.constant(&[1, count], Constant::Double(&self.scales));
        let zero = graph.constant(&[1, 1], Constant::Double(&[0.0]));
        let coefficients = graph.constant(&[count, width], Constant::Double(&self.coefficients));
        let missing = graph.node("IsNaN", &[&matrix], vec![]);
        let centred = graph.node("Sub", &[&matrix, &means], vec![]);
        let scaled = graph.node("Div", &[&centred, &scales], vec![]);
        let filled = graph.node("Where", &[&missing, &zero, &scaled], vec![]);
        let part = graph.node("MatMul", &[&filled, &coefficients], vec![]);
        graph.node("Add", &[scores, &part], vec![])
    }
}
