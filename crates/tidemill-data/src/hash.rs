//! Hashes of cells and rows over Arrow arrays, for counting and comparing within one process.
//!
//! They are the same on every machine, but are not made against an adversary; identity of content is BLAKE3.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use twox_hash::XxHash3_64;

use crate::Error;

const NULL: u64 = 0x6c62_272e_07bb_0142;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes all bits of two words: the folded product, as wyhash and its successors do.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ MULTIPLIER).wrapping_mul(u128::from(b ^ 0xd6e8_feb8_6659_fd93));
    (product as u64) ^ ((product >> 64) as u64)
}

pub(crate) fn word(value: u64, seed: u64) -> u64 {
    // Twice, so that small differences reach every bit.
    mix(mix(value, seed), MULTIPLIER)
}

/// The hash of every cell of `array`. Equal values of one class have equal hashes whatever their width: whole
/// numbers as 64 bits, floats as double precision with one zero and one NaN, times as nanoseconds.
pub(crate) fn cells(array: &ArrayRef, seed: u64) -> Result<Vec<u64>, Error> {
    let mut hashes = Vec::with_capacity(array.len());
    cells_into(array, seed, &mut hashes)?;
    Ok(hashes)
}

macro_rules! primitive {
    ($array:expr, $kind:ty, $out:expr, $hash:expr) => {{
        let array = $array.as_primitive::<$kind>();
        let hash = $hash;
        if array.null_count() == 0 {
            $out.extend(array.values().iter().map(|&value| hash(value)));
        } else {
            $out.extend(array.iter().map(|value| value.map_or(NULL, &hash)));
        }
    }};
}

fn cells_into(array: &ArrayRef, seed: u64, out: &mut Vec<u64>) -> Result<(), Error> {
    let whole = |value: i64| word(value as u64, seed);
    let wide = |value: i128| mix(word(value as u64, seed), (value >> 64) as u64);
    let nanos = |value: i64, factor: i128| wide(i128::from(value) * factor);
    let text = |value: &[u8]| XxHash3_64::oneshot_with_seed(seed, value);
    match array.data_type() {
        DataType::Boolean => {
            out.extend(
                array.as_boolean().iter().map(|value| value.map_or(NULL, |value| whole(i64::from(value)))),
            );
        }
        DataType::Int8 => primitive!(array, Int8Type, out, |v| whole(i64::from(v))),
        DataType::Int16 => primitive!(array, Int16Type, out, |v| whole(i64::from(v))),
        DataType::Int32 => primitive!(array, Int32Type, out, |v| whole(i64::from(v))),
        DataType::Int64 => primitive!(array, Int64Type, out, whole),
        DataType::UInt8 => primitive!(array, UInt8Type, out, |v| whole(i64::from(v))),
        DataType::UInt16 => primitive!(array, UInt16Type, out, |v| whole(i64::from(v))),
        DataType::UInt32 => primitive!(array, UInt32Type, out, |v| whole(i64::from(v))),
        DataType::UInt64 => primitive!(array, UInt64Type, out, |v: u64| word(v, seed)),
        DataType::Float32 => primitive!(array, Float32Type, out, |v| float(f64::from(v), seed)),
        DataType::Float64 => primitive!(array, Float64Type, out, |v| float(v, seed)),
        DataType::Date32 => primitive!(array, Date32Type, out, |v| whole(i64::from(v))),
        DataType::Date64 => primitive!(array, Date64Type, out, |v: i64| whole(v.div_euclid(86_400_000))),
        DataType::Decimal128(_, _) => primitive!(array, Decimal128Type, out, wide),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => primitive!(array, TimestampSecondType, out, |v| nanos(v, 1_000_000_000)),
            TimeUnit::Millisecond => {
                primitive!(array, TimestampMillisecondType, out, |v| nanos(v, 1_000_000));
            }
            TimeUnit::Microsecond => primitive!(array, TimestampMicrosecondType, out, |v| nanos(v, 1000)),
            TimeUnit::Nanosecond => primitive!(array, TimestampNanosecondType, out, |v| nanos(v, 1)),
        },
        DataType::Utf8 => {
            out.extend(array.as_string::<i32>().iter().map(|v| v.map_or(NULL, |v| text(v.as_bytes()))));
        }
        DataType::LargeUtf8 => {
            out.extend(array.as_string::<i64>().iter().map(|v| v.map_or(NULL, |v| text(v.as_bytes()))));
        }
        DataType::Utf8View => {
            out.extend(array.as_string_view().iter().map(|v| v.map_or(NULL, |v| text(v.as_bytes()))));
        }
        DataType::Binary => out.extend(array.as_binary::<i32>().iter().map(|v| v.map_or(NULL, text))),
        DataType::LargeBinary => out.extend(array.as_binary::<i64>().iter().map(|v| v.map_or(NULL, text))),
        DataType::BinaryView => out.extend(array.as_binary_view().iter().map(|v| v.map_or(NULL, text))),
        DataType::Null => out.extend(std::iter::repeat_n(NULL, array.len())),
        DataType::Dictionary(_, _) => dictionary(array, seed, out)?,
        DataType::Float16 => {
            let array = cast(array, &DataType::Float64).map_err(Error::arrow("hash a column"))?;
            cells_into(&array, seed, out)?;
        }
        _ => {
            // Nested and rare types by their text.
            let options = FormatOptions::new();
            let shown = ArrayFormatter::try_new(array, &options).map_err(Error::arrow("hash a column"))?;
            for row in 0..array.len() {
                let null = array.is_null(row);
                out.push(if null { NULL } else { text(shown.value(row).to_string().as_bytes()) });
            }
        }
    }
    Ok(())
}

/// Hashes each entry of the dictionary once.
fn dictionary(array: &ArrayRef, seed: u64, out: &mut Vec<u64>) -> Result<(), Error> {
    let array = array.as_any_dictionary();
    let values = cells(array.values(), seed)?;
    let keys = array.normalized_keys();
    let nulls = array.nulls();
    let hash = |(row, key): (usize, usize)| {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            NULL
        } else {
            values.get(key).copied().unwrap_or(NULL)
        }
    };
    out.extend(keys.into_iter().enumerate().map(hash));
    Ok(())
}

fn float(value: f64, seed: u64) -> u64 {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    word(value.to_bits(), seed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float32Array, Float64Array, Int8Array, Int64Array, StringArray};

    use super::*;

    fn of(array: impl Array + 'static) -> Vec<u64> {
        cells(&(Arc::new(array) as ArrayRef), 7).unwrap()
    }

    #[test]
    fn equal_values_hash_alike_whatever_their_width() {
        assert_eq!(of(Int8Array::from(vec![Some(-1), None])), of(Int64Array::from(vec![Some(-1), None])));
        assert_eq!(of(Float32Array::from(vec![0.5, -0.0])), of(Float64Array::from(vec![0.5, 0.0])));
        let dictionary: DictionaryArray<Int8Type> =
            vec![Some("b"), None, Some("a"), Some("b")].into_iter().collect();
        assert_eq!(of(dictionary), of(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")])));
    }

    #[test]
    fn neighbours_do_not_collide() {
        let hashes = of(Int64Array::from_iter_values(-50_000..50_000));
        let distinct: std::collections::HashSet<u64> = hashes.iter().copied().collect();
        assert_eq!(distinct.len(), 100_000);
        // Every bit is set about half of the time.
        for bit in 0..64 {
            let set = hashes.iter().filter(|hash| *hash >> bit & 1 == 1).count();
            assert!((49_000..51_000).contains(&set), "bit {bit}: {set}");
        }
    }
}
