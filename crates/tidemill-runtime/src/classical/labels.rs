//! Class labels: texts or whole numbers.

use crate::Values;
use crate::onnx::Attributes;

use super::kernel::Outcome;

/// The labels of a classifier.
#[derive(Clone, Debug)]
pub(crate) enum Labels {
    Texts(Vec<Vec<u8>>),
    Ints(Vec<i64>),
}

impl Labels {
    /// The labels of a node in either of two attributes.
    pub(crate) fn read(attributes: &Attributes, texts: &str, ints: &str) -> Outcome<Self> {
        let strings = attributes.texts(texts)?;
        if !strings.is_empty() {
            return Ok(Self::Texts(strings.to_vec()));
        }
        Ok(Self::Ints(attributes.ints(ints)?.to_vec()))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Ints(ints) => ints.len(),
        }
    }

    /// The labels at these places, in this order. Places beyond the labels were checked when the model was loaded.
    pub(crate) fn pick(&self, places: &[usize]) -> Values {
        match self {
            Self::Texts(texts) => Values::Bytes(places.iter().map(|place| texts[*place].clone()).collect()),
            Self::Ints(ints) => Values::I64(places.iter().map(|place| ints[*place]).collect()),
        }
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Texts(texts) => texts.iter().map(|text| text.len() as u64 + 24).sum(),
            Self::Ints(ints) => ints.len() as u64 * 8,
        }
    }
}
