//! A wall between foreign bytes and us: a decoder that panics gives an error. Decoders themselves are elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;

use crate::Error;

/// Runs a decoder of `path`; its panic is an error about the file.
pub(super) fn guarded<T>(
    path: &Path,
    format: &'static str,
    decode: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    // The decoder is dropped after a panic, so that no broken invariant of it is seen again.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(Error::Corrupt { path: path.to_owned(), format, why: "its content is inconsistent".to_owned() })
    })
}

/// A stream of batches that ends at its first error or panic.
pub(super) struct Guarded<I> {
    pub(super) path: PathBuf,
    pub(super) format: &'static str,
    pub(super) inner: Option<I>,
}

impl<I, E> Iterator for Guarded<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: std::fmt::Display,
{
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let inner = self.inner.as_mut()?;
        let next = guarded(&self.path, self.format, || {
            inner.next().transpose().map_err(|error| Error::Corrupt {
                path: self.path.clone(),
                format: self.format,
                why: error.to_string(),
            })
        })
        .transpose();
        if !matches!(next, Some(Ok(_))) {
            self.inner = None;
        }
        next
    }
}
