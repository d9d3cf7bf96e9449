//! Operators that put columns together or pick them: `FeatureVectorizer`, `ArrayFeatureExtractor`, `DictVectorizer`,
//! `ZipMap`.

use super::kernel::{
    Built, Call, Kernel, Outcome, Refusal, Surroundings, floats, ints, rows_and_width, wrong_type,
};
use crate::Values;

#[derive(Debug)]
struct FeatureVectorizer(Vec<usize>);

/// Builds `FeatureVectorizer`: all inputs side by side as 32-bit floats, cut or filled up to the declared widths.
pub(crate) fn feature_vectorizer(around: &Surroundings<'_>) -> Built {
    let widths = around.node.attributes.ints("inputdimensions")?;
    let widths = widths
        .iter()
        .map(|width| usize::try_from(*width).map_err(|_| format!("an input of width {width}")))
        .collect::<Result<Vec<usize>, String>>()?;
    if widths.len() != around.node.inputs.len() {
        let why = format!("{} widths for {} inputs", widths.len(), around.node.inputs.len());
        return Err(Refusal::Malformed(why));
    }
    Ok(Box::new(FeatureVectorizer(widths)))
}

impl Kernel for FeatureVectorizer {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (rows, _) = rows_and_width(call.tensor(0)?)?;
        let total = self.0.iter().try_fold(0_usize, |sum, width| sum.checked_add(*width));
        let total = total.ok_or_else(|| "too many columns".to_owned())?;
        let mut values = vec![0.0; call.bounded(&[rows, total])?];
        let mut start = 0;
        for (index, wanted) in self.0.iter().enumerate() {
            let input = call.tensor(index)?;
            let (own_rows, width) = rows_and_width(input)?;
            if own_rows != rows {
                return Err(format!("inputs of {rows} and {own_rows} rows"));
            }
            let own = floats(input)?;
            let both = width.min(*wanted);
            if both > 0 {
                for (from, to) in own.chunks_exact(width).zip(values.chunks_exact_mut(total)) {
                    to[start..start + both].copy_from_slice(&from[..both]);
                }
            }
            start += wanted;
        }
        call.give(vec![rows, total], Values::F32(values))
    }
}

#[derive(Debug)]
struct ArrayFeatureExtractor;

/// Builds `ArrayFeatureExtractor`: some places of the last dimension.
pub(crate) fn array_feature_extractor(_: &Surroundings<'_>) -> Built {
    Ok(Box::new(ArrayFeatureExtractor))
}

impl Kernel for ArrayFeatureExtractor {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.tensor(0)?;
        let Some(&width) = x.shape().last() else { return Err("a scalar".to_owned()) };
        let places = ints(call.tensor(1)?)?
            .iter()
            .map(|place| usize::try_from(*place).ok().filter(|place| *place < width))
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| format!("a place beyond the {width} columns"))?;
        let mut shape = if x.shape().len() == 1 { vec![1, 0] } else { x.shape().to_vec() };
        if let Some(last) = shape.last_mut() {
            *last = places.len();
        }
        call.bounded(&shape)?;
        macro_rules! each {
            ($($kind:ident),*) => {
                match x.values() {
                    $(Values::$kind(values) => Values::$kind(
                        values
                            .chunks_exact(width.max(1))
                            .flat_map(|row| places.iter().map(|place| row[*place].clone()))
                            .collect(),
                    ),)*
                    other => return wrong_type(other.element()),
                }
            };
        }
        let values = each!(F32, F64, I64, I32, Bytes, Bool);
        call.give(shape, values)
    }
}

/// A map that stands as a row of a matrix already; only its width is checked.
#[derive(Debug)]
struct MapAsRow {
    keys: usize,
    zip: bool,
}

/// Builds `DictVectorizer`. Its input is a matrix here, with one column for each word of the vocabulary.
pub(crate) fn dict_vectorizer(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let keys = attributes.texts("string_vocabulary")?.len().max(attributes.ints("int64_vocabulary")?.len());
    Ok(Box::new(MapAsRow { keys, zip: false }))
}

/// Builds `ZipMap`. Its output is a matrix here, with one column for each class label.
pub(crate) fn zip_map(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let keys =
        attributes.texts("classlabels_strings")?.len().max(attributes.ints("classlabels_int64s")?.len());
    Ok(Box::new(MapAsRow { keys, zip: true }))
}

impl Kernel for MapAsRow {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let x = call.take(0)?;
        let (rows, width) = rows_and_width(&x)?;
        if width != self.keys {
            return Err(format!("{width} columns for {} keys", self.keys));
        }
        if self.zip {
            let values = floats(&x)?.into_owned();
            return call.give(vec![rows, width], Values::F32(values));
        }
        call.give(vec![rows, width], x.into_values())
    }
}
