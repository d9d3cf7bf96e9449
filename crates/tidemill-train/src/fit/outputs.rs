//! Predictions, golden rows and the signature.
