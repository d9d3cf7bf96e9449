//! Maps of a model as matrices: `ZipMap` gives one, `DictVectorizer` takes one. Here a map is a row of a matrix with
//! one column for each key.

use crate::onnx::{Attributes, Graph};

/// The keys of the map that is `value`, as texts in the order of the columns, where a node says them.
pub(crate) fn keys(graph: &Graph, value: usize) -> Option<Vec<String>> {
    graph.nodes.iter().find_map(|node| {
        let zipped = node.op == "ZipMap" && node.outputs.contains(&Some(value));
        let taken = node.op == "DictVectorizer" && node.inputs.contains(&Some(value));
        if zipped {
            key_texts(&node.attributes, "classlabels_strings", "classlabels_int64s")
        } else if taken {
            key_texts(&node.attributes, "string_vocabulary", "int64_vocabulary")
        } else {
            None
        }
    })
}

fn key_texts(attributes: &Attributes, texts: &str, ints: &str) -> Option<Vec<String>> {
    let texts = attributes.texts(texts).ok()?;
    if texts.is_empty() {
        let ints = attributes.ints(ints).ok()?;
        return (!ints.is_empty()).then(|| ints.iter().map(ToString::to_string).collect());
    }
    Some(texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}
