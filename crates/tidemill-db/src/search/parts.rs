//! What a search found, read a part at a time, so that a long page is never in memory as a whole.

use crate::Result;

/// The rows of a page: of the first part as they were read with the search itself, of the others by number.
pub(crate) struct Parts<T> {
    /// A page of one part is one state of the database.
    first: Vec<T>,
    rest: std::vec::IntoIter<i64>,
    size: usize,
}

impl<T> Parts<T> {
    /// Of these rows, in parts of `size`; `read` gives those of some rows that are still there.
    pub(crate) async fn new<F: Future<Output = Result<Vec<T>>>>(
        ids: Vec<i64>,
        size: usize,
        read: impl FnOnce(Vec<i64>) -> F,
    ) -> Result<Self> {
        let mut rest = ids.into_iter();
        let first = read(rest.by_ref().take(size).collect()).await?;
        Ok(Self { first, rest, size })
    }

    /// What was read already, and the rows of the others.
    pub(crate) fn begun(first: Vec<T>, rest: Vec<i64>, size: usize) -> Self {
        Self { first, rest: rest.into_iter(), size }
    }

    /// The next part in order; empty at the end.
    pub(crate) async fn next<F: Future<Output = Result<Vec<T>>>>(
        &mut self,
        read: impl Fn(Vec<i64>) -> F,
    ) -> Result<Vec<T>> {
        if !self.first.is_empty() {
            return Ok(std::mem::take(&mut self.first));
        }
        loop {
            let ids: Vec<i64> = self.rest.by_ref().take(self.size).collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let found = read(ids).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
}
