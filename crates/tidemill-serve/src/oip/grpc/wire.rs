//! The wire format of protocol buffers, field by field: what a request's tensors are read from without a message in
//! between (the guide "Encoding" of Protocol Buffers). A length is checked before anything is taken.

use crate::InferError;

/// A field's value as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

#[cold]
pub(super) fn malformed(why: &str) -> InferError {
    InferError::Invalid(format!("the request is not the protocol's message: {why}"))
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, InferError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        if number == 0 {
            return Err(malformed("a field without a number"));
        }
        let value = match tag & 7 {
            0 => Field::Varint(varint(&mut self.rest)?),
            1 => Field::Fixed64(self.array()?),
            2 => {
                let length = varint(&mut self.rest)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
                    return Err(malformed("a field is longer than its message"));
                };
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(self.array()?),
            _ => return Err(malformed("a field of an unknown kind")),
        };
        Ok(Some((number, value)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InferError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(malformed("a number is cut off"));
        };
        self.rest = rest;
        Ok(*bytes)
    }
}

/// A variable-length integer, of at most ten bytes.
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, InferError> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let Some((byte, after)) = rest.split_first() else { return Err(malformed("a number is cut off")) };
        *rest = after;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            break;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number of more than 64 bits"))
}

impl<'a> Field<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], InferError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(malformed("a number stands where a text or a message should")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, InferError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed("a text is not UTF-8"))
    }

    pub(super) fn number(self) -> Result<u64, InferError> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(malformed("a field is no whole number and should be one")),
        }
    }
}

/// The numbers of a repeated field: one of them, or many packed into one value.
pub(super) fn varints(
    field: Field<'_>,
    mut each: impl FnMut(u64) -> Result<(), InferError>,
) -> Result<(), InferError> {
    match field {
        Field::Varint(number) => each(number),
        Field::Bytes(mut packed) => {
            while !packed.is_empty() {
                each(varint(&mut packed)?)?;
            }
            Ok(())
        }
        _ => Err(malformed("a list of whole numbers holds something else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_as_they_are_written() {
        let message = b"\x08\x96\x01\x12\x02hi\x1d\0\0\x80\x3f\x21\0\0\0\0\0\0\xf0\x3f";
        let mut fields = Fields::of(message);
        assert_eq!(fields.next().unwrap(), Some((1, Field::Varint(150))));
        assert_eq!(fields.next().unwrap(), Some((2, Field::Bytes(b"hi"))));
        assert_eq!(fields.next().unwrap(), Some((3, Field::Fixed32(1.0_f32.to_le_bytes()))));
        assert_eq!(fields.next().unwrap(), Some((4, Field::Fixed64(1.0_f64.to_le_bytes()))));
        assert_eq!(fields.next().unwrap(), None);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let texts: [&[u8]; 8] = [
            b"\x08",
            b"\x00\x01",
            b"\x0b",
            b"\x0d\0\0\0",
            b"\x09\0\0\0\0\0\0\0",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\x05abcd",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ];
        for text in texts {
            assert!(Fields::of(text).next().is_err(), "{text:?}");
        }
        let mut most: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(varint(&mut most).unwrap(), u64::MAX);
    }
}
