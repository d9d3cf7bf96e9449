//! Which stored file an artifact is.
