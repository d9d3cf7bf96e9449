//! Arrow arrays to numbers and categories.
