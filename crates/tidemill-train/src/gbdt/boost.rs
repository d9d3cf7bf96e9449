//! The boosting loop.

use std::sync::atomic::{AtomicU16, Ordering};

use rayon::prelude::*;
use tidemill_core::declare::GbdtParams;
use tidemill_core::{Progress, Unit};

use super::bins::{self, Binned, Cuts};
use super::grow::{Grower, Grown, Shaping, Task};
use super::histogram::EMPTY;
use super::loss::{Loss, Observed};
use super::split::{Limits, Shape};
use super::tree::Tree;
use super::{Fitted, GbdtModel, Sample};
use crate::frame::Frame;
use crate::random::{Purpose, Random};
use crate::{Error, Result};

/// The training loss is measured on about so many evenly spaced rows.
const WATCHED_ROWS: usize = 1 << 16;

/// Largest leaf value in steps; a 32-bit float holds each multiple of the step up to here.
const MOST_STEPS: f64 = 16_777_215.0;

/// Rows that one piece of work updates.
const CHUNK: usize = 1 << 14;

/// What every tree of a training shares.
struct Setting<'a> {
    params: &'a GbdtParams,
    loss: Loss,
    cuts: Vec<Cuts>,
    step: f64,
    seed: u64,
}

/// A sample whose raw scores follow the trees.
struct Followed<'a> {
    binned: Binned,
    observed: Observed,
    scores: Vec<Vec<f64>>,
    sample: Sample<'a>,
}

pub(super) fn boost(
    train: Sample<'_>,
    validation: Option<Sample<'_>>,
    params: &GbdtParams,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Fitted> {
    progress.begin("binning", None, Unit::Items);
    let loss = Loss::of(train.target);
    let cuts = bins::learn(train.frame, params.max_bins as usize);
    let binned = Binned::for_training(train.frame, &cuts);
    let observed = Observed::new(train.target, train.weights);
    let exact = loss.start(&observed);
    let step = loss.step(&observed, &exact);
    let start: Vec<f64> = exact.iter().map(|value| f64::from(on_grid(*value, step))).collect();
    let shapes = shapes(train.frame, &binned, &cuts, params);
    let mut watched = validation.map(|sample| Followed {
        binned: binned.for_walking(sample.frame, &cuts),
        observed: Observed::new(sample.target, sample.weights),
        scores: start.iter().map(|&start| vec![start; sample.frame.rows()]).collect(),
        sample,
    });
    let setting = Setting { params, loss, cuts, step, seed };
    let mut state = Followed {
        scores: start.iter().map(|&start| vec![start; binned.rows]).collect(),
        binned,
        observed,
        sample: train,
    };
    let mut fitted = Fitted {
        model: GbdtModel {
            classes: train.target.classes().map_or(0, <[_]>::len),
            start,
            trees: Vec::new(),
            cuts: Vec::new(),
        },
        training_loss: Vec::new(),
        validation_loss: Vec::new(),
    };
    run_rounds(&setting, &mut state, watched.as_mut(), &shapes, &mut fitted, progress)?;
    fitted.model.cuts = setting.cuts;
    Ok(fitted)
}

fn run_rounds(
    setting: &Setting<'_>,
    state: &mut Followed<'_>,
    mut watched: Option<&mut Followed<'_>>,
    shapes: &[Shape],
    fitted: &mut Fitted,
    progress: &dyn Progress,
) -> Result<()> {
    let (params, loss) = (setting.params, setting.loss);
    let outputs = loss.outputs();
    let stride = state.sample.frame.rows().div_ceil(WATCHED_ROWS).max(1);
    let limits = Limits {
        l2: params.l2,
        min_rows: u64::from(params.min_rows_per_leaf.max(1)),
        min_hessian: params.min_hessian,
    };
    let shaping = Shaping { limits, max_leaves: params.max_leaves as usize, max_depth: params.max_depth };
    let Followed { binned, observed, scores, .. } = state;
    let mut grower = Grower::new(binned, shapes, shaping);
    let mut derivatives = vec![vec![EMPTY; binned.rows]; outputs];
    let mut best = (f64::INFINITY, 0);
    progress.begin("boosting", Some(u64::from(params.rounds)), Unit::Items);
    for round in 0..params.rounds {
        let scale = loss.scale(observed, loss.steepest(observed, scores));
        loss.derive(observed, scores, scale, &mut derivatives);
        let rows = sample_rows(setting, round, binned.rows);
        let columns = sample_columns(setting, round, binned.columns.len());
        let mut grew = false;
        for output in 0..outputs {
            let task =
                Task { derivatives: &derivatives[output], scale, rows: rows.as_deref(), columns: &columns };
            let grown = grower.grow(&task, progress)?;
            grew |= !grown.nodes.is_empty();
            let leaves = leaf_values(setting, &grown);
            follow_training(&mut scores[output], grower.leaf_of(), &leaves);
            if let Some(watched) = watched.as_deref_mut() {
                follow(&mut watched.scores[output], &watched.binned, &grown, &leaves);
            }
            fitted.model.trees.push(Tree::new(&grown, leaves, &binned.columns, &setting.cuts));
        }
        progress.advance(1);
        if !grew && rows.is_none() && params.column_share >= 1.0 {
            // No leaf can be cut, and nothing would be different in the next round.
            fitted.model.trees.truncate(round as usize * outputs);
            break;
        }
        fitted.training_loss.push(loss.mean(observed, scores, stride));
        let Some(watched) = watched.as_deref() else { continue };
        let value = loss.mean(&watched.observed, &watched.scores, 1);
        fitted.validation_loss.push(value);
        if value < best.0 {
            best = (value, round + 1);
        }
        if params.early_stopping.is_some_and(|patience| round + 1 >= best.1 + patience.max(1)) {
            break;
        }
    }
    if watched.is_some() && params.early_stopping.is_some() {
        fitted.model.trees.truncate(best.1 as usize * outputs);
    }
    Ok(())
}

fn shapes(frame: &Frame, binned: &Binned, cuts: &[Cuts], params: &GbdtParams) -> Vec<Shape> {
    let shape = |&column: &usize| match &cuts[column] {
        Cuts::Numeric(_) => {
            let monotone = params.monotone.get(&*frame.columns()[column].name).copied().unwrap_or(0);
            Shape::Numeric { bins: cuts[column].bins(), monotone }
        }
        Cuts::Category(_) => Shape::Category,
    };
    binned.columns.iter().map(shape).collect()
}

/// The rows a round learns from; `None` for all.
fn sample_rows(setting: &Setting<'_>, round: u32, rows: usize) -> Option<Vec<u32>> {
    let share = setting.params.row_share;
    if share >= 1.0 {
        return None;
    }
    let mut random = Random::new(setting.seed, Purpose::Rows, u64::from(round));
    let limit = (share * 4_294_967_296.0) as u64;
    Some((0..rows as u32).filter(|_| u64::from(random.word()) < limit).collect())
}

/// Whether a round may use each binned column.
fn sample_columns(setting: &Setting<'_>, round: u32, columns: usize) -> Vec<bool> {
    let share = setting.params.column_share;
    let mut used = vec![true; columns];
    if share < 1.0 {
        let mut order: Vec<usize> = (0..columns).collect();
        Random::new(setting.seed, Purpose::Columns, u64::from(round)).shuffle(&mut order);
        let kept = ((columns as f64 * share).ceil() as usize).max(1);
        order.iter().skip(kept).for_each(|&column| used[column] = false);
    }
    used
}

/// The leaf values, shrunk and put on the grid.
fn leaf_values(setting: &Setting<'_>, grown: &Grown) -> Vec<f32> {
    let shrunk = |value: &f64| on_grid(setting.params.learning_rate * value, setting.step);
    if grown.nodes.is_empty() { vec![0.0] } else { grown.values.iter().map(shrunk).collect() }
}

/// The nearest multiple of `step` that a 32-bit float holds.
fn on_grid(value: f64, step: f64) -> f32 {
    ((value / step).round().clamp(-MOST_STEPS, MOST_STEPS) * step) as f32
}

fn follow_training(scores: &mut [f64], leaf_of: &[AtomicU16], leaves: &[f32]) {
    scores.par_chunks_mut(CHUNK).zip(leaf_of.par_chunks(CHUNK)).for_each(|(scores, leaf_of)| {
        for (score, leaf) in scores.iter_mut().zip(leaf_of) {
            *score += f64::from(leaves[usize::from(leaf.load(Ordering::Relaxed))]);
        }
    });
}

fn follow(scores: &mut [f64], binned: &Binned, grown: &Grown, leaves: &[f32]) {
    scores.par_iter_mut().enumerate().with_min_len(1024).for_each(|(row, score)| {
        *score += f64::from(leaves[grown.leaf_of(binned, row)]);
    });
}

/// Checks parameters and rows, so that the rest need not.
pub(super) fn check(sample: Sample<'_>, params: &GbdtParams) -> Result<()> {
    let wrong = |parameter: &str, value: String, expected: &str| {
        Err(Error::Parameter { parameter: parameter.into(), value, expected: expected.into() })
    };
    let positive = |x: f64| x > 0.0 && x.is_finite();
    let share = |x: f64| x > 0.0 && x <= 1.0;
    if params.rounds == 0 || params.rounds > 100_000 {
        return wrong("rounds", params.rounds.to_string(), "a whole number from 1 to 100,000 is needed");
    }
    if !positive(params.learning_rate) {
        return wrong("learning_rate", params.learning_rate.to_string(), "a number above 0 is needed");
    }
    if !(2..=65_535).contains(&params.max_leaves) {
        return wrong(
            "max_leaves",
            params.max_leaves.to_string(),
            "a whole number from 2 to 65,535 is needed",
        );
    }
    if !(2..=255).contains(&params.max_bins) {
        return wrong("max_bins", params.max_bins.to_string(), "a whole number from 2 to 255 is needed");
    }
    if !(params.min_hessian >= 0.0 && params.min_hessian.is_finite()) {
        return wrong("min_hessian", params.min_hessian.to_string(), "a number of 0 or more is needed");
    }
    if !(params.l2 >= 0.0 && params.l2.is_finite()) {
        return wrong("l2", params.l2.to_string(), "a number of 0 or more is needed");
    }
    if !share(params.column_share) {
        return wrong(
            "column_share",
            params.column_share.to_string(),
            "a share above 0 and at most 1 is needed",
        );
    }
    if !share(params.row_share) {
        return wrong("row_share", params.row_share.to_string(), "a share above 0 and at most 1 is needed");
    }
    if params.early_stopping == Some(0) {
        return wrong("early_stopping", "0".into(), "a number of rounds of 1 or more is needed");
    }
    check_monotone(sample.frame, params)?;
    check_rows(sample)
}

fn check_monotone(frame: &Frame, params: &GbdtParams) -> Result<()> {
    for (name, &direction) in &params.monotone {
        let parameter = format!("monotone.{name}");
        let Some(column) = frame.columns().iter().find(|column| *column.name == **name) else {
            return Err(Error::UnknownColumn {
                role: "monotone",
                column: name.clone(),
                known: frame.columns().iter().map(|column| column.name.to_string()).collect(),
            });
        };
        if !(-1..=1).contains(&direction) {
            let expected = "1 for rising, -1 for falling, or 0 is needed".into();
            return Err(Error::Parameter { parameter, value: direction.to_string(), expected });
        }
        if direction != 0 && matches!(column.data, crate::frame::ColumnData::Category { .. }) {
            let expected = "the column holds categories, which have no order".into();
            return Err(Error::Parameter { parameter, value: direction.to_string(), expected });
        }
    }
    Ok(())
}

fn check_rows(sample: Sample<'_>) -> Result<()> {
    let rows = sample.frame.rows();
    if rows == 0 || sample.frame.columns().is_empty() {
        return if rows == 0 {
            Err(Error::TooFewRows { rows, what: "boosting", least: 1 })
        } else {
            Err(Error::NoFeatures)
        };
    }
    if rows > u32::MAX as usize / 2 {
        return Err(Error::Unfit(format!(
            "{rows} rows are more than the {} that boosting can hold",
            u32::MAX / 2
        )));
    }
    if sample.target.len() != rows || sample.weights.is_some_and(|weights| weights.len() != rows) {
        return Err(Error::Unfit("features, target and weights have different numbers of rows".into()));
    }
    let Some(weights) = sample.weights else { return Ok(()) };
    if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
        return Err(Error::Unfit("weights must be finite and not negative".into()));
    }
    if weights.iter().all(|weight| *weight == 0.0) {
        return Err(Error::NoWeight { side: "training" });
    }
    Ok(())
}
