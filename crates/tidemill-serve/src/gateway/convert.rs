//! Fits a tensor of a request to what a model takes: element type and rank, where nothing is lost by it.

use half::{bf16, f16};
use tidemill_runtime::{Dim, ElementType, Slot, Tensor, Values};

/// A tensor that fits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    /// The tensor.
    pub(super) tensor: Tensor,
    /// Whether its numbers had another type before.
    pub(super) is_converted: bool,
}

/// Fits `tensor` to `slot`. Numbers change their type where each of them stays what it is, except that floats may
/// be rounded to fewer bits; text never becomes a number.
///
/// # Errors
///
/// Says what is expected and what was given.
pub(super) fn fit(tensor: Tensor, slot: &Slot) -> Result<Fitted, String> {
    let tensor = reshape(tensor, &slot.shape)?;
    if tensor.element() == slot.element {
        return Ok(Fitted { tensor, is_converted: false });
    }
    let given = tensor.element();
    let shape = tensor.shape().to_vec();
    let values = convert(tensor.values(), slot.element).ok_or_else(|| {
        format!("expected {} and {given} was given, {}", slot.element, loss(given, slot.element))
    })?;
    let tensor = Tensor::new(shape, values).map_err(|error| error.to_string())?;
    Ok(Fitted { tensor, is_converted: true })
}

fn loss(given: ElementType, wanted: ElementType) -> &'static str {
    if given == ElementType::Bytes || wanted == ElementType::Bytes {
        "which are not turned into each other"
    } else {
        "with a value that the expected type cannot hold"
    }
}

/// A vector is also a matrix of one column, and the other way round.
fn reshape(tensor: Tensor, wanted: &[Dim]) -> Result<Tensor, String> {
    let given = tensor.shape();
    if given.len() == wanted.len() {
        let fits = given.iter().zip(wanted).all(|(size, dim)| match dim {
            Dim::Fixed(wanted) => size == wanted,
            Dim::Any(_) => true,
        });
        return if fits { Ok(tensor) } else { Err(wrong_shape(given, wanted)) };
    }
    let shape = match (given, wanted) {
        ([rows], [first, Dim::Fixed(1) | Dim::Any(_)]) if takes(first, *rows) => vec![*rows, 1],
        ([rows, 1], [first]) if takes(first, *rows) => vec![*rows],
        _ => return Err(wrong_shape(given, wanted)),
    };
    Tensor::new(shape, tensor.into_values()).map_err(|error| error.to_string())
}

fn takes(dim: &Dim, size: usize) -> bool {
    match dim {
        Dim::Fixed(wanted) => *wanted == size,
        Dim::Any(_) => true,
    }
}

fn wrong_shape(given: &[usize], wanted: &[Dim]) -> String {
    let wanted: Vec<String> = wanted
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Any(_) => "any".to_owned(),
        })
        .collect();
    format!("expected the shape [{}] and {given:?} was given", wanted.join(", "))
}

/// A whole number of any type of the protocols.
type Whole = i128;

/// The values as another type; none where one of them is not to be had in it.
fn convert(values: &Values, wanted: ElementType) -> Option<Values> {
    if let Some(floats) = floats(values) {
        return match wanted {
            ElementType::F64 => Some(Values::F64(floats)),
            ElementType::F32 => floats
                .iter()
                .map(|value| {
                    let narrow = *value as f32;
                    (narrow.is_finite() || !value.is_finite()).then_some(narrow)
                })
                .collect::<Option<_>>()
                .map(Values::F32),
            ElementType::F16 => narrow(&floats, f16::from_f64, f16::is_finite).map(Values::F16),
            ElementType::Bf16 => narrow(&floats, bf16::from_f64, bf16::is_finite).map(Values::Bf16),
            _ => {
                let whole = floats.iter().map(|value| {
                    // Beyond 2^53 floats are not whole numbers that somebody meant.
                    let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
                    exact.then_some(*value as Whole)
                });
                integers(whole, wanted)
            }
        };
    }
    let whole = wholes(values)?;
    match wanted {
        ElementType::F64 => Some(Values::F64(whole.iter().map(|value| *value as f64).collect())),
        ElementType::F32 => Some(Values::F32(whole.iter().map(|value| *value as f32).collect())),
        ElementType::F16 | ElementType::Bf16 => {
            let floats: Vec<f64> = whole.iter().map(|value| *value as f64).collect();
            convert(&Values::F64(floats), wanted)
        }
        _ => integers(whole.into_iter().map(Some), wanted),
    }
}

fn narrow<T: Copy>(values: &[f64], from: fn(f64) -> T, is_finite: fn(T) -> bool) -> Option<Vec<T>> {
    let one = |value: &f64| {
        let narrow = from(*value);
        (is_finite(narrow) || !value.is_finite()).then_some(narrow)
    };
    values.iter().map(one).collect()
}

fn floats(values: &Values) -> Option<Vec<f64>> {
    Some(match values {
        Values::F64(values) => values.clone(),
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Values::F16(values) => values.iter().map(|value| value.to_f64()).collect(),
        Values::Bf16(values) => values.iter().map(|value| value.to_f64()).collect(),
        _ => return None,
    })
}

fn wholes(values: &Values) -> Option<Vec<Whole>> {
    macro_rules! each {
        ($values:expr) => {
            $values.iter().map(|value| Whole::from(*value)).collect()
        };
    }
    Some(match values {
        Values::Bool(values) => values.iter().map(|value| Whole::from(u8::from(*value))).collect(),
        Values::U8(values) => each!(values),
        Values::U16(values) => each!(values),
        Values::U32(values) => each!(values),
        Values::U64(values) => each!(values),
        Values::I8(values) => each!(values),
        Values::I16(values) => each!(values),
        Values::I32(values) => each!(values),
        Values::I64(values) => each!(values),
        _ => return None,
    })
}

fn integers(values: impl Iterator<Item = Option<Whole>>, wanted: ElementType) -> Option<Values> {
    macro_rules! each {
        ($kind:ident, $type:ty) => {
            values.map(|value| <$type>::try_from(value?).ok()).collect::<Option<_>>().map(Values::$kind)
        };
    }
    match wanted {
        ElementType::Bool => values
            .map(|value| match value? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })
            .collect::<Option<_>>()
            .map(Values::Bool),
        ElementType::U8 => each!(U8, u8),
        ElementType::U16 => each!(U16, u16),
        ElementType::U32 => each!(U32, u32),
        ElementType::U64 => each!(U64, u64),
        ElementType::I8 => each!(I8, i8),
        ElementType::I16 => each!(I16, i16),
        ElementType::I32 => each!(I32, i32),
        ElementType::I64 => each!(I64, i64),
        ElementType::F16 | ElementType::Bf16 | ElementType::F32 | ElementType::F64 | ElementType::Bytes => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(element: ElementType, shape: Vec<Dim>) -> Slot {
        Slot { name: "x".to_owned(), element, shape, optional: false }
    }

    fn column(element: ElementType) -> Slot {
        slot(element, vec![Dim::Any(None), Dim::Fixed(1)])
    }

    #[test]
    fn types_change_where_nothing_is_lost() {
        let tables: [(Values, Values); 9] = [
            (Values::F64(vec![0.1]), Values::F32(vec![0.1])),
            (Values::F64(vec![f64::NAN]), Values::F32(vec![f32::NAN])),
            (Values::I64(vec![7]), Values::F32(vec![7.0])),
            (Values::F64(vec![7.0]), Values::I64(vec![7])),
            (Values::I64(vec![-7]), Values::I8(vec![-7])),
            (Values::U64(vec![u64::MAX]), Values::F64(vec![u64::MAX as f64])),
            (Values::Bool(vec![true]), Values::F64(vec![1.0])),
            (Values::I64(vec![1, 0]), Values::Bool(vec![true, false])),
            (Values::F32(vec![0.5]), Values::F16(vec![f16::from_f32(0.5)])),
        ];
        for (given, expect) in tables {
            let got = fit(Tensor::vector(given.clone()), &column(expect.element())).unwrap();
            assert!(got.is_converted);
            assert_eq!(format!("{:?}", got.tensor.values()), format!("{expect:?}"), "{given:?}");
            assert_eq!(got.tensor.shape(), [expect.len(), 1]);
        }
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        for (given, wanted) in [
            (Values::F64(vec![1e300]), ElementType::F32),
            (Values::F64(vec![0.5]), ElementType::I64),
            (Values::F64(vec![f64::NAN]), ElementType::I64),
            (Values::F64(vec![1e300]), ElementType::I64),
            (Values::I64(vec![300]), ElementType::U8),
            (Values::I64(vec![-1]), ElementType::U64),
            (Values::I64(vec![2]), ElementType::Bool),
            (Values::I64(vec![100_000]), ElementType::F16),
            (Values::Bytes(vec![b"1".to_vec()]), ElementType::F64),
            (Values::F64(vec![1.0]), ElementType::Bytes),
        ] {
            assert!(fit(Tensor::vector(given.clone()), &column(wanted)).is_err(), "{given:?} as {wanted}");
        }
    }

    #[test]
    fn a_column_may_come_as_a_vector_or_a_matrix() {
        let floats = |shape: &[usize]| {
            Tensor::new(shape.to_vec(), Values::F32(vec![0.0; shape.iter().product()])).unwrap()
        };
        let any = || Dim::Any(None);
        for (given, wanted, expect) in [
            (vec![3], vec![any(), Dim::Fixed(1)], Some(vec![3, 1])),
            (vec![3, 1], vec![any()], Some(vec![3])),
            (vec![3, 2], vec![any(), Dim::Fixed(2)], Some(vec![3, 2])),
            (vec![3, 2], vec![any(), any()], Some(vec![3, 2])),
            (vec![3, 2], vec![any(), Dim::Fixed(4)], None),
            (vec![3], vec![any(), Dim::Fixed(4)], None),
            (vec![3, 2], vec![any()], None),
            (vec![3], vec![Dim::Fixed(1), Dim::Fixed(1)], None),
        ] {
            let got = fit(floats(&given), &slot(ElementType::F32, wanted.clone()));
            assert_eq!(got.ok().map(|fitted| fitted.tensor.shape().to_vec()), expect, "{given:?} {wanted:?}");
        }
        let why = fit(floats(&[3, 2]), &slot(ElementType::F32, vec![any(), Dim::Fixed(4)])).unwrap_err();
        assert_eq!(why, "expected the shape [any, 4] and [3, 2] was given");
    }
}
