//! Real MLflow models in real workers, compared with what MLflow itself answers.

mod shadows;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tidemill_runtime::{ElementType, LoadError, RunError, Session, Tensor, Values};
use tidemill_testkit::{made_once, mlflow_python};

use super::*;

/// Saves the models, and what MLflow answers for each: `NAME/` and `NAME.json`.
const MAKE: &str = r#"
import json, os, sys, time
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

root = sys.argv[1]
iris = load_iris(as_frame=True)
data = iris.data.astype("float64").rename(columns=lambda name: name.replace(" (cm)", "").replace(" ", "_"))
rows = data.iloc[::15]

def keep(name, data):
    result = mlflow.pyfunc.load_model(os.path.join(root, name)).predict(data)
    if isinstance(result, pd.DataFrame):
        result = {column: result[column].tolist() for column in result}
    elif isinstance(result, dict):
        result = {key: np.asarray(value).tolist() for key, value in result.items()}
    else:
        result = {"": np.asarray(result).tolist()}
    with open(os.path.join(root, name + ".json"), "w") as out:
        json.dump(result, out)

model = LogisticRegression(max_iter=500).fit(data, iris.target)
mlflow.sklearn.save_model(model, os.path.join(root, "sklearn"), signature=infer_signature(data, model.predict(data)))
keep("sklearn", rows)
mlflow.sklearn.save_model(model, os.path.join(root, "proba"), pyfunc_predict_fn="predict_proba",
                          signature=infer_signature(data.to_numpy(), model.predict_proba(data)))
keep("proba", rows.to_numpy())
mlflow.sklearn.save_model(model, os.path.join(root, "unsigned"))

class Custom(mlflow.pyfunc.PythonModel):
    def __init__(self, kind):
        self.kind = kind

    def predict(self, context, model_input, params=None):
        total = model_input.sum(axis=1, numeric_only=True)
        first = float(total.iloc[0])
        if self.kind == "series":
            return total
        if self.kind == "frame":
            return pd.DataFrame({"total": total, "text": [f"row {int(x)}" for x in total], "big": total > 12})
        if self.kind == "array":
            return np.stack([total, total * 2, total * 3], axis=1).astype("float32")
        if self.kind == "list":
            return [float(x) for x in total]
        if self.kind == "dict":
            return {"low": total.to_numpy() - 1, "high": total.to_numpy() + 1}
        print("on standard output")
        print("on standard error", file=sys.stderr)
        if first == 1000:
            raise ValueError("a thousand is too much")
        if first == 2000:
            os._exit(9)
        if first == 3000:
            time.sleep(60)
        if first == 4000:
            list(bytearray(1 << 33))
        return total

for kind in ["series", "frame", "array", "list", "dict", "naughty"]:
    model = Custom(kind)
    answer = model.predict(None, rows)
    signature = infer_signature(rows, answer)
    mlflow.pyfunc.save_model(os.path.join(root, kind), python_model=model, signature=signature)
    keep(kind, rows)

class Mixed(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [f"{row.city}/{row.number}/{row.flag}" for row in model_input.itertuples()]

mixed = pd.DataFrame({"city": ["Oslo", "Málaga"], "number": pd.Series([1, -7], dtype="int64"), "flag": [True, False]})
mlflow.pyfunc.save_model(os.path.join(root, "mixed"), python_model=Mixed(), input_example=mixed)
keep("mixed", mixed)
with open(os.path.join(root, "rows.json"), "w") as out:
    json.dump({column: rows[column].tolist() for column in rows}, out)
"#;

/// What decides what comes of [`MAKE`] beside it.
const PACKAGES: &str = include_str!("../../../../xtask/python/mlflow.txt");

fn models() -> &'static Path {
    static MODELS: OnceLock<PathBuf> = OnceLock::new();
    MODELS.get_or_init(|| {
        made_once("python-models", &format!("{MAKE}\n{PACKAGES}"), |dir| {
            let made = Command::new(mlflow_python()).args(["-c", MAKE]).arg(dir).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        })
    })
}

fn settings() -> PythonSettings {
    PythonSettings { start_timeout: Duration::from_secs(120), ..PythonSettings::new(mlflow_python()) }
}

fn load(name: &str) -> PythonSession {
    PythonSession::load(&models().join(name), settings()).unwrap()
}

fn json(name: &str) -> serde_json::Map<String, serde_json::Value> {
    let text = fs_err::read_to_string(models().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The columns of the test rows, in the signature's order.
fn columns(session: &PythonSession) -> Vec<Tensor> {
    let rows = json("rows");
    let column = |name: &str| {
        rows[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect::<Vec<f64>>()
    };
    session.inputs().iter().map(|slot| Tensor::vector(Values::F64(column(&slot.name)))).collect()
}

/// An answer as JSON of the form in which MLflow's was kept.
fn shown(tensor: &Tensor) -> serde_json::Value {
    let flat: Vec<serde_json::Value> = match tensor.values() {
        Values::F64(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
        Values::F32(values) => values.iter().map(|value| serde_json::json!(f64::from(*value))).collect(),
        Values::I64(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
        Values::I32(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
        Values::Bool(values) => values.iter().map(|value| serde_json::json!(value)).collect(),
        Values::Bytes(values) => {
            values.iter().map(|value| serde_json::json!(String::from_utf8(value.clone()).unwrap())).collect()
        }
        other => panic!("{other:?}"),
    };
    match tensor.shape() {
        [_] => flat.into(),
        [_, width] => {
            flat.chunks(*width).map(|row| serde_json::Value::from(row.to_vec())).collect::<Vec<_>>().into()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_are_those_of_mlflow() {
    for name in ["sklearn", "series", "frame", "array", "list", "dict"] {
        let session = load(name);
        let answer = session.run(&columns(&session)).unwrap();
        let expected = json(name);
        assert_eq!(answer.len(), expected.len(), "{name}");
        for (slot, tensor) in session.outputs().iter().zip(&answer) {
            let expected = expected.get(&slot.name).unwrap_or_else(|| &expected[""]);
            assert_eq!(&shown(tensor), expected, "{name}: {}", slot.name);
            assert_eq!(tensor.element(), slot.element, "{name}");
        }
        assert!(session.memory_bytes() > 10 << 20);
    }
    let session = load("array");
    assert_eq!(session.outputs()[0].element, ElementType::F32);
}

#[test]
fn tensors_and_mixed_columns_go_through() {
    let session = load("proba");
    let columns = columns(&load("sklearn"));
    let rows = columns[0].rows();
    let mut matrix = Vec::new();
    for row in 0..rows {
        for column in &columns {
            let Values::F64(values) = column.values() else { panic!() };
            matrix.push(values[row]);
        }
    }
    let input = Tensor::new(vec![rows, 4], Values::F64(matrix)).unwrap();
    let answer = session.run(&[input]).unwrap();
    assert_eq!(shown(&answer[0]), json("proba")[""]);
    let session = load("mixed");
    let kinds: Vec<ElementType> = session.inputs().iter().map(|slot| slot.element).collect();
    assert_eq!(kinds, [ElementType::Bytes, ElementType::I64, ElementType::Bool]);
    let answer = session.run(&[
        Tensor::vector(Values::Bytes(vec![b"Oslo".to_vec(), "Málaga".into()])),
        Tensor::vector(Values::I64(vec![1, -7])),
        Tensor::vector(Values::Bool(vec![true, false])),
    ]);
    assert_eq!(shown(&answer.unwrap()[0]), json("mixed")[""]);
}

fn naughty(first: f64) -> Vec<Tensor> {
    let zeros = || Tensor::vector(Values::F64(vec![0.0]));
    vec![Tensor::vector(Values::F64(vec![first])), zeros(), zeros(), zeros()]
}

#[test]
fn failures_crashes_and_hangs_leave_a_session_that_works() {
    let quick = PythonSettings { call_timeout: Duration::from_secs(60), ..settings() };
    let session = PythonSession::load(&models().join("naughty"), quick).unwrap();
    let fine = |session: &PythonSession| {
        let answer = session.run(&naughty(5.0)).unwrap();
        assert_eq!(shown(&answer[0]), serde_json::json!([5.0]));
    };
    let error = |session: &PythonSession, first| session.run(&naughty(first)).unwrap_err().to_string();
    fine(&session);
    // An exception is the model's answer to this call; the worker stays.
    let pid = session.idle_pids();
    let told = error(&session, 1000.0);
    assert!(told.contains("ValueError: a thousand is too much"), "{told}");
    assert_eq!((session.idle_pids(), session.restarts()), (pid.clone(), 0));
    // A worker that ends is started again.
    let told = error(&session, 2000.0);
    assert!(told.contains("the worker ended (exit status: 9)"), "{told}");
    assert!(told.contains("on standard error"), "{told}");
    fine(&session);
    assert_ne!(session.idle_pids(), pid);
    assert_eq!(session.restarts(), 1);
    // Wrong calls do not reach it.
    assert!(matches!(session.run(&[]), Err(RunError::InputCount { .. })));
    let wrong: Vec<Tensor> = (0..4).map(|_| Tensor::vector(Values::F32(vec![0.0]))).collect();
    assert!(matches!(session.run(&wrong), Err(RunError::Input { .. })));
}

#[test]
fn a_hanging_worker_is_ended_in_time_and_others_go_on() {
    let quick = PythonSettings { call_timeout: Duration::from_secs(5), workers: 2, ..settings() };
    let session = PythonSession::load(&models().join("naughty"), quick).unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while session.idle_pids().len() < 2 {
        assert!(Instant::now() < until, "the second worker did not start");
        std::thread::sleep(Duration::from_millis(100));
    }
    let pids = session.idle_pids();
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| {
            let started = Instant::now();
            (session.run(&naughty(3000.0)).unwrap_err().to_string(), started.elapsed())
        });
        std::thread::sleep(Duration::from_millis(300));
        session.run(&naughty(5.0)).unwrap();
        assert!(!hanging.is_finished(), "others do not wait for the one that hangs");
        let (told, took) = hanging.join().unwrap();
        assert!(told.contains("no answer within 5 seconds"), "{told}");
        assert!(took < Duration::from_secs(30), "{took:?}");
    });
    // The process is gone, not only given up.
    assert_eq!(pids.iter().filter(|pid| is_running(**pid)).count(), 1);
    drop(session);
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

/// Names the model to the child process, which is this same program.
const CHILD: &str = "TIDEMILL_TEST_PYTHON_MODEL";

#[test]
fn holds_a_worker_until_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let session = PythonSession::load(Path::new(&folder), settings()).unwrap();
    println!("worker {}", session.idle_pids()[0]);
    // In the middle of a call it reads nothing from the socket.
    let _ = session.run(&naughty(3000.0));
}

#[test]
fn no_worker_outlives_a_killed_process() {
    use std::io::{BufRead as _, BufReader};
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "python::tests::holds_a_worker_until_killed", "--nocapture"])
        .env(CHILD, models().join("naughty"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut pids =
        lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("worker ")?.parse::<u32>().ok());
    let pid = pids.next().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_running(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while is_running(pid) {
        assert!(Instant::now() < until, "the worker is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_running(pid: u32) -> bool {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[test]
fn a_limit_of_memory_is_the_calls_error() {
    let small = PythonSettings { memory_bytes: Some(6 << 30), ..settings() };
    let session = PythonSession::load(&models().join("naughty"), small).unwrap();
    let told = session.run(&naughty(4000.0)).unwrap_err().to_string();
    assert!(told.contains("MemoryError"), "{told}");
    session.run(&naughty(5.0)).unwrap();
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let told = |error: LoadError| error.to_string();
    let unsigned = PythonSession::load(&models().join("unsigned"), settings()).unwrap_err();
    assert!(matches!(unsigned, LoadError::Unsupported { .. }), "{unsigned}");
    let empty = tempfile::tempdir().unwrap();
    assert!(told(PythonSession::load(empty.path(), settings()).unwrap_err()).contains("no file `MLmodel`"));
    fs_err::write(empty.path().join("MLmodel"), "nothing: true\n").unwrap();
    let error = told(PythonSession::load(empty.path(), settings()).unwrap_err());
    assert!(error.contains("not a readable model"), "{error}");
    let nowhere = PythonSettings { interpreter: PathBuf::from("/nowhere/python"), ..settings() };
    let error = told(PythonSession::load(&models().join("sklearn"), nowhere).unwrap_err());
    assert!(error.contains("cannot start `/nowhere/python`"), "{error}");
    let broken = PythonSettings { interpreter: PathBuf::from("/bin/false"), ..settings() };
    let error = told(PythonSession::load(&models().join("sklearn"), broken).unwrap_err());
    assert!(error.contains("the worker ended"), "{error}");
}

#[test]
fn environments_are_named_by_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let of = |requirements: &str, python: &str| {
        fs_err::write(dir.path().join("requirements.txt"), requirements).unwrap();
        fs_err::write(
            dir.path().join("python_env.yaml"),
            format!("python: {python}\nbuild_dependencies:\n- pip\n"),
        )
        .unwrap();
        Environment::of_model(dir.path()).unwrap().digest()
    };
    let base = of("mlflow==3.17.0\nnumpy==2.0\n", "3.11.4");
    assert_eq!(of("# a comment\nmlflow==3.17.0\n\nnumpy==2.0", "\"3.11.9\""), base);
    assert_ne!(of("mlflow==3.17.0\nnumpy==2.1\n", "3.11.4"), base);
    assert_ne!(of("mlflow==3.17.0\nnumpy==2.0\n", "3.12.1"), base);
    assert!(Environment::of_model(tempfile::tempdir().unwrap().path()).is_err());
}

/// A small environment is really made: `venv` and `pip`, once, and a second time from the cache.
#[test]
fn an_environment_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let environment = Environment { requirements: "six==1.17.0\n".to_owned(), python: None };
    let lines = std::sync::Mutex::new(Vec::new());
    let cache = dir.path().join("cache");
    let python = environment.prepare(&cache, &|line| lines.lock().unwrap().push(line.to_owned())).unwrap();
    let imported = Command::new(&python).args(["-c", "import six"]).status().unwrap();
    assert!(imported.success());
    assert!(lines.lock().unwrap().iter().any(|line| line.contains("Successfully installed")));
    let before = lines.lock().unwrap().len();
    assert_eq!(
        environment.prepare(&cache, &|line| lines.lock().unwrap().push(line.to_owned())).unwrap(),
        python
    );
    assert_eq!(lines.lock().unwrap().len(), before);
    let broken = Environment { requirements: "six==0.0.0.1\n".to_owned(), python: None };
    let error = broken.prepare(&cache, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("six==0.0.0.1"), "{error}");
}
