//! From the store into the workspace.

use crate::{Entry, StatCache};

/// How [`crate::Store::checkout`] treats what is already there.
#[derive(Clone, Copy, Default)]
pub struct Checkout<'a> {
    /// Overwrite and remove files whose content is neither expected nor in the store.
    pub force: bool,
    /// Remove files below a folder that are not in the tree, so that the folder equals it.
    pub remove_extra: bool,
    /// What the destination held when it was last in a known state; files that still equal it may be replaced.
    pub expected: Option<&'a Entry>,
    /// Spares reading unchanged files, and learns what was checked out.
    pub stat: Option<&'a StatCache>,
}
