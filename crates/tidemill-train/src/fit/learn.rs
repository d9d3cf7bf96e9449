//! One fit: an algorithm with its parameters on some rows.

use tidemill_core::declare::GbdtParams;
use tidemill_core::{Progress, Unit};

use super::source::{Data, Keys};
use crate::frame::Target;
use crate::gbdt;
use crate::linear;
use crate::metric::Scored;
use crate::model::{Model, Predictor};
use crate::prior::PriorModel;
use crate::report::Curve;
use crate::search::Parameters;
use crate::split::{Draw, Sides, check_classes, hold_out};
use crate::{Error, Result};

/// A model with what its fit found out.
pub(super) struct Learned {
    pub(super) model: Model,
    pub(super) curves: Vec<Curve>,
    /// Boosting rounds that the model has.
    pub(super) rounds: Option<u64>,
    /// What somebody should look at.
    pub(super) warnings: Vec<String>,
    /// The rows that early stopping held out, and the rest; where it did.
    pub(super) sides: Option<Sides>,
}

/// Fits on all rows of `data`; early stopping holds out its share of them by `keys`.
pub(super) fn learn(
    parameters: &Parameters,
    data: &Data,
    keys: &Keys,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Learned> {
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    let weights = data.weights.as_deref();
    match parameters {
        Parameters::Gbdt(params) => boost(params, data, keys, seed, progress),
        Parameters::Ridge(params) | Parameters::Logistic(params) => {
            let (model, convergence) = linear::fit(&data.frame, &data.target, weights, params)?;
            let mut learned = plain(Model::Linear(model));
            if !convergence.converged {
                learned.warnings.push(format!(
                    "the solver stopped after {} iterations before it converged: raise `max_iterations` or `l2`",
                    convergence.iterations
                ));
            }
            Ok(learned)
        }
        Parameters::Prior => Ok(plain(Model::Prior(PriorModel::fit(&data.target, weights)))),
    }
}

fn plain(model: Model) -> Learned {
    Learned { model, curves: Vec::new(), rounds: None, warnings: Vec::new(), sides: None }
}

fn boost(
    params: &GbdtParams,
    data: &Data,
    keys: &Keys,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Learned> {
    let sides = match params.early_stopping {
        Some(_) => Some(split(keys, params.validation_share, seed, Draw::Validation, &data.target)?),
        None => None,
    };
    let parts = sides.as_ref().map(|sides| (data.take(&sides.train), data.take(&sides.test)));
    let (train, validation) = parts.as_ref().map_or((data, None), |(train, valid)| (train, Some(valid)));
    let fitted = gbdt::train(sample(train), validation.map(sample), params, seed, progress)?;
    let loss = match data.target {
        Target::Regression(_) => "mse",
        Target::Classes { .. } => "log_loss",
    };
    let rounds = fitted.model.trees.len() / fitted.model.outputs().max(1);
    let curve = |side: &str, values: Vec<f64>| Curve { name: format!("{side}_{loss}"), values };
    let mut curves = vec![curve("train", fitted.training_loss), curve("validation", fitted.validation_loss)];
    curves.retain(|curve| !curve.values.is_empty());
    Ok(Learned {
        model: Model::Gbdt(fitted.model),
        curves,
        rounds: Some(rounds as u64),
        warnings: Vec::new(),
        sides,
    })
}

fn sample(data: &Data) -> gbdt::Sample<'_> {
    gbdt::Sample { frame: &data.frame, target: &data.target, weights: data.weights.as_deref() }
}

/// Refuses sides that lack a class; returns the classes that the test side lacks.
pub(super) fn check_sides(sides: &Sides, target: &Target, what: &str) -> Result<Vec<usize>> {
    match target {
        Target::Regression(_) => Ok(Vec::new()),
        Target::Classes { codes, classes } => {
            check_classes(sides, codes, classes.len(), what, |class| classes[class].to_string())
        }
    }
}

/// Holds out a share of the rows; errors name classes as the table does.
pub(super) fn split(keys: &Keys, share: f64, seed: u64, draw: Draw, target: &Target) -> Result<Sides> {
    let sides = hold_out(keys.by(), share, seed, draw).map_err(|error| named(error, target))?;
    let what = if draw == Draw::Test { "the split" } else { "the validation split" };
    check_sides(&sides, target, what)?;
    Ok(sides)
}

/// The error with the class's name in place of its number.
pub(super) fn named(error: Error, target: &Target) -> Error {
    let label = |number: &str| Some(target.classes()?.get(number.parse::<usize>().ok()?)?.to_string());
    match error {
        Error::EmptyClass { class, side, what } => {
            Error::EmptyClass { class: label(&class).unwrap_or(class), side, what }
        }
        other => other,
    }
}

/// Answers of a model for rows whose truth is known.
pub(super) fn score(model: &Model, data: &Data) -> Scored {
    data.scored(&model.scores(&data.frame))
}

/// The progress of one fit among several: only the fits are counted.
pub(super) struct Inner<'a>(pub(super) &'a dyn Progress);

impl Progress for Inner<'_> {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
