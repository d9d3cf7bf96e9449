//! Artifacts: paths of URIs, files in the store.
