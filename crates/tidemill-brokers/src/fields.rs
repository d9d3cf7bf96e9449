//! Fields of binary protocols, most significant byte first, one after the other.

/// Fields that are written.
#[derive(Default)]
pub(crate) struct Out(Vec<u8>);

impl Out {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// A short text; its first 255 bytes.
    pub(crate) fn text8(self, text: &str) -> Self {
        let text = &text.as_bytes()[..text.len().min(255)];
        self.u8(text.len() as u8).raw(text)
    }

    /// A text with two bytes of length; its first 32767 bytes.
    pub(crate) fn text16(self, text: &str) -> Self {
        let text = &text.as_bytes()[..text.len().min(32_767)];
        self.u16(text.len() as u16).raw(text)
    }

    pub(crate) fn text32(self, text: &str) -> Self {
        self.bytes32(text.as_bytes())
    }

    /// A long text, or a table.
    pub(crate) fn bytes32(self, bytes: &[u8]) -> Self {
        self.u32(bytes.len() as u32).raw(bytes)
    }

    /// How many follow, and each of them.
    pub(crate) fn list<T>(
        self,
        items: impl ExactSizeIterator<Item = T>,
        write: impl Fn(Self, T) -> Self,
    ) -> Self {
        let count = self.u32(items.len() as u32);
        items.fold(count, write)
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Fields that are read; `None` where they end early.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn text8(&mut self) -> Option<String> {
        let length = self.u8()?;
        self.bytes(usize::from(length)).map(text)
    }

    /// A text with two bytes of length; empty where there is none, which has the length -1.
    pub(crate) fn text16(&mut self) -> Option<String> {
        let length = self.i16()?.max(0);
        self.bytes(length as usize).map(text)
    }

    /// Bytes with four bytes of length; empty where there are none, which have the length -1.
    pub(crate) fn bytes32(&mut self) -> Option<&'a [u8]> {
        let length = self.i32()?.max(0);
        self.bytes(length as usize)
    }

    /// So many of them. Each must have a byte at least, so that a count alone makes nothing long.
    pub(crate) fn list<T>(
        &mut self,
        count: i32,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        (0..count.max(0)).map(|_| read(self)).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
