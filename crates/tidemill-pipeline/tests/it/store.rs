//! The same over the real store: runs, restores, and reproduction.
