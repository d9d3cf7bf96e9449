//! Numbers and texts as bytes, and back with every length checked against what is there.

/// Writes.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number in as few groups of seven bits as it needs, lowest first.
    pub(super) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number that may be negative: 0, −1, 1, −2, …
    pub(super) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(super) fn float(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn word(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads; an error says what is wrong.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// What reading gives.
pub(super) type Read<T> = Result<T, String>;

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        if length > self.0.len() {
            return Err("it ends too early".to_owned());
        }
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Read<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number does not fit 64 bits".to_owned())
    }

    pub(super) fn signed(&mut self) -> Read<i64> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of things of at least `size` bytes each; never more than there is room for.
    pub(super) fn length(&mut self, size: usize) -> Read<usize> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count.saturating_mul(size.max(1)) > self.0.len() {
            return Err(format!("it says that {count} things follow, and ends too early"));
        }
        Ok(count)
    }

    pub(super) fn float(&mut self) -> Read<f64> {
        Ok(f64::from_bits(self.word()?))
    }

    pub(super) fn word(&mut self) -> Read<u64> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ]))
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        let length = self.length(1)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8".to_owned())
    }

    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            other => Err(format!("{other} stands where only 0 or 1 can")),
        }
    }

    /// `length` things.
    pub(super) fn many<T>(
        &mut self,
        size: usize,
        mut read: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let count = self.length(size)?;
        // Room for all that are said to come is only made as they come: a thing may be much larger than its bytes.
        let mut things = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            things.push(read(self)?);
        }
        Ok(things)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        let numbers = [0, 1, 127, 128, 300, u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX];
        numbers.iter().for_each(|&n| writer.number(n));
        signed.iter().for_each(|&n| writer.signed(n));
        writer.text("é");
        writer.option(Some(1.5), Writer::float);
        writer.option(None, Writer::float);
        let mut reader = Reader(&writer.0);
        assert_eq!(numbers.map(|_| reader.number().unwrap()), numbers);
        assert_eq!(signed.map(|_| reader.signed().unwrap()), signed);
        assert_eq!(reader.text().unwrap(), "é");
        assert_eq!(reader.option(Reader::float).unwrap(), Some(1.5));
        assert_eq!(reader.option(Reader::float).unwrap(), None);
        assert!(reader.byte().is_err());
    }

    #[test]
    fn lengths_that_are_not_there_are_refused() {
        let mut writer = Writer::default();
        writer.number(u64::MAX);
        assert!(Reader(&writer.0).length(8).is_err());
        assert!(Reader(&[0xff; 12]).number().is_err());
        assert!(Reader(&[2, b'a', 0xff]).text().is_err());
        assert!(Reader(&[7]).option(Reader::byte).is_err());
    }
}
