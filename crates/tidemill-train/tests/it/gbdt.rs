//! Boosted trees: quality against LightGBM and scikit-learn, and the properties that every model must have.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use tidemill_core::declare::GbdtParams;
use tidemill_core::{Cancel, Quiet};
use tidemill_train::Error;
use tidemill_train::frame::{ClassLabel, Column, ColumnData, Frame, NO_LEVEL, Target};
use tidemill_train::gbdt::{Fitted, Sample, train};
use tidemill_train::model::Predictor;

use crate::python::python;

/// Numbers between 0 and 1 that look random; a multiplicative generator is enough for test data.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 * 2.0_f64.powi(-53)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() * bound as f64) as usize
    }
}

fn numeric(name: &str, values: Vec<f64>) -> Column {
    Column { name: name.into(), data: ColumnData::Numeric(values) }
}

fn category(name: &str, codes: Vec<u32>, levels: usize) -> Column {
    let levels: Arc<[String]> = (0..levels).map(|level| format!("level {level:03}")).collect();
    Column { name: name.into(), data: ColumnData::Category { codes, levels } }
}

fn classes(codes: Vec<u32>, classes: usize) -> Target {
    Target::Classes { codes, classes: (0..classes as i64).map(ClassLabel::Int).collect() }
}

fn fit(frame: &Frame, target: &Target, weights: Option<&[f64]>, params: &GbdtParams) -> Fitted {
    train(Sample { frame, target, weights }, None, params, 7, &Quiet).unwrap()
}

fn bytes(fitted: &Fitted) -> Vec<u8> {
    serde_json::to_vec(&fitted.model).unwrap()
}

/// Two numbers, one of them sometimes missing, a category, and three kinds of target that depend on all of them.
fn mixed(rows: usize, seed: u64) -> (Frame, Vec<Target>) {
    let mut noise = Noise(seed);
    let (mut a, mut b, mut c, mut y) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rows {
        let (x, z, level) = (noise.next(), noise.next(), noise.below(40));
        let score = (8.0 * x).sin() + if z < 0.3 { 1.0 } else { z } + (level * 7 % 11) as f64 * 0.2;
        a.push(x);
        b.push(if z < 0.3 { f64::NAN } else { z });
        c.push(if level == 39 { NO_LEVEL } else { level as u32 });
        y.push(score + 0.3 * noise.next());
    }
    let columns = vec![numeric("a", a), numeric("b", b), category("c", c, 39)];
    let two = y.iter().map(|y| u32::from(*y > 2.0)).collect();
    let three = y.iter().map(|y| u32::from(*y > 1.5) + u32::from(*y > 2.5)).collect();
    (Frame::new(columns, rows).unwrap(), vec![Target::Regression(y), classes(two, 2), classes(three, 3)])
}

/// Out-of-fold answers of ours, for folds that Python chose.
fn out_of_fold(frame: &Frame, target: &Target, fold_of: &[u64]) -> Vec<Vec<f64>> {
    let mut answers = vec![vec![]; frame.rows()];
    for fold in 0..5 {
        let (held, kept): (Vec<usize>, Vec<usize>) = (0..frame.rows()).partition(|&row| fold_of[row] == fold);
        let fitted = fit(&frame.take(&kept), &target.take(&kept), None, &GbdtParams::default());
        let scores = fitted.model.scores(&frame.take(&held));
        for (index, &row) in held.iter().enumerate() {
            answers[row] = scores.row(index).to_vec();
        }
    }
    answers
}

const PEERS: &str = r"
import os; os.environ['OMP_NUM_THREADS'] = '1'
import numpy as np, lightgbm, sklearn.datasets as ds, sklearn.metrics as m
from sklearn.ensemble import HistGradientBoostingClassifier as HC, HistGradientBoostingRegressor as HR
from sklearn.model_selection import KFold
X, y = getattr(ds, 'load_' + data['set'])(return_X_y=True)
fold = np.zeros(len(y), int)
for k, (_, held) in enumerate(KFold(5, shuffle=True, random_state=0).split(X)):
    fold[held] = k
regression = data['set'] == 'diabetes'
def measure(p):
    if regression:
        return float(np.sqrt(np.mean((y - p) ** 2)))
    return float(m.log_loss(y, p))
def peer(make):
    out = None
    for k in range(5):
        model = make().fit(X[fold != k], y[fold != k])
        p = model.predict(X[fold == k]) if regression else model.predict_proba(X[fold == k])
        out = np.zeros((len(y),) + p.shape[1:]) if out is None else out
        out[fold == k] = p
    return measure(out)
sk = (HR if regression else HC)
lg = (lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier)
if 'ours' in data:
    answer = measure(np.array(data['ours']).squeeze())
else:
    answer = dict(x=X.T.tolist(), y=y.tolist(), fold=fold.tolist(),
        peers=[peer(lambda: sk(early_stopping=False)), peer(lambda: lg(verbose=-1, n_jobs=1))])
";

#[test]
fn as_good_as_lightgbm_and_scikit_learn_on_bundled_data() {
    for (set, slack) in [("breast_cancer", 1.08), ("diabetes", 1.02), ("digits", 1.05)] {
        let given = python(PEERS, &json!({"set": set}));
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let columns: Vec<Column> = given["x"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(index, x)| {
                numeric(&format!("x{index}"), x.as_array().unwrap().iter().map(number).collect())
            })
            .collect();
        let y: Vec<f64> = given["y"].as_array().unwrap().iter().map(number).collect();
        let fold: Vec<u64> = given["fold"].as_array().unwrap().iter().map(|k| k.as_u64().unwrap()).collect();
        let target = match set {
            "diabetes" => Target::Regression(y.clone()),
            "digits" => classes(y.iter().map(|&y| y as u32).collect(), 10),
            _ => classes(y.iter().map(|&y| y as u32).collect(), 2),
        };
        let frame = Frame::new(columns, y.len()).unwrap();
        let ours = python(PEERS, &json!({"set": set, "ours": out_of_fold(&frame, &target, &fold)}));
        let peers: Vec<f64> = given["peers"].as_array().unwrap().iter().map(number).collect();
        let worst = peers.iter().copied().fold(0.0, f64::max);
        println!("{set}: ours {ours}, scikit-learn {}, LightGBM {}", peers[0], peers[1]);
        assert!(number(&ours) <= worst * slack, "{set}: ours {ours}, peers {peers:?}");
    }
}

const CATEGORIES: &str = r"
import os; os.environ['OMP_NUM_THREADS'] = '1'
import numpy as np, lightgbm, sklearn.metrics as m
from sklearn.ensemble import HistGradientBoostingClassifier as HC
X = np.array([[np.nan if v is None else v for v in c] for c in data['x']], dtype=float).T
y = np.array(data['y']); half = len(y) // 2
c = data['categorical']
def loss(p): return float(m.log_loss(y[half:], p))
sk = HC(early_stopping=False, categorical_features=c).fit(X[:half], y[:half])
lg = lightgbm.LGBMClassifier(verbose=-1, n_jobs=1).fit(X[:half], y[:half], categorical_feature=c)
answer = [loss(data['ours']), loss(sk.predict_proba(X[half:])), loss(lg.predict_proba(X[half:]))]
";

fn against_peers_with_categories(frame: &Frame, target: &Target) -> (f64, f64, f64) {
    let rows = frame.rows();
    let (first, second): (Vec<usize>, Vec<usize>) = (0..rows).partition(|&row| row < rows / 2);
    let fitted = fit(&frame.take(&first), &target.take(&first), None, &GbdtParams::default());
    let scores = fitted.model.scores(&frame.take(&second));
    let ours: Vec<&[f64]> = (0..scores.rows()).map(|row| scores.row(row)).collect();
    let mut categorical = vec![];
    let x: Vec<Vec<f64>> = frame
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| match &column.data {
            ColumnData::Numeric(values) => values.clone(),
            ColumnData::Category { codes, .. } => {
                categorical.push(index);
                codes.iter().map(|&code| if code == NO_LEVEL { f64::NAN } else { f64::from(code) }).collect()
            }
        })
        .collect();
    let Target::Classes { codes, .. } = target else { panic!("classes expected") };
    let losses = python(CATEGORIES, &json!({"x": x, "y": codes, "categorical": categorical, "ours": ours}));
    let loss = |index: usize| losses[index].as_f64().unwrap();
    println!("{rows} rows: ours {}, scikit-learn {}, LightGBM {}", loss(0), loss(1), loss(2));
    (loss(0), loss(1), loss(2))
}

#[test]
fn as_good_with_categories_and_missing_values() {
    let (frame, targets) = mixed(20_000, 3);
    for target in &targets[1..] {
        let (ours, sklearn, lightgbm) = against_peers_with_categories(&frame, target);
        assert!(ours <= sklearn.max(lightgbm) * 1.02, "ours {ours}, peers {sklearn} {lightgbm}");
    }
}

#[test]
fn as_good_on_flights() {
    let (frame, target) = crate::flights::january();
    let order: Vec<usize> = (0..frame.rows()).map(|row| row * 7919 % frame.rows()).collect();
    let (ours, sklearn, lightgbm) = against_peers_with_categories(&frame.take(&order), &target.take(&order));
    assert!(ours <= sklearn.max(lightgbm) * 1.01, "ours {ours}, peers {sklearn} {lightgbm}");
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let (frame, targets) = mixed(150_000, 1);
    let sampled = GbdtParams { rounds: 4, row_share: 0.7, column_share: 0.6, ..GbdtParams::default() };
    let plain = GbdtParams { rounds: 4, ..GbdtParams::default() };
    for (target, params) in targets.iter().zip([&plain, &sampled, &plain]) {
        let runs: Vec<(Vec<u8>, Vec<f64>)> = [1, 2, 5]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let fitted = fit(&frame, target, None, params);
                    (bytes(&fitted), fitted.training_loss.clone())
                })
            })
            .collect();
        assert_eq!(runs[0], runs[1]);
        assert_eq!(runs[0], runs[2]);
    }
}

#[test]
fn the_seed_decides_what_is_sampled() {
    let (frame, targets) = mixed(2_000, 1);
    let params = GbdtParams { rounds: 5, row_share: 0.5, ..GbdtParams::default() };
    let sample = Sample { frame: &frame, target: &targets[0], weights: None };
    let with = |seed| train(sample, None, &params, seed, &Quiet).unwrap();
    assert_eq!(bytes(&with(1)), bytes(&with(1)));
    assert_ne!(bytes(&with(1)), bytes(&with(2)));
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let (frame, targets) = mixed(5_000, 9);
    let order: Vec<usize> = (0..5_000).map(|row| row * 1_237 % 5_000).collect();
    for target in &targets {
        let params = GbdtParams { rounds: 20, ..GbdtParams::default() };
        let straight = fit(&frame, target, None, &params);
        let shuffled = fit(&frame.take(&order), &target.take(&order), None, &params);
        assert_eq!(bytes(&straight), bytes(&shuffled));
    }
}

#[test]
fn the_order_of_columns_does_not_matter() {
    let (frame, targets) = mixed(5_000, 9);
    let turned: Vec<Column> = frame.columns().iter().rev().cloned().collect();
    let turned = Frame::new(turned, 5_000).unwrap();
    for target in &targets {
        let params = GbdtParams { rounds: 20, ..GbdtParams::default() };
        let one = fit(&frame, target, None, &params).model.scores(&frame);
        let other = fit(&turned, target, None, &params).model.scores(&turned);
        assert_eq!(one, other);
    }
}

#[test]
fn a_row_twice_is_a_row_of_weight_two() {
    let (frame, targets) = mixed(3_000, 5);
    let twice: Vec<usize> = (0..3_000).flat_map(|row| std::iter::repeat_n(row, 1 + row % 2)).collect();
    let weights: Vec<f64> = (0..3_000).map(|row| 1.0 + f64::from(row % 2)).collect();
    // Cuts count rows whatever their weight, so few distinct values are needed for equal cuts.
    let ColumnData::Numeric(a) = &frame.columns()[0].data else { panic!("numbers expected") };
    let ColumnData::Numeric(b) = &frame.columns()[1].data else { panic!("numbers expected") };
    let coarse = |values: &[f64]| values.iter().map(|value| (value * 50.0).floor()).collect();
    let columns = vec![numeric("a", coarse(a)), numeric("b", coarse(b)), frame.columns()[2].clone()];
    let frame = Frame::new(columns, 3_000).unwrap();
    let params = GbdtParams { rounds: 10, min_rows_per_leaf: 1, min_hessian: 5.0, ..GbdtParams::default() };
    for target in &targets {
        let weighted = fit(&frame, target, Some(&weights), &params).model.scores(&frame);
        let repeated = fit(&frame.take(&twice), &target.take(&twice), None, &params).model.scores(&frame);
        for (one, other) in weighted.values.iter().zip(&repeated.values) {
            assert!((one - other).abs() <= 2e-6, "{one} {other}");
        }
    }
}

#[test]
fn rows_of_weight_zero_do_not_count() {
    let (frame, targets) = mixed(2_000, 5);
    let Target::Regression(y) = &targets[0] else { panic!("numbers expected") };
    let weights: Vec<f64> = (0..2_000).map(|row| f64::from(u8::from(row % 2 == 0))).collect();
    let other: Vec<f64> = y.iter().zip(&weights).map(|(y, w)| if *w == 0.0 { 1.5 - y } else { *y }).collect();
    let params = GbdtParams { rounds: 10, ..GbdtParams::default() };
    let start = |y: Vec<f64>| fit(&frame, &Target::Regression(y), Some(&weights), &params).model;
    let (one, two) = (start(y.clone()).scores(&frame), start(other).scores(&frame));
    for (one, two) in one.values.iter().zip(&two.values) {
        assert!((one - two).abs() < 1e-5, "{one} {two}");
    }
}

#[test]
fn early_stopping_keeps_the_best_round() {
    let (frame, targets) = mixed(3_000, 2);
    let (watch, truth) = mixed(1_000, 77);
    for (target, truth) in targets.iter().zip(&truth) {
        let params = GbdtParams {
            rounds: 2_000,
            early_stopping: Some(10),
            learning_rate: 0.3,
            ..GbdtParams::default()
        };
        let sample = Sample { frame: &frame, target, weights: None };
        let watched = Sample { frame: &watch, target: truth, weights: None };
        let fitted = train(sample, Some(watched), &params, 1, &Quiet).unwrap();
        let curve = &fitted.validation_loss;
        let best = curve.iter().copied().fold(f64::INFINITY, f64::min);
        let round = curve.iter().position(|&loss| loss == best).unwrap() + 1;
        assert_eq!(curve.len(), round + 10);
        assert_eq!(fitted.model.trees.len(), round * fitted.model.outputs());
        let scores = fitted.model.scores(&watch);
        let loss: f64 = match truth {
            Target::Regression(y) => y.iter().zip(&scores.values).map(|(y, s)| (y - s).powi(2)).sum(),
            Target::Classes { codes, .. } => {
                codes.iter().enumerate().map(|(row, &y)| -scores.row(row)[y as usize].ln()).sum()
            }
        };
        assert!((loss / 1_000.0 - best).abs() < 1e-12, "{loss} {best}");
    }
}

#[test]
fn depth_leaves_and_rows_are_limited() {
    fn depth(tree: &tidemill_train::gbdt::Tree, branch: tidemill_train::gbdt::Branch) -> u32 {
        match branch {
            tidemill_train::gbdt::Branch::Leaf(_) => 0,
            tidemill_train::gbdt::Branch::Node(node) => {
                let node = &tree.nodes[node as usize];
                1 + depth(tree, node.left).max(depth(tree, node.right))
            }
        }
    }
    let (frame, targets) = mixed(3_000, 4);
    let params = GbdtParams { rounds: 5, max_depth: 3, max_leaves: 7, ..GbdtParams::default() };
    for tree in fit(&frame, &targets[0], None, &params).model.trees {
        assert!(tree.leaves.len() <= 7 && !tree.nodes.is_empty());
        assert!(depth(&tree, tidemill_train::gbdt::Branch::Node(0)) <= 3);
    }
    let params = GbdtParams { rounds: 5, min_rows_per_leaf: 1_501, ..GbdtParams::default() };
    assert!(fit(&frame, &targets[0], None, &params).model.trees.is_empty());
}

#[test]
fn heavy_tails_and_large_offsets_are_learnt() {
    let mut noise = Noise(8);
    let x: Vec<f64> = (0..4_000).map(|_| noise.next()).collect();
    for (scale, offset) in [(1e-6, 0.0), (1.0, 1e4), (1e9, 0.0), (1e-3, -7.0)] {
        let y: Vec<f64> = x.iter().map(|x| offset + scale * ((9.0 * x).sin() + x)).collect();
        let frame = Frame::new(vec![numeric("x", x.clone())], x.len()).unwrap();
        let scores =
            fit(&frame, &Target::Regression(y.clone()), None, &GbdtParams::default()).model.scores(&frame);
        let error: f64 = y.iter().zip(&scores.values).map(|(y, s)| (y - s).powi(2)).sum();
        let error = (error / 4_000.0).sqrt();
        assert!(error < 0.02 * scale, "{scale} {offset}: {error}");
    }
}

#[test]
fn bad_parameters_and_rows_are_named() {
    let (frame, targets) = mixed(100, 4);
    let check = |params: GbdtParams| {
        let sample = Sample { frame: &frame, target: &targets[0], weights: None };
        train(sample, None, &params, 1, &Quiet).unwrap_err().to_string()
    };
    let base = GbdtParams::default;
    let monotone = |name: &str, value| GbdtParams { monotone: [(name.to_owned(), value)].into(), ..base() };
    for (params, message) in [
        (GbdtParams { rounds: 0, ..base() }, "parameter `rounds` is 0: "),
        (GbdtParams { learning_rate: f64::NAN, ..base() }, "parameter `learning_rate` is NaN: "),
        (GbdtParams { max_leaves: 1, ..base() }, "parameter `max_leaves` is 1: "),
        (GbdtParams { max_bins: 256, ..base() }, "parameter `max_bins` is 256: "),
        (GbdtParams { l2: -1.0, ..base() }, "parameter `l2` is -1: "),
        (GbdtParams { min_hessian: f64::INFINITY, ..base() }, "parameter `min_hessian` is inf: "),
        (GbdtParams { row_share: 0.0, ..base() }, "parameter `row_share` is 0: "),
        (GbdtParams { column_share: 1.1, ..base() }, "parameter `column_share` is 1.1: "),
        (GbdtParams { early_stopping: Some(0), ..base() }, "parameter `early_stopping` is 0: "),
        (monotone("q", 1), "monotone column `q` is not in the table"),
        (monotone("a", 2), "parameter `monotone.a` is 2: "),
        (monotone("c", 1), "parameter `monotone.c` is 1: the column holds categories"),
    ] {
        let found = check(params);
        assert!(found.starts_with(message), "{found}");
    }
    let zero = vec![0.0; 100];
    let sample = Sample { frame: &frame, target: &targets[0], weights: Some(&zero) };
    assert!(matches!(train(sample, None, &base(), 1, &Quiet), Err(Error::NoWeight { .. })));
    let cancel = Cancel::new();
    cancel.cancel();
    let sample = Sample { frame: &frame, target: &targets[0], weights: None };
    assert!(matches!(train(sample, None, &base(), 1, &cancel), Err(Error::Cancelled)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn monotone_columns_move_predictions_one_way(
        seed in any::<u64>(),
        up in prop::sample::select(vec![1_i8, -1]),
        kind in 0_usize..2,
        leaves in 2_u32..40,
        l2 in 0.0_f64..2.0,
    ) {
        let mut noise = Noise(seed);
        let rows = 400;
        let columns: Vec<Column> = (0..3)
            .map(|index| {
                let values = (0..rows).map(|_| {
                    let value = (noise.next() * 30.0).floor();
                    if index == 1 && value < 4.0 { f64::NAN } else { value }
                });
                numeric(&format!("x{index}"), values.collect())
            })
            .collect();
        let y: Vec<f64> = (0..rows).map(|_| noise.next()).collect();
        let target = if kind == 0 {
            Target::Regression(y)
        } else {
            classes(y.iter().map(|y| u32::from(*y > 0.5)).collect(), 2)
        };
        let frame = Frame::new(columns, rows).unwrap();
        let params = GbdtParams {
            rounds: 15,
            max_leaves: leaves,
            min_rows_per_leaf: 3,
            l2,
            monotone: [("x0".to_owned(), up)].into(),
            ..GbdtParams::default()
        };
        let model = fit(&frame, &target, None, &params).model;
        for _ in 0..20 {
            let (a, b) = (noise.next() * 30.0, if noise.next() < 0.2 { f64::NAN } else { noise.next() * 30.0 });
            let path: Vec<f64> = (0..64).map(|step| f64::from(step) * 0.5 - 1.0).collect();
            let columns =
                vec![numeric("x0", path), numeric("x1", vec![b; 64]), numeric("x2", vec![a; 64])];
            let scores = model.scores(&Frame::new(columns, 64).unwrap());
            let line = scores.column(scores.width - 1);
            prop_assert!(line.windows(2).all(|pair| f64::from(up) * (pair[1] - pair[0]) >= 0.0), "{line:?}");
        }
    }

    #[test]
    fn a_stored_model_answers_the_same(seed in any::<u64>()) {
        let (frame, targets) = mixed(300, seed);
        for target in &targets {
            let params = GbdtParams { rounds: 5, min_rows_per_leaf: 2, ..GbdtParams::default() };
            let model = fit(&frame, target, None, &params).model;
            let again: tidemill_train::gbdt::GbdtModel =
                serde_json::from_slice(&serde_json::to_vec(&model).unwrap()).unwrap();
            prop_assert_eq!(&again, &model);
            prop_assert_eq!(again.scores(&frame), model.scores(&frame));
        }
    }
}
