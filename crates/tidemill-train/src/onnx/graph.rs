//! Building a graph: nodes in order, constants, names that do not clash.

use std::collections::HashSet;

use super::proto::{
    AttributeKind, AttributeProto, DataType, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto,
    TensorType, TypeProto, ValueInfoProto,
};

/// The domain of the operators for classical models.
pub(super) const ML: &str = "ai.onnx.ml";

/// A graph that grows. Values are known by their names.
pub(super) struct Graph {
    proto: GraphProto,
    taken: HashSet<String>,
    count: usize,
}

/// What an attribute holds.
pub(super) enum Attribute {
    Int(i64),
    Text(&'static str),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Texts(Vec<Vec<u8>>),
}

/// The numbers of a constant.
pub(super) enum Constant<'a> {
    Float(&'a [f32]),
    Double(&'a [f64]),
    Int(&'a [i64]),
    Byte(&'a [u8]),
    Bool(&'a [bool]),
    Text(&'a [String]),
}

impl Graph {
    pub(super) fn new(name: &str) -> Self {
        let proto = GraphProto { name: Some(name.into()), ..GraphProto::default() };
        Self { proto, taken: HashSet::new(), count: 0 }
    }

    pub(super) fn finish(self) -> GraphProto {
        self.proto
    }

    /// Declares an input of one column and any number of rows.
    pub(super) fn input(&mut self, name: &str, kind: DataType) {
        self.taken.insert(name.into());
        self.proto.input.push(value_info(name, kind, &[None, Some(1)]));
    }

    /// Names the output `wanted`, or the like if an input has that name, and declares it.
    pub(super) fn output(
        &mut self,
        wanted: &str,
        value: &str,
        kind: DataType,
        dims: &[Option<i64>],
    ) -> String {
        let mut name = wanted.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        self.push(NodeProto {
            input: vec![value.into()],
            output: vec![name.clone()],
            op_type: Some("Identity".into()),
            ..NodeProto::default()
        });
        self.proto.output.push(value_info(&name, kind, dims));
        name
    }

    /// A node of the standard operators with one output, whose name is returned.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<(&str, Attribute)>) -> String {
        self.node_of("", op, inputs, attributes)
    }

    /// A node of a domain with one output, whose name is returned.
    pub(super) fn node_of(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
    ) -> String {
        let output = self.fresh(op);
        self.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.clone()],
            op_type: Some(op.into()),
            attribute: attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: (!domain.is_empty()).then(|| domain.to_owned()),
            ..NodeProto::default()
        });
        output
    }

    /// A cast, unless the value has the type already.
    pub(super) fn cast(&mut self, value: &str, from: DataType, to: DataType) -> String {
        if from == to {
            return value.into();
        }
        self.node("Cast", &[value], vec![("to", Attribute::Int(to as i64))])
    }

    /// A constant.
    pub(super) fn constant(&mut self, dims: &[i64], values: Constant<'_>) -> String {
        let name = self.fresh("constant");
        let (kind, raw, texts) = match values {
            Constant::Float(v) => (DataType::Float, v.iter().flat_map(|x| x.to_le_bytes()).collect(), vec![]),
            Constant::Double(v) => {
                (DataType::Double, v.iter().flat_map(|x| x.to_le_bytes()).collect(), vec![])
            }
            Constant::Int(v) => (DataType::Int64, v.iter().flat_map(|x| x.to_le_bytes()).collect(), vec![]),
            Constant::Byte(v) => (DataType::Uint8, v.to_vec(), vec![]),
            Constant::Bool(v) => (DataType::Bool, v.iter().map(|&x| u8::from(x)).collect(), vec![]),
            Constant::Text(v) => {
                (DataType::String, Vec::new(), v.iter().map(|text| text.clone().into_bytes()).collect())
            }
        };
        self.proto.initializer.push(TensorProto {
            dims: dims.to_vec(),
            data_type: Some(kind as i32),
            raw_data: (kind != DataType::String).then_some(raw),
            string_data: texts,
            name: Some(name.clone()),
        });
        name
    }

    fn push(&mut self, mut node: NodeProto) {
        node.name = Some(format!("node_{}", self.proto.node.len()));
        self.proto.node.push(node);
    }

    fn fresh(&mut self, what: &str) -> String {
        loop {
            self.count += 1;
            let name = format!("{}_{}", what.to_lowercase(), self.count);
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(i) => {
            proto.i = Some(i);
            AttributeKind::Int
        }
        Attribute::Text(s) => {
            proto.s = Some(s.into());
            AttributeKind::String
        }
        Attribute::Floats(floats) => {
            proto.floats = floats;
            AttributeKind::Floats
        }
        Attribute::Ints(ints) => {
            proto.ints = ints;
            AttributeKind::Ints
        }
        Attribute::Texts(strings) => {
            proto.strings = strings;
            AttributeKind::Strings
        }
    };
    proto.kind = Some(kind as i32);
    proto
}

/// A tensor of `dims`, where `None` stands for the number of rows.
fn value_info(name: &str, kind: DataType, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dim| match dim {
            Some(value) => Dimension { dim_value: Some(*value), dim_param: None },
            None => Dimension { dim_value: None, dim_param: Some("rows".into()) },
        })
        .collect();
    let tensor_type = TensorType { elem_type: Some(kind as i32), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.into()), kind: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
