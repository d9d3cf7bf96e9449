//! Hostile and odd files are refused with words.

use prost::Message;

use super::proto::{
    GraphProto, ModelProto, NodeProto, TensorProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::read;

fn value(name: &str) -> ValueInfoProto {
    let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape: None });
    ValueInfoProto { name: Some(name.into()), kind: Some(TypeProto { tensor_type, ..TypeProto::default() }) }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        op_type: Some(op.into()),
        ..NodeProto::default()
    }
}

fn graph(node: Vec<NodeProto>) -> GraphProto {
    GraphProto { node, input: vec![value("x")], output: vec![value("y")], ..GraphProto::default() }
}

fn refusal(graph: GraphProto) -> String {
    let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
    read(&model.encode_to_vec()).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn nodes_are_put_in_order() {
    let graph = graph(vec![node("Neg", &["a"], &["y"]), node("Abs", &["x"], &["a"])]);
    let model = read(&ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()).unwrap();
    let ops: Vec<&str> = model.graph.nodes.iter().map(|node| node.op.as_str()).collect();
    assert_eq!(ops, ["Abs", "Neg"]);
    assert_eq!(model.description.operators.into_iter().collect::<Vec<_>>(), ["Abs", "Neg"]);
}

#[test]
fn graphs_that_do_not_hold_together_are_refused() {
    let cycle = graph(vec![node("Abs", &["y"], &["a"]), node("Neg", &["a"], &["y"])]);
    assert!(refusal(cycle).contains("cycle"));
    assert!(refusal(graph(vec![node("Abs", &["z"], &["y"])])).contains("nothing gives its input `z`"));
    let twice = graph(vec![node("Abs", &["x"], &["y"]), node("Neg", &["x"], &["y"])]);
    assert!(refusal(twice).contains("`y` is given to two values"));
    assert!(refusal(graph(vec![])).contains("output `y` is computed by no node"));
    assert!(refusal(graph(vec![node("Abs", &["x"], &["x"])])).contains("`x` is given to two values"));
}

#[test]
fn tensors_take_no_more_than_their_bytes() {
    let mut large = graph(vec![node("Add", &["x", "c"], &["y"])]);
    large.initializer.push(TensorProto {
        dims: vec![1 << 40, 1 << 30],
        data_type: Some(1),
        name: Some("c".into()),
        ..TensorProto::default()
    });
    assert!(refusal(large.clone()).contains("too large"));
    large.initializer[0].dims = vec![1 << 40, 0];
    assert!(refusal(large.clone()).contains("too large"));
    large.initializer[0].dims = vec![1 << 20];
    assert!(refusal(large.clone()).contains("0 were given"));
    large.initializer[0].dims = vec![-4];
    assert!(refusal(large.clone()).contains("a dimension of -4"));
    large.initializer[0].dims = vec![1];
    large.initializer[0].data_location = Some(1);
    assert!(refusal(large).contains("another file"));
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    for bytes in [&b"not a model"[..], b"", &[0xff; 64]] {
        assert!(read(bytes).is_err());
    }
}
