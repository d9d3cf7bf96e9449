//! Ridge, logistic and softmax regression with an L2 penalty.
//!
//! Numeric columns are standardised, missing numbers take the mean, categories are one-hot with the rare ones
//! sharing a column. No L1, no interactions, no solver choice.

mod cholesky;
mod design;
mod model;
mod newton;
mod ridge;
mod score;

pub use model::{LinearModel, Link, Term};

use tidemill_core::declare::LinearParams;

use crate::frame::{Frame, Target};
use crate::{Error, Result};
use design::Design;

/// How the fitting went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convergence {
    /// Newton steps; 1 for ridge, which is solved directly.
    pub iterations: u32,
    /// Whether the gradient vanished within `max_iterations`.
    pub converged: bool,
}

/// Fits ridge regression to a regression target, logistic regression to two classes, softmax to more.
///
/// The loss is `sum_i w_i loss_i + l2/2 sum of squared coefficients` with the coefficients on standardised columns and
/// free intercepts; for ridge `loss_i` is half the squared error. That is scikit-learn's `Ridge(alpha=l2)` and
/// `LogisticRegression(C=1/l2)` on `StandardScaler` and `OneHotEncoder` columns.
///
/// # Errors
/// [`Error::Parameter`] for parameters out of range or too many columns after one-hot, [`Error::NotFinite`] for an
/// infinite value, [`Error::NoWeight`].
pub fn fit(
    frame: &Frame,
    target: &Target,
    weights: Option<&[f64]>,
    params: &LinearParams,
) -> Result<(LinearModel, Convergence)> {
    check(params)?;
    let ones;
    let weights = match weights {
        Some(weights) => weights,
        None => {
            ones = vec![1.0; frame.rows()];
            &ones
        }
    };
    if !weights.iter().any(|weight| *weight > 0.0) {
        return Err(Error::NoWeight { side: "training" });
    }
    let design = Design::new(frame, weights, params.max_categories as usize)?;
    let (link, solution, convergence) = match target {
        Target::Regression(values) => {
            let solution = ridge::solve(&design, values, weights, params.l2);
            (Link::Identity, vec![solution], Convergence { iterations: 1, converged: true })
        }
        Target::Classes { codes, classes } => {
            let outputs = if classes.len() == 2 { 1 } else { classes.len() };
            let (solution, convergence) = newton::solve(&design, codes, outputs, weights, params);
            (if outputs == 1 { Link::Logistic } else { Link::Softmax }, solution, convergence)
        }
    };
    Ok((design.model(link, &solution), convergence))
}

fn check(params: &LinearParams) -> Result<()> {
    let wrong = |parameter: &str, value: String, expected: &str| Error::Parameter {
        parameter: parameter.into(),
        value,
        expected: expected.into(),
    };
    if !(params.l2.is_finite() && params.l2 >= 0.0) {
        return Err(wrong("l2", params.l2.to_string(), "it must be 0 or more"));
    }
    if params.max_iterations == 0 {
        return Err(wrong("max_iterations", "0".into(), "it must be at least 1"));
    }
    if params.max_categories == 0 {
        return Err(wrong("max_categories", "0".into(), "it must be at least 1"));
    }
    Ok(())
}
