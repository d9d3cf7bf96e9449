//! Hashes of cells and rows over Arrow arrays, for counting and comparing. Not for identity: that is BLAKE3.
