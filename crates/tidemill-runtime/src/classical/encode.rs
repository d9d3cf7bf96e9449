//! Operators that look values up: `LabelEncoder`, `CategoryMapper`, `OneHotEncoder`.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use super::kernel::{
    Built, Call, Kernel, Outcome, Refusal, Surroundings, same_type, truncated, values_bytes, wrong_type,
};
use crate::onnx::Attributes;
use crate::{ElementType, Tensor, Values};

/// Where each key stands among the keys; the first of equal keys counts unless said otherwise.
enum Places {
    Texts(HashMap<Vec<u8>, u32>),
    Ints(HashMap<i64, u32>),
    /// By bits; see [`float_key`].
    Floats(HashMap<u64, u32>),
    Bools([Option<u32>; 2]),
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Places({})", self.len())
    }
}

/// Zero has two signs and NaN many forms; as keys they are one each.
fn float_key(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

fn numbered<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, u32> {
    let mut places = HashMap::new();
    for (place, key) in keys.enumerate() {
        places.entry(key).or_insert(place as u32);
    }
    places
}

impl Places {
    fn new(keys: &Values) -> Result<Self, String> {
        Ok(match keys {
            Values::Bytes(keys) => Self::Texts(numbered(keys.iter().cloned())),
            Values::I64(keys) => Self::Ints(numbered(keys.iter().copied())),
            Values::I32(keys) => Self::Ints(numbered(keys.iter().map(|key| i64::from(*key)))),
            Values::F32(keys) => Self::Floats(numbered(keys.iter().map(|key| float_key(f64::from(*key))))),
            Values::F64(keys) => Self::Floats(numbered(keys.iter().map(|key| float_key(*key)))),
            Values::Bool(keys) => {
                let place = |wanted| keys.iter().position(|key| *key == wanted).map(|place| place as u32);
                Self::Bools([place(false), place(true)])
            }
            other => return wrong_type(other.element()),
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(map) => map.len(),
            Self::Ints(map) => map.len(),
            Self::Floats(map) => map.len(),
            Self::Bools(_) => 2,
        }
    }

    /// The place of each value's key.
    fn find(&self, values: &Values) -> Outcome<Vec<Option<u32>>> {
        Ok(match (self, values) {
            (Self::Texts(map), Values::Bytes(values)) => {
                values.iter().map(|value| map.get(value).copied()).collect()
            }
            (Self::Ints(map), Values::I64(values)) => {
                values.iter().map(|value| map.get(value).copied()).collect()
            }
            (Self::Ints(map), Values::I32(values)) => {
                values.iter().map(|value| map.get(&i64::from(*value)).copied()).collect()
            }
            // Number keys of one-hot encoders: fractions are cut off.
            (Self::Ints(map), Values::F32(values)) => {
                values.iter().map(|value| map.get(&truncated(f64::from(*value))).copied()).collect()
            }
            (Self::Ints(map), Values::F64(values)) => {
                values.iter().map(|value| map.get(&truncated(*value)).copied()).collect()
            }
            (Self::Floats(map), Values::F32(values)) => {
                values.iter().map(|value| map.get(&float_key(f64::from(*value))).copied()).collect()
            }
            (Self::Floats(map), Values::F64(values)) => {
                values.iter().map(|value| map.get(&float_key(*value)).copied()).collect()
            }
            (Self::Bools(places), Values::Bool(values)) => {
                values.iter().map(|value| places[usize::from(*value)]).collect()
            }
            (_, other) => return wrong_type(other.element()),
        })
    }

    fn memory_bytes(&self) -> u64 {
        match self {
            Self::Texts(map) => map.keys().map(|key| key.len() as u64 + 40).sum(),
            Self::Ints(_) | Self::Floats(_) => self.len() as u64 * 16,
            Self::Bools(_) => 16,
        }
    }
}

/// A table from keys to values.
#[derive(Debug)]
struct Mapping {
    places: Places,
    /// One more than keys: the last is for everything else.
    values: Values,
}

impl Mapping {
    fn new(keys: &Values, values: &Values, default: &Values) -> Result<Self, Refusal> {
        if keys.len() != values.len() || default.len() != 1 {
            let why = format!("{} keys and {} values", keys.len(), values.len());
            return Err(Refusal::Malformed(why));
        }
        let joined = Tensor::join(&[&Tensor::vector(values.clone()), &Tensor::vector(default.clone())]);
        let values = joined.map_err(|error| error.to_string())?.into_values();
        Ok(Self { places: Places::new(keys)?, values })
    }

    fn map(&self, x: &Values) -> Outcome<Values> {
        let found = self.places.find(x)?;
        let last = self.values.len() - 1;
        let place = |found: &Option<u32>| found.map_or(last, |place| place as usize);
        macro_rules! each {
            ($($kind:ident),*) => {
                match &self.values {
                    $(Values::$kind(values) => {
                        Values::$kind(found.iter().map(|found| values[place(found)].clone()).collect())
                    })*
                    other => return wrong_type(other.element()),
                }
            };
        }
        Ok(each!(Bytes, I64, I32, I16, F32, F64, Bool))
    }

    fn memory_bytes(&self) -> u64 {
        self.places.memory_bytes() + values_bytes(&self.values)
    }
}

/// `LabelEncoder`, one direction or, in the first version and in `CategoryMapper`, both.
#[derive(Debug)]
struct Encoder(Vec<Mapping>);

impl Kernel for Encoder {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let shape = x.shape().to_vec();
        let is_text = x.element() == ElementType::Bytes;
        let mapping = match self.0.as_slice() {
            [mapping] => mapping,
            [from_text, to_text] => {
                if is_text {
                    from_text
                } else {
                    to_text
                }
            }
            _ => return Err("no mapping".to_owned()),
        };
        let values = mapping.map(x.values())?;
        call.give(shape, values)
    }

    fn memory_bytes(&self) -> u64 {
        self.0.iter().map(Mapping::memory_bytes).sum()
    }
}

/// Builds `LabelEncoder`.
pub(crate) fn label_encoder(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    if attributes.has("classes_strings") {
        let classes = attributes.texts("classes_strings")?.to_vec();
        let numbers = (0..classes.len() as i64).collect();
        return both_ways(attributes, classes, numbers);
    }
    let mut keys = side(attributes, "keys")?;
    let mut values = side(attributes, "values")?;
    if around.opset < 4
        && let Values::F32(floats) = &keys
        && keys.len() == values.len()
    {
        // Until version 4 NaN equals no key, not even itself.
        let kept: Vec<usize> = (0..floats.len()).filter(|place| !floats[*place].is_nan()).collect();
        let chosen = same_type!(&values, list => kept.iter().map(|place| list[*place].clone()).collect());
        keys = Values::F32(kept.iter().map(|place| floats[*place]).collect());
        values = chosen;
    }
    let default = match attributes.tensor("default_tensor")? {
        Some(tensor) => tensor.values().clone(),
        None => match values.element() {
            ElementType::Bytes => Values::Bytes(vec![default_text(attributes)?]),
            ElementType::I64 => Values::I64(vec![attributes.int("default_int64")?.unwrap_or(-1)]),
            ElementType::F32 => Values::F32(vec![attributes.float("default_float")?.unwrap_or(-0.0)]),
            ElementType::F64 => Values::F64(vec![-0.0]),
            ElementType::I16 => Values::I16(vec![-1]),
            other => return Err(Refusal::Missing(format!("labels of type {other}"))),
        },
    };
    Ok(Box::new(Encoder(vec![Mapping::new(&keys, &values, &default)?])))
}

/// Builds `CategoryMapper`.
pub(crate) fn category_mapper(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let texts = attributes.texts("cats_strings")?.to_vec();
    both_ways(attributes, texts, attributes.ints("cats_int64s")?.to_vec())
}

/// Of equal keys the last one counts, so both lists are turned round.
fn both_ways(attributes: &Attributes, mut texts: Vec<Vec<u8>>, mut numbers: Vec<i64>) -> Built {
    texts.reverse();
    numbers.reverse();
    let number = Values::I64(vec![attributes.int("default_int64")?.unwrap_or(-1)]);
    let text = Values::Bytes(vec![default_text(attributes)?]);
    let (texts, numbers) = (Values::Bytes(texts), Values::I64(numbers));
    Ok(Box::new(Encoder(vec![
        Mapping::new(&texts, &numbers, &number)?,
        Mapping::new(&numbers, &texts, &text)?,
    ])))
}

fn default_text(attributes: &Attributes) -> Outcome<Vec<u8>> {
    Ok(attributes.bytes("default_string")?.unwrap_or(b"_Unused").to_vec())
}

/// The keys or values of a `LabelEncoder`.
fn side(attributes: &Attributes, side: &str) -> Result<Values, Refusal> {
    if let Some(tensor) = attributes.tensor(&format!("{side}_tensor"))? {
        return Ok(tensor.values().clone());
    }
    let [texts, ints, floats] = ["strings", "int64s", "floats"].map(|kind| format!("{side}_{kind}"));
    Ok(if attributes.has(&texts) {
        Values::Bytes(attributes.texts(&texts)?.to_vec())
    } else if attributes.has(&ints) {
        Values::I64(attributes.ints(&ints)?.to_vec())
    } else if attributes.has(&floats) {
        Values::F32(attributes.floats(&floats)?.to_vec())
    } else {
        return Err(Refusal::Malformed(format!("no {side}")));
    })
}

#[derive(Debug)]
struct OneHot {
    places: Places,
    count: usize,
    zeros: bool,
}

/// Builds `OneHotEncoder`.
pub(crate) fn one_hot(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let texts = attributes.texts("cats_strings")?;
    let keys = if texts.is_empty() {
        Values::I64(attributes.ints("cats_int64s")?.to_vec())
    } else {
        Values::Bytes(texts.to_vec())
    };
    let zeros = attributes.flag("zeros", true)?;
    Ok(Box::new(OneHot { places: Places::new(&keys)?, count: keys.len(), zeros }))
}

impl Kernel for OneHot {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let found = self.places.find(x.values())?;
        if !self.zeros && found.iter().any(Option::is_none) {
            return Err("a category that the model does not know".to_owned());
        }
        let mut shape = x.shape().to_vec();
        shape.push(self.count);
        let mut values = vec![0.0; call.bounded(&shape)?];
        if self.count > 0 {
            for (row, place) in values.chunks_exact_mut(self.count).zip(found) {
                if let Some(cell) = place.and_then(|place| row.get_mut(place as usize)) {
                    *cell = 1.0;
                }
            }
        }
        call.give(shape, Values::F32(values))
    }

    fn memory_bytes(&self) -> u64 {
        self.places.memory_bytes()
    }
}
