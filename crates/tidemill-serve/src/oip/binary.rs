//! Values of tensors as bytes: little endian, one after another; byte strings with their length before them
//! (the "binary tensor data" extension, and `raw_input_contents` of gRPC).

use half::{bf16, f16};
use tidemill_runtime::{ElementType, Values};

macro_rules! fixed {
    ($bytes:expr, $kind:ty) => {
        $bytes
            .as_chunks::<{ size_of::<$kind>() }>()
            .0
            .iter()
            .map(|chunk| <$kind>::from_le_bytes(*chunk))
            .collect()
    };
}

/// `count` values of a type; they must take all bytes.
pub(super) fn read(bytes: &[u8], element: ElementType, count: usize) -> Result<Values, String> {
    if let Some(size) = element.size() {
        let takes = count.checked_mul(size);
        if takes != Some(bytes.len()) {
            let takes =
                takes.map_or_else(|| "more bytes than there can be".to_owned(), |n| format!("{n} bytes"));
            return Err(format!("{} bytes were given and {count} of {element} take {takes}", bytes.len()));
        }
    }
    Ok(match element {
        ElementType::Bool => match bytes.iter().find(|byte| **byte > 1) {
            Some(other) => return Err(format!("a bool is 0 or 1, and {other} was given")),
            None => Values::Bool(bytes.iter().map(|byte| *byte == 1).collect()),
        },
        ElementType::U8 => Values::U8(bytes.to_vec()),
        ElementType::U16 => Values::U16(fixed!(bytes, u16)),
        ElementType::U32 => Values::U32(fixed!(bytes, u32)),
        ElementType::U64 => Values::U64(fixed!(bytes, u64)),
        ElementType::I8 => Values::I8(fixed!(bytes, i8)),
        ElementType::I16 => Values::I16(fixed!(bytes, i16)),
        ElementType::I32 => Values::I32(fixed!(bytes, i32)),
        ElementType::I64 => Values::I64(fixed!(bytes, i64)),
        ElementType::F16 => Values::F16(fixed!(bytes, f16)),
        ElementType::Bf16 => Values::Bf16(fixed!(bytes, bf16)),
        ElementType::F32 => Values::F32(fixed!(bytes, f32)),
        ElementType::F64 => Values::F64(fixed!(bytes, f64)),
        ElementType::Bytes => Values::Bytes(strings(bytes, count)?),
    })
}

fn strings(mut rest: &[u8], count: usize) -> Result<Vec<Vec<u8>>, String> {
    // Each takes at least its length, so a declared count alone reserves nothing.
    if count > rest.len() / 4 {
        return Err(format!("{count} strings do not fit into {} bytes", rest.len()));
    }
    let mut strings = Vec::with_capacity(count);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((string, after)) = after.split_at_checked(length) else {
            return Err(format!("string {} has {length} bytes and {} are left", strings.len(), after.len()));
        };
        if strings.len() == count {
            return Err(format!("there are more strings than the {count} of the shape"));
        }
        strings.push(string.to_vec());
        rest = after;
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes are left over after {} strings", rest.len(), strings.len()));
    }
    if strings.len() != count {
        return Err(format!("there are {} strings and the shape has {count}", strings.len()));
    }
    Ok(strings)
}

/// How many bytes [`write`] appends.
pub(super) fn size(values: &Values) -> usize {
    match values {
        Values::Bytes(strings) => strings.iter().map(|string| 4 + string.len()).sum(),
        other => other.len() * other.element().size().unwrap_or(1),
    }
}

/// Appends the values. A byte string beyond 4 GiB, which the format cannot express, is cut; no answer has one.
pub(super) fn write(values: &Values, out: &mut Vec<u8>) {
    macro_rules! each {
        ($vector:expr) => {
            for value in $vector {
                out.extend_from_slice(&value.to_le_bytes());
            }
        };
    }
    out.reserve(size(values));
    match values {
        Values::Bool(vector) => out.extend(vector.iter().map(|value| u8::from(*value))),
        Values::U8(vector) => out.extend_from_slice(vector),
        Values::U16(vector) => each!(vector),
        Values::U32(vector) => each!(vector),
        Values::U64(vector) => each!(vector),
        Values::I8(vector) => each!(vector),
        Values::I16(vector) => each!(vector),
        Values::I32(vector) => each!(vector),
        Values::I64(vector) => each!(vector),
        Values::F16(vector) => each!(vector),
        Values::Bf16(vector) => each!(vector),
        Values::F32(vector) => each!(vector),
        Values::F64(vector) => each!(vector),
        Values::Bytes(strings) => {
            for string in strings {
                let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(string.get(..length as usize).unwrap_or(string));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        for values in [
            Values::Bool(vec![true, false]),
            Values::U8(vec![1, 255]),
            Values::U16(vec![0x1234]),
            Values::U32(vec![u32::MAX, 1]),
            Values::U64(vec![u64::MAX]),
            Values::I8(vec![-1]),
            Values::I16(vec![-2, 3]),
            Values::I32(vec![i32::MIN]),
            Values::I64(vec![i64::MIN, 5]),
            Values::F16(vec![f16::from_f32(1.5)]),
            Values::Bf16(vec![bf16::from_f32(-2.0)]),
            Values::F32(vec![0.1, f32::INFINITY]),
            Values::F64(vec![0.1]),
            Values::Bytes(vec![b"".to_vec(), vec![0xff, 0], b"text".to_vec()]),
        ] {
            let mut bytes = Vec::new();
            write(&values, &mut bytes);
            assert_eq!(bytes.len(), size(&values));
            assert_eq!(read(&bytes, values.element(), values.len()).as_ref(), Ok(&values));
            assert!(read(&bytes[..bytes.len() - 1], values.element(), values.len()).is_err());
            assert!(read(&bytes, values.element(), values.len() + 1).is_err());
            assert!(read(&bytes, values.element(), values.len() - 1).is_err());
        }
        let mut little = Vec::new();
        write(&Values::I32(vec![1]), &mut little);
        assert_eq!(little, [1, 0, 0, 0]);
    }

    #[test]
    fn declared_sizes_reserve_nothing() {
        for count in [usize::MAX, usize::MAX / 4, 1 << 40] {
            assert!(read(b"12345678", ElementType::F64, count).is_err());
            assert!(read(b"\x01\0\0\0a", ElementType::Bytes, count).is_err());
        }
        assert_eq!(
            read(b"\xff\xff\xff\xff", ElementType::Bytes, 1),
            Err("string 0 has 4294967295 bytes and 0 are left".to_owned())
        );
        assert_eq!(read(b"\x02", ElementType::Bool, 1), Err("a bool is 0 or 1, and 2 was given".to_owned()));
    }
}
