//! Ridge, logistic and softmax regression with an L2 penalty.
//!
//! Numeric columns are standardised, missing numbers take the mean, categories are one-hot with the rare ones
//! sharing a column. No L1, no interactions, no solver choice.

mod model;

pub use model::{LinearModel, Link, Term};
