//! Which runtime takes a model, and what is said when none does.

use std::process::Command;

use tidemill_runtime::{Choice, LoadError, Runtime, Runtimes, Tensor, Values};

/// A model of one or more nodes, made by a line of Python.
fn model(nodes: &str, input: &str) -> Vec<u8> {
    let script = format!(
        "import sys\nfrom onnx import helper as h, TensorProto as T\nimport numpy as np\n\
         from onnx import numpy_helper as n\n\
         nodes, constants = {nodes}\n\
         g = h.make_graph(nodes, 'g', [h.make_tensor_value_info('x', T.FLOAT, {input})], \
         [h.make_tensor_value_info('y', T.FLOAT, None)], constants)\n\
         m = h.make_model(g, opset_imports=[h.make_opsetid('', 17), h.make_opsetid('ai.onnx.ml', 3)], ir_version=8)\n\
         sys.stdout.buffer.write(m.SerializeToString())"
    );
    let output = Command::new(tidemill_testkit::python()).args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

const SCALER: &str =
    "([h.make_node('Scaler', ['x'], ['y'], domain='ai.onnx.ml', offset=[1.0], scale=[2.0])], [])";
const CONV: &str =
    "([h.make_node('Conv', ['x', 'w'], ['y'])], [n.from_array(np.ones((1, 1, 2, 2), np.float32), 'w')])";
const MIXED: &str = "([h.make_node('Scaler', ['x'], ['s'], domain='ai.onnx.ml', offset=[1.0], scale=[2.0]), \
                     h.make_node('Conv', ['s', 'w'], ['y'])], [n.from_array(np.ones((1, 1, 2, 2), np.float32), 'w')])";
const PICTURE: &str = "['n', 1, 2, 2]";

fn picture() -> Tensor {
    Tensor::new(vec![1, 1, 2, 2], Values::F32(vec![1.0, 2.0, 3.0, 4.0])).unwrap()
}

#[test]
fn the_first_runtime_with_every_operator_takes_a_model() {
    let session = Runtimes::new(Choice::Auto).load(&model(SCALER, "[None, 2]")).unwrap();
    assert_eq!(session.runtime(), "classical");
    assert!(session.is_quick());
    assert!(session.memory_bytes() > 0);
    let x = Tensor::new(vec![1, 2], Values::F32(vec![2.0, 0.5])).unwrap();
    assert_eq!(*session.run(&[x]).unwrap()[0].values(), Values::F32(vec![2.0, -1.0]));
}

#[test]
fn inputs_that_do_not_fit_are_refused_with_words() {
    let session = Runtimes::new(Choice::Auto).load(&model(SCALER, "['rows', 2]")).unwrap();
    let message = |inputs: &[Tensor]| session.run(inputs).unwrap_err().to_string();
    assert_eq!(message(&[]), "the model takes 1 inputs and was given 0");
    let wide = Tensor::new(vec![1, 3], Values::F32(vec![0.0; 3])).unwrap();
    assert_eq!(message(&[wide]), "input `x`: takes shape [rows, 2] and was given [1, 3]");
    let whole = Tensor::new(vec![1, 2], Values::I64(vec![0; 2])).unwrap();
    assert_eq!(message(&[whole]), "input `x`: takes elements of type float32 and was given int64");
}

#[test]
#[cfg(feature = "network")]
fn networks_are_run_by_the_runtime_for_networks() {
    let session = Runtimes::new(Choice::Embedded).load(&model(CONV, PICTURE)).unwrap();
    assert_eq!(session.runtime(), "network");
    assert_eq!(*session.run(&[picture()]).unwrap()[0].values(), Values::F32(vec![10.0]));
}

#[test]
fn what_each_runtime_lacks_is_named() {
    let error = Runtimes::new(Choice::Embedded).load(&model(MIXED, PICTURE)).unwrap_err();
    let LoadError::Unsupported { what, .. } = error else { panic!("{error}") };
    assert!(what.contains("classical: it has no Conv"), "{what}");
    #[cfg(feature = "network")]
    assert!(what.contains("network: it has no ai.onnx.ml.Scaler"), "{what}");
    assert!(what.contains("onnxruntime: the choice `embedded` leaves it out"), "{what}");
    assert!(what.contains("which only ONNX Runtime runs together"), "{what}");
    let error = Runtimes::new(Choice::Auto).load(b"no model").unwrap_err();
    assert!(matches!(error, LoadError::Malformed(_)));
}

/// ONNX Runtime of the tests' Python environment.
#[cfg(feature = "ort")]
pub(crate) fn ort_options() -> tidemill_runtime::OrtOptions {
    let environment = tidemill_testkit::python().parent().unwrap().parent().unwrap().to_owned();
    tidemill_runtime::OrtOptions { candidates: vec![environment], ..Default::default() }
}

#[cfg(feature = "ort")]
mod ort {
    use super::*;
    use tidemill_runtime::{OnnxRuntime, OrtOptions, RunOptions};

    #[test]
    fn a_graph_of_both_kinds_falls_to_onnxruntime() {
        let runtimes = Runtimes::new(Choice::Auto).with_onnxruntime(ort_options());
        let session = runtimes.load(&model(MIXED, PICTURE)).unwrap();
        assert_eq!(session.runtime(), "onnxruntime");
        assert_eq!(*session.run(&[picture()]).unwrap()[0].values(), Values::F32(vec![12.0]));
    }

    #[test]
    fn a_model_says_how_many_calls_run_at_once_and_whether_on_a_gpu() {
        let runtimes = Runtimes::new(Choice::Auto).with_onnxruntime(ort_options());
        let bytes = model(MIXED, PICTURE);
        let load = |options: &RunOptions| runtimes.load_with(&bytes, options);
        let memory = |calls| load(&RunOptions { calls, ..RunOptions::default() }).unwrap().memory_bytes();
        assert_eq!(memory(3), 3 * memory(1), "a copy for each call");
        let session = load(&RunOptions { calls: 2, threads: 0, cuda: false }).unwrap();
        assert_eq!(*session.run(&[picture()]).unwrap()[0].values(), Values::F32(vec![12.0]));
        // The library of the tests has no CUDA, and then nothing else is tried, also for a model that is built in.
        for bytes in [&bytes, &model(SCALER, "[None, 2]")] {
            let gpu = RunOptions { cuda: true, ..RunOptions::default() };
            let why = runtimes.load_with(bytes, &gpu).unwrap_err().to_string();
            assert!(why.contains("no CUDA in") && why.contains("onnxruntime-gpu"), "{why}");
        }
    }

    #[test]
    fn a_missing_library_says_what_to_do() {
        let nowhere = OrtOptions { candidates: vec!["/nowhere".into()], ..OrtOptions::default() };
        // Another test may have loaded the library already: then it is there.
        if let Err(error) = OnnxRuntime::new(nowhere) {
            assert!(error.to_string().contains("pip install onnxruntime"), "{error}");
        }
    }
}
