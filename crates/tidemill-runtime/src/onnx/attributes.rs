//! The attributes of a node.

use std::collections::BTreeMap;

use super::constant;
use super::proto::AttributeProto;
use crate::Tensor;

/// What an attribute holds.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Float(f32),
    Int(i64),
    Text(Vec<u8>),
    Tensor(Tensor),
    /// The body of a control-flow operator, which none of ours has.
    Graph,
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Texts(Vec<Vec<u8>>),
    /// Something that no operator which we evaluate has.
    Other,
}

/// The attributes of a node by name. Getters answer `None` for a name that is not there and an error for one that
/// holds something else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(BTreeMap<String, Attribute>);

impl Attributes {
    /// Reads the attributes of a node.
    pub(crate) fn read(protos: Vec<AttributeProto>) -> Result<Self, String> {
        let mut attributes = BTreeMap::new();
        for proto in protos {
            let Some(name) = proto.name.clone().filter(|name| !name.is_empty()) else {
                return Err("an attribute without a name".to_owned());
            };
            let value = value(proto).map_err(|why| format!("attribute `{name}`: {why}"))?;
            if attributes.insert(name.clone(), value).is_some() {
                return Err(format!("attribute `{name}` twice"));
            }
        }
        Ok(Self(attributes))
    }

    /// Whether there is such an attribute.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A number with a fraction.
    pub(crate) fn float(&self, name: &str) -> Result<Option<f32>, String> {
        self.get(name, "a float", |value| match value {
            Attribute::Float(float) => Some(*float),
            _ => None,
        })
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, String> {
        self.get(name, "an int", |value| match value {
            Attribute::Int(int) => Some(*int),
            _ => None,
        })
    }

    /// A whole number as a switch.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        Ok(self.int(name)?.map_or(default, |int| int != 0))
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        let bytes = self.bytes(name)?;
        bytes
            .map(|bytes| std::str::from_utf8(bytes).map_err(|_| format!("attribute `{name}` is not UTF-8")))
            .transpose()
    }

    /// A byte string.
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<&[u8]>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Attribute::Text(text)) => Ok(Some(text)),
            Some(_) => Err(format!("attribute `{name}` is not a string")),
        }
    }

    /// A tensor.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<&Tensor>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Attribute::Tensor(tensor)) => Ok(Some(tensor)),
            Some(_) => Err(format!("attribute `{name}` is not a tensor")),
        }
    }

    /// A list of numbers with fractions; empty where it is not there.
    pub(crate) fn floats(&self, name: &str) -> Result<&[f32], String> {
        match self.0.get(name) {
            None => Ok(&[]),
            Some(Attribute::Floats(floats)) => Ok(floats),
            Some(_) => Err(format!("attribute `{name}` is not a list of floats")),
        }
    }

    /// A list of whole numbers; empty where it is not there.
    pub(crate) fn ints(&self, name: &str) -> Result<&[i64], String> {
        match self.0.get(name) {
            None => Ok(&[]),
            Some(Attribute::Ints(ints)) => Ok(ints),
            // An empty list may have been written as a list of anything.
            Some(Attribute::Floats(floats)) if floats.is_empty() => Ok(&[]),
            Some(_) => Err(format!("attribute `{name}` is not a list of ints")),
        }
    }

    /// A list of byte strings; empty where it is not there.
    pub(crate) fn texts(&self, name: &str) -> Result<&[Vec<u8>], String> {
        match self.0.get(name) {
            None => Ok(&[]),
            Some(Attribute::Texts(texts)) => Ok(texts),
            Some(_) => Err(format!("attribute `{name}` is not a list of strings")),
        }
    }

    fn get<'a, T>(
        &'a self,
        name: &str,
        what: &str,
        pick: impl Fn(&'a Attribute) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => pick(value).map(Some).ok_or_else(|| format!("attribute `{name}` is not {what}")),
        }
    }
}

/// By the declared type; files of the first versions have none, and the one field that is set says it.
fn value(proto: AttributeProto) -> Result<Attribute, String> {
    let kind = proto.kind.unwrap_or_default();
    Ok(match kind {
        1 => Attribute::Float(proto.f.unwrap_or_default()),
        2 => Attribute::Int(proto.i.unwrap_or_default()),
        3 => Attribute::Text(proto.s.unwrap_or_default()),
        4 => match proto.t {
            Some(tensor) => Attribute::Tensor(constant::tensor(tensor)?),
            None => return Err("a tensor without content".to_owned()),
        },
        5 => match proto.g {
            Some(_) => Attribute::Graph,
            None => return Err("a graph without content".to_owned()),
        },
        6 => Attribute::Floats(proto.floats),
        7 => Attribute::Ints(proto.ints),
        8 => Attribute::Texts(proto.strings),
        0 => untyped(proto)?,
        _ => Attribute::Other,
    })
}

fn untyped(proto: AttributeProto) -> Result<Attribute, String> {
    Ok(if let Some(float) = proto.f {
        Attribute::Float(float)
    } else if let Some(int) = proto.i {
        Attribute::Int(int)
    } else if let Some(text) = proto.s {
        Attribute::Text(text)
    } else if let Some(tensor) = proto.t {
        Attribute::Tensor(constant::tensor(tensor)?)
    } else if proto.g.is_some() {
        Attribute::Graph
    } else if !proto.floats.is_empty() {
        Attribute::Floats(proto.floats)
    } else if !proto.strings.is_empty() {
        Attribute::Texts(proto.strings)
    } else if !proto.tensors.is_empty() || !proto.graphs.is_empty() {
        Attribute::Other
    } else {
        Attribute::Ints(proto.ints)
    })
}
