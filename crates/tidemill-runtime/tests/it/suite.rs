//! The suite of models that `tests/python/suite.py` makes, with ONNX Runtime's answers.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidemill_runtime::{Choice, Classical, LoadError, Runtime, Runtimes, Session, Tensor, Values};

use crate::files::decode;

/// Runs the script for some groups of models and gives what it wrote.
fn suite(folder: &Path, groups: &[&str]) -> Value {
    // A folder that is there already saves minutes when only Rust changed.
    let made = std::env::var_os("TIDEMILL_TEST_SUITE").map(std::path::PathBuf::from);
    let listing = made.as_deref().unwrap_or(folder).join("suite.json");
    if made.is_none() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/suite.py");
        let output = Command::new(tidemill_testkit::python())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(script)
            .arg(folder)
            .args(groups)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_str(&fs_err::read_to_string(listing).unwrap()).unwrap()
}

/// The largest difference of two tensors, relative where values are larger than 1; an error where they differ in
/// type, shape, texts, whole numbers or where NaN and infinities stand.
fn difference(ours: &Tensor, theirs: &Tensor) -> Result<f64, String> {
    if ours.shape() != theirs.shape() || ours.element() != theirs.element() {
        let [a, b] = [ours, theirs].map(|tensor| format!("{} {:?}", tensor.element(), tensor.shape()));
        return Err(format!("{a} instead of {b}"));
    }
    fn floats(ours: impl Iterator<Item = f64>, theirs: impl Iterator<Item = f64>) -> Result<f64, String> {
        let mut largest = 0.0_f64;
        for (index, (a, b)) in ours.zip(theirs).enumerate() {
            if a == b || a.is_nan() && b.is_nan() {
                continue;
            }
            if !(a.is_finite() && b.is_finite()) {
                return Err(format!("{a} instead of {b} at {index}"));
            }
            largest = largest.max((a - b).abs() / b.abs().max(1.0));
        }
        Ok(largest)
    }
    match (ours.values(), theirs.values()) {
        (Values::F32(a), Values::F32(b)) => {
            floats(a.iter().map(|x| f64::from(*x)), b.iter().map(|x| f64::from(*x)))
        }
        (Values::F64(a), Values::F64(b)) => floats(a.iter().copied(), b.iter().copied()),
        (a, b) if a == b => Ok(0.0),
        (Values::Bytes(a), Values::Bytes(b)) => {
            let place = a.iter().zip(b).position(|(a, b)| a != b).unwrap();
            let [a, b] = [&a[place], &b[place]].map(|text| String::from_utf8_lossy(text).into_owned());
            Err(format!("`{a}` instead of `{b}` at {place}"))
        }
        (a, b) => Err(format!("{a:?} instead of {b:?}").chars().take(300).collect()),
    }
}

/// The differences of one model over all calls, or what went wrong.
fn compare(runtime: &dyn Runtime, model: &Value, bytes: &[u8]) -> Result<f64, String> {
    let session = runtime.load(bytes).map_err(|error| match error {
        LoadError::Unsupported { what, .. } => format!("unsupported: {what}"),
        other => other.to_string(),
    })?;
    let mut largest = 0.0_f64;
    for (number, call) in model["calls"].as_array().unwrap().iter().enumerate() {
        let own = answer(session.as_ref(), model, call).map_err(|why| format!("call {number}{why}"))?;
        largest = largest.max(own);
    }
    Ok(largest)
}

/// The differences of the answer to one call.
fn answer(session: &dyn Session, model: &Value, call: &Value) -> Result<f64, String> {
    let mut largest = 0.0_f64;
    let inputs: Vec<Tensor> =
        session.inputs().iter().map(|slot| decode(&call["inputs"][&slot.name])).collect();
    let outputs = session.run(&inputs).map_err(|error| format!(": {error}"))?;
    let wanted = call["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), wanted.len());
    for ((slot, ours), wanted) in session.outputs().iter().zip(&outputs).zip(wanted) {
        let theirs = decode(wanted);
        let rows = |tensor: &Tensor| tensor.shape().first().copied();
        if let Some(columns) = session.columns(&slot.name) {
            // An empty list of maps has no keys.
            if rows(&theirs) == Some(0) && rows(ours) == Some(0) {
                continue;
            }
            let keys: Vec<&str> =
                wanted["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
            assert_eq!(columns, keys, "{}", model["name"]);
        }
        let own = difference(ours, &theirs).map_err(|why| format!(", output `{}`: {why}", slot.name))?;
        largest = largest.max(own);
    }
    Ok(largest)
}

/// Compares all models of some groups. `expected_missing` are names of models that the runtime does not load.
fn check(
    runtime: &dyn Runtime,
    groups: &[&str],
    limit: f64,
    expected_missing: &[&str],
    looser: &[(&str, f64)],
) {
    let folder = tempfile::tempdir().unwrap();
    let listing = suite(folder.path(), groups);
    let folder = std::env::var_os("TIDEMILL_TEST_SUITE")
        .map_or_else(|| folder.path().to_owned(), std::path::PathBuf::from);
    let (mut report, mut failed, mut worst) = (String::new(), Vec::new(), (0.0, String::new()));
    let mut missing = Vec::new();
    let mut count = 0;
    for model in listing["models"].as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        if !groups.iter().any(|group| name.starts_with(&format!("{group}/"))) {
            continue;
        }
        count += 1;
        let bytes = fs_err::read(folder.join(model["file"].as_str().unwrap())).unwrap();
        let limit = looser.iter().find(|(known, _)| *known == name).map_or(limit, |(_, limit)| *limit);
        match compare(runtime, model, &bytes) {
            Ok(own) => {
                writeln!(report, "{own:9.1e}  {name}").unwrap();
                if own > worst.0 {
                    worst = (own, name.to_owned());
                }
                if own > limit {
                    failed.push(format!("{name}: differs by {own:.1e}, more than {limit:.1e}"));
                }
            }
            Err(why) if why.starts_with("unsupported") => missing.push((name.to_owned(), why)),
            Err(why) => failed.push(format!("{name}: {why}")),
        }
    }
    println!("{report}{count} models, largest difference {:.1e} ({})", worst.0, worst.1);
    for (name, why) in &missing {
        println!("{name}: {why}");
        if !expected_missing.contains(&name.as_str()) {
            failed.push(format!("{name}: {why}"));
        }
    }
    for problem in listing["problems"].as_array().unwrap() {
        println!("not compared: {}", problem.as_str().unwrap());
    }
    assert!(failed.is_empty(), "{} of {count} models:\n{}", failed.len(), failed.join("\n"));
    assert!(count > 0, "no model");
}

#[test]
fn scikit_learn() {
    // Pairwise distances are a `Scan` over a graph of its own there.
    let missing = ["scikit/knn-scan", "scikit/gaussian-process"];
    // Sums of support vectors of both signs that nearly cancel.
    let looser = [("scikit/svr", 5e-6), ("scikit/svr-poly", 1e-5), ("scikit/one-class-svm", 3e-5)];
    check(&Classical, &["scikit"], 2e-6, &missing, &looser);
}

#[test]
fn own_trainer() {
    check(&Classical, &["own"], 1e-7, &[], &[]);
}

#[test]
fn networks() {
    let runtimes = Runtimes::new(Choice::Embedded);
    check(&runtimes, &["networks"], 2e-6, &["networks/scaled-conv"], &[]);
}

/// A shape that comes often gets a plan of its own, and there are more shapes than plans: whichever plan answers, the answer is that of
/// ONNX Runtime, and what the model occupies does not grow.
#[test]
#[cfg(feature = "network")]
fn networks_whose_shapes_have_plans_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let listing = suite(folder.path(), &["networks"]);
    let folder = std::env::var_os("TIDEMILL_TEST_SUITE")
        .map_or_else(|| folder.path().to_owned(), std::path::PathBuf::from);
    let names = ["networks/cnn", "networks/transformer", "networks/transformer-any-length"];
    for name in names {
        let model = listing["models"].as_array().unwrap().iter().find(|model| model["name"] == name).unwrap();
        let calls = model["calls"].as_array().unwrap();
        assert!(calls.len() > 8, "{name}: {} shapes are no more than the plans", calls.len());
        let bytes = fs_err::read(folder.join(model["file"].as_str().unwrap())).unwrap();
        let session = Runtimes::new(Choice::Embedded).load(&bytes).unwrap();
        assert_eq!(session.runtime(), "network", "{name}");
        let plans = |own: usize| format!("any: true, own: {own}, ..");
        assert!(format!("{session:?}").contains(&plans(0)), "{name}: {session:?}");
        let before = session.memory_bytes();
        let mut largest = 0.0_f64;
        // Each more often than it takes to earn a plan, so that of the last ones some took the place of the first.
        for call in calls {
            for _ in 0..40 {
                largest = largest.max(answer(session.as_ref(), model, call).unwrap());
            }
        }
        assert!(format!("{session:?}").contains(&plans(8)), "{name}: {session:?}");
        // All of them once more, with a plan of their own or without.
        for call in calls {
            largest = largest.max(answer(session.as_ref(), model, call).unwrap());
        }
        println!("{name}: {largest:.1e}");
        assert!(largest < 2e-6, "{name}: {largest:.1e}");
        assert_eq!(session.memory_bytes(), before, "{name}: plans are counted before they are made");
    }
}

#[test]
fn boosting_libraries() {
    check(&Classical, &["libraries"], 5e-7, &[], &[]);
}

#[test]
fn every_mode_of_the_operators() {
    // The inverse of the error function is steep, and its argument a sum. ONNX Runtime expands the square of a
    // distance, so a row is not quite at 0 from itself.
    check(&Classical, &["crafted"], 5e-4, &[], &[("crafted/cdist-euclidean", 3e-3)]);
}

#[test]
#[cfg(feature = "ort")]
fn onnxruntime_in_this_process() {
    let runtime = tidemill_runtime::OnnxRuntime::new(crate::runtimes::ort_options()).unwrap();
    check(&runtime, &["libraries", "networks", "own"], 1e-6, &[], &[]);
}
