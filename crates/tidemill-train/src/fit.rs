//! The whole training: split, cross-validation or search, fit, evaluation, outputs.
