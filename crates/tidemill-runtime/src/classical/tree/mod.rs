//! Tree ensembles: `TreeEnsembleRegressor`, `TreeEnsembleClassifier` and `TreeEnsemble` of `ai.onnx.ml`.

mod aggregate;
mod build;
mod classifier;
mod ensemble;
mod forest;
mod grow;
mod node;
mod regressor;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign, Div};

use crate::Tensor;

use super::kernel::{Outcome, doubles, floats, rows_and_width};
pub(crate) use classifier::classifier;
pub(crate) use ensemble::ensemble;
pub(crate) use forest::Forest;
pub(crate) use regressor::regressor;

/// The numbers in which an ensemble compares and sums: 32 bits, or 64 where its input has them.
pub(crate) trait Real:
    Copy + PartialOrd + Add<Output = Self> + AddAssign + Div<Output = Self> + fmt::Debug + Send + Sync + 'static
{
    const ZERO: Self;

    fn from_f64(value: f64) -> Self;
    fn from_f32(value: f32) -> Self;
    fn to_f32(self) -> f32;
    fn is_missing(self) -> bool;
    /// The largest number below this one.
    fn below(self) -> Self;
    /// The numbers of a tensor.
    fn read(tensor: &Tensor) -> Outcome<Cow<'_, [Self]>>;
}

impl Real for f32 {
    const ZERO: Self = 0.0;

    fn from_f64(value: f64) -> Self {
        value as Self
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn to_f32(self) -> f32 {
        self
    }

    fn is_missing(self) -> bool {
        self.is_nan()
    }

    fn below(self) -> Self {
        self.next_down()
    }

    fn read(tensor: &Tensor) -> Outcome<Cow<'_, [Self]>> {
        floats(tensor)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }

    fn to_f32(self) -> f32 {
        self as f32
    }

    fn is_missing(self) -> bool {
        self.is_nan()
    }

    fn below(self) -> Self {
        self.next_down()
    }

    fn read(tensor: &Tensor) -> Outcome<Cow<'_, [Self]>> {
        doubles(tensor)
    }
}

/// The rows of a call that a forest can walk: values, how many rows, features of each.
pub(crate) fn rows<'a, T: Real>(forest: &Forest<T>, x: &'a Tensor) -> Outcome<(Cow<'a, [T]>, usize, usize)> {
    let (rows, width) = rows_and_width(x)?;
    if width < forest.width() {
        return Err(format!("the trees use {} features and were given {width}", forest.width()));
    }
    Ok((T::read(x)?, rows, width))
}
