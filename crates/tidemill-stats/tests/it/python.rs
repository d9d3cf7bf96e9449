//! Runs the Python reference implementations that figures are checked against.

use serde_json::Value;
use tidemill_testkit::python_answer;

/// Runs a script that reads JSON as `data` and leaves its answer, made of plain types, in `answer`.
///
/// NaN and infinities of the answer travel as null.
pub(crate) fn python(script: &str, data: &Value) -> Value {
    let program = format!(
        "import json, sys, math, warnings\nwarnings.simplefilter('ignore')\ndata = json.load(sys.stdin)\n{script}\n\
         def plain(x):\n    \
         if isinstance(x, dict): return {{k: plain(v) for k, v in x.items()}}\n    \
         if isinstance(x, (list, tuple)): return [plain(v) for v in x]\n    \
         if hasattr(x, 'tolist'): return plain(x.tolist())\n    \
         return None if isinstance(x, float) and not math.isfinite(x) else x\n\
         json.dump(plain(answer), sys.stdout)"
    );
    serde_json::from_str(&python_answer(&program, &data.to_string())).unwrap()
}

/// Holds a figure against the reference: equal to 1e-9 relative, or 1e-13 absolute near zero.
pub(crate) fn close(found: impl Into<Option<f64>>, expected: &Value, what: &str) {
    close_to(found.into(), expected, 1e-9, what);
}

/// Holds a figure against the reference with a relative error of `bound`.
pub(crate) fn close_to(found: Option<f64>, expected: &Value, bound: f64, what: &str) {
    match (found, expected.as_f64()) {
        (None, None) => {}
        (Some(found), Some(expected)) => {
            let error = (found - expected).abs();
            assert!(
                error <= bound * expected.abs() || error <= 1e-13 && expected.abs() > 1e-6 || error < 1e-290,
                "{what}: found {found:e}, expected {expected:e}, relative error {:e}",
                error / expected.abs()
            );
        }
        (found, expected) => panic!("{what}: found {found:?}, expected {expected:?}"),
    }
}
