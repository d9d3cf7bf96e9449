//! Ridge, logistic and softmax regression against scikit-learn.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use tidemill_core::declare::LinearParams;
use tidemill_train::frame::{ClassLabel, Column, ColumnData, Frame, NO_LEVEL, Target};
use tidemill_train::linear::{LinearModel, Term, fit};
use tidemill_train::model::Predictor;

use crate::python::python;

/// Four numeric columns (one with missing values, one constant, one the sum of two others), one category with missing
/// values.
struct Rows {
    frame: Frame,
    signal: Vec<f64>,
    weights: Vec<f64>,
    noise: Vec<f64>,
}

fn rows(count: usize, seed: u64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let mut columns: [Vec<f64>; 4] = Default::default();
    let (mut codes, mut signal, mut weights, mut noise) = (vec![], vec![], vec![], vec![]);
    for _ in 0..count {
        let (a, b) = (1e3 + 50.0 * unit(), unit() - 0.5);
        let level = (unit() * 6.0) as u32;
        columns[0].push(a);
        columns[1].push(if unit() < 0.1 { f64::NAN } else { b });
        columns[2].push(0.1);
        columns[3].push(a + b);
        codes.push(if level == 5 { NO_LEVEL } else { level });
        signal.push((a - 1025.0) / 12.0 + 3.0 * b + f64::from(level) * 0.4 - 1.0);
        weights.push(2.0 * unit());
        noise.push(unit());
    }
    let levels: Arc<[String]> = ["a", "b", "c", "d", "e"].map(String::from).into();
    let mut all: Vec<Column> = columns
        .into_iter()
        .enumerate()
        .map(|(at, values)| Column { name: format!("x{at}").into(), data: ColumnData::Numeric(values) })
        .collect();
    all.push(Column { name: "c".into(), data: ColumnData::Category { codes, levels } });
    Rows { frame: Frame::new(all, count).unwrap(), signal, weights, noise }
}

fn as_json(rows: &Rows, target: Value, weighted: bool, l2: f64) -> Value {
    let numeric: Vec<Value> = rows
        .frame
        .columns()
        .iter()
        .filter_map(|column| match &column.data {
            ColumnData::Numeric(values) => Some(json!(values)),
            ColumnData::Category { .. } => None,
        })
        .collect();
    let ColumnData::Category { codes, .. } = &rows.frame.columns()[4].data else { panic!() };
    let weights = weighted.then(|| rows.weights.clone());
    json!({"numeric": numeric, "codes": codes, "target": target, "weights": weights, "l2": l2})
}

/// Builds the same design with scikit-learn's own pre-processing.
const DESIGN: &str = r"
import numpy as np
from sklearn.preprocessing import StandardScaler, OneHotEncoder
w = data['weights']
X = np.array([[np.nan if v is None else v for v in c] for c in data['numeric']]).T
sw = np.ones(len(X)) if w is None else np.array(w)
for j in range(X.shape[1]):
    miss = np.isnan(X[:, j])
    X[miss, j] = np.average(X[~miss, j], weights=sw[~miss])
codes = np.array(data['codes']).reshape(-1, 1)
X = np.hstack([StandardScaler().fit(X, sample_weight=sw).transform(X), OneHotEncoder(sparse_output=False).fit_transform(codes)])
y = np.array(data['target'])
";

/// All coefficients of an output in the order of the Python design, intercept last.
fn flat(model: &LinearModel, output: usize) -> Vec<f64> {
    let mut all = Vec::new();
    for term in &model.terms {
        match term {
            Term::Numeric { coefficients, .. } => all.push(coefficients[output]),
            Term::Categorical { coefficients, missing, .. } => {
                all.extend(coefficients.iter().map(|level| level[output]));
                all.push(missing[output]);
            }
        }
    }
    all.push(model.intercepts[output]);
    all
}

fn assert_close(found: &[f64], expected: &Value, bound: f64) {
    let expected: Vec<f64> = serde_json::from_value(expected.clone()).unwrap();
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let limit = bound * expected.abs().max(1.0);
        assert!((found - expected).abs() < limit, "coefficient {at}: {found} instead of {expected}");
    }
}

fn labels(count: usize) -> Vec<ClassLabel> {
    (0..count as i64).map(ClassLabel::Int).collect()
}

#[test]
fn ridge_as_scikit_learn() {
    for (weighted, l2) in [(false, 1.0), (true, 1.0), (true, 25.0), (false, 1e-3)] {
        let rows = rows(500, 3);
        let target: Vec<f64> =
            rows.signal.iter().zip(&rows.noise).map(|(s, n)| 700.0 + 2.0 * s + n).collect();
        let weights = weighted.then_some(rows.weights.as_slice());
        let params = LinearParams { l2, ..LinearParams::default() };
        let (model, _) = fit(&rows.frame, &Target::Regression(target.clone()), weights, &params).unwrap();
        let script = format!(
            "{DESIGN}\nfrom sklearn.linear_model import Ridge\n\
             m = Ridge(alpha=data['l2'], solver='svd').fit(X, y, sample_weight=sw)\n\
             answer = dict(coef=m.coef_.tolist() + [float(m.intercept_)], prediction=m.predict(X).tolist())"
        );
        let expected = python(&script, &as_json(&rows, json!(target), weighted, l2));
        assert_close(&flat(&model, 0), &expected["coef"], 1e-9);
        assert_close(&model.scores(&rows.frame).values, &expected["prediction"], 1e-9);
    }
}

#[test]
fn logistic_as_scikit_learn() {
    for (weighted, l2) in [(false, 1.0), (true, 1.0), (true, 0.01), (false, 50.0)] {
        let rows = rows(600, 4);
        let codes: Vec<u32> = rows
            .signal
            .iter()
            .zip(&rows.noise)
            .map(|(s, n)| u32::from(*n < 1.0 / (1.0 + (-s).exp())))
            .collect();
        let weights = weighted.then_some(rows.weights.as_slice());
        let params = LinearParams { l2, ..LinearParams::default() };
        let target = Target::Classes { codes: codes.clone(), classes: labels(2) };
        let (model, convergence) = fit(&rows.frame, &target, weights, &params).unwrap();
        assert!(convergence.converged, "{convergence:?}");
        let script = format!(
            "{DESIGN}\nfrom sklearn.linear_model import LogisticRegression\n\
             m = LogisticRegression(C=1/data['l2'], solver='newton-cholesky', tol=1e-13, max_iter=1000)\n\
             m.fit(X, y, sample_weight=sw)\n\
             answer = dict(coef=m.coef_[0].tolist() + [float(m.intercept_[0])], p=m.predict_proba(X)[:, 1].tolist())"
        );
        let expected = python(&script, &as_json(&rows, json!(codes), weighted, l2));
        assert_close(&flat(&model, 0), &expected["coef"], 1e-7);
        assert_close(&model.scores(&rows.frame).column(1), &expected["p"], 1e-8);
    }
}

#[test]
fn softmax_as_scikit_learn() {
    for (weighted, l2) in [(false, 1.0), (true, 0.3)] {
        let rows = rows(900, 5);
        let class = |(s, n): (&f64, &f64)| {
            let at = s + 4.0 * (n - 0.5);
            if at < -1.0 {
                0
            } else if at < 0.5 {
                2
            } else {
                u32::from(at < 2.0) * 2 + 1
            }
        };
        let codes: Vec<u32> = rows.signal.iter().zip(&rows.noise).map(class).collect();
        let weights = weighted.then_some(rows.weights.as_slice());
        let params = LinearParams { l2, ..LinearParams::default() };
        let target = Target::Classes { codes: codes.clone(), classes: labels(4) };
        let (model, convergence) = fit(&rows.frame, &target, weights, &params).unwrap();
        assert!(convergence.converged, "{convergence:?}");
        let script = format!(
            "{DESIGN}\nfrom sklearn.linear_model import LogisticRegression\n\
             m = LogisticRegression(C=1/data['l2'], solver='newton-cholesky', tol=1e-13, max_iter=1000)\n\
             m.fit(X, y, sample_weight=sw)\n\
             b = m.intercept_ - m.intercept_.mean()\n\
             answer = dict(coef=np.hstack([m.coef_, b[:, None]]).tolist(), p=m.predict_proba(X).ravel().tolist())"
        );
        let expected = python(&script, &as_json(&rows, json!(codes), weighted, l2));
        for output in 0..4 {
            assert_close(&flat(&model, output), &expected["coef"][output], 1e-7);
        }
        assert_close(&model.scores(&rows.frame).values, &expected["p"], 1e-7);
    }
}

#[test]
fn rare_levels_share_a_column() {
    let codes: Vec<u32> = (0..400_u32)
        .map(|row| {
            if row < 120 {
                0
            } else if row < 200 {
                3
            } else {
                row % 7
            }
        })
        .collect();
    let levels: Arc<[String]> = (0..7).map(|level| level.to_string()).collect();
    let target: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
    let column = Column { name: "c".into(), data: ColumnData::Category { codes, levels } };
    let frame = Frame::new(vec![column], 400).unwrap();
    let params = LinearParams { max_categories: 2, l2: 1e-6, ..LinearParams::default() };
    let (model, _) = fit(&frame, &Target::Regression(target), None, &params).unwrap();
    let Term::Categorical { levels, missing, .. } = &model.terms[0] else { panic!() };
    assert_eq!((levels.as_slice(), missing.as_slice()), (&[0, 3][..], &[0.0][..]));
    let answer = model.scores(&frame).values;
    assert!((answer[0]).abs() < 1e-4 && (answer[150] - 3.0).abs() < 1e-4, "{} {}", answer[0], answer[150]);
    // Levels 1, 2, 4, 5 and 6 are about equally frequent, so what they share answers near their mean.
    assert!((model.intercepts[0] + model.terms[0].of_level(5)[0] - 3.6).abs() < 0.1);
    assert_eq!(model.terms[0].of_level(5), model.terms[0].of_level(1));
}

#[test]
fn columns_that_say_the_same_do_no_harm() {
    let rows = rows(300, 8);
    let mut columns = rows.frame.columns().to_vec();
    columns.push(Column { name: "again".into(), ..columns[0].clone() });
    let frame = Frame::new(columns, 300).unwrap();
    for l2 in [0.0, 1.0] {
        let params = LinearParams { l2, ..LinearParams::default() };
        let answers = |frame: &Frame| {
            let (model, _) = fit(frame, &Target::Regression(rows.signal.clone()), None, &params).unwrap();
            model.scores(frame).values
        };
        let (one, two) = (answers(&rows.frame), answers(&frame));
        let worst = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Without a penalty the copy changes nothing; with one it shares its coefficient and is shrunk less.
        assert!(worst < if l2 == 0.0 { 1e-6 } else { 0.1 }, "{worst}");
        assert!(two.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn separable_classes_converge() {
    let values: Vec<f64> = (0..200).map(f64::from).collect();
    let codes: Vec<u32> = (0..200).map(|row| u32::from(row >= 100)).collect();
    let frame =
        Frame::new(vec![Column { name: "x".into(), data: ColumnData::Numeric(values) }], 200).unwrap();
    let target = Target::Classes { codes, classes: labels(2) };
    for l2 in [1.0, 1e-4] {
        let (model, convergence) =
            fit(&frame, &target, None, &LinearParams { l2, ..LinearParams::default() }).unwrap();
        assert!(convergence.converged && model.intercepts[0].is_finite(), "{convergence:?}");
    }
    let (model, convergence) =
        fit(&frame, &target, None, &LinearParams { l2: 0.0, ..LinearParams::default() }).unwrap();
    assert!(model.scores(&frame).values.iter().all(|p| p.is_finite()), "{convergence:?}");
}

#[test]
fn bits_do_not_depend_on_threads() {
    let rows = rows(20_000, 6);
    let codes: Vec<u32> =
        rows.signal.iter().zip(&rows.noise).map(|(s, n)| (s + 3.0 * n > 1.0).into()).collect();
    let three: Vec<u32> = codes.iter().zip(&rows.noise).map(|(c, n)| c + u32::from(*n > 0.8)).collect();
    let targets = [
        Target::Regression(rows.signal.clone()),
        Target::Classes { codes, classes: labels(2) },
        Target::Classes { codes: three, classes: labels(3) },
    ];
    for target in &targets {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (model, _) =
                    fit(&rows.frame, target, Some(&rows.weights), &LinearParams::default()).unwrap();
                (model.scores(&rows.frame).values, model)
            })
        };
        let one = with(1);
        assert!(one == with(2) && one == with(5));
    }
}

#[test]
fn parameters_and_columns_that_cannot_be_used() {
    let rows = rows(50, 1);
    let text = |frame: &Frame, params: LinearParams| {
        fit(frame, &Target::Regression(rows.signal.clone()), None, &params).unwrap_err().to_string()
    };
    let params = LinearParams::default;
    assert_eq!(
        text(&rows.frame, LinearParams { l2: -1.0, ..params() }),
        "parameter `l2` is -1: it must be 0 or more"
    );
    assert_eq!(
        text(&rows.frame, LinearParams { max_iterations: 0, ..params() }),
        "parameter `max_iterations` is 0: it must be at least 1"
    );
    let mut values = vec![1.0; 50];
    values[7] = f64::INFINITY;
    let frame = rows.frame.with_column(1, ColumnData::Numeric(values)).unwrap();
    assert_eq!(
        text(&frame, params()),
        "feature column `x1` holds inf in row 7, which is not a finite number"
    );
}
