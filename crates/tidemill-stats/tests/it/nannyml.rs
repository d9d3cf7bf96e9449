//! Estimates without labels beside those of NannyML itself.
//!
//! NannyML 0.13.1 lists LightGBM before 4.6, Plotly before 6, FLAML, Segment's client and twenty more, which exclude the versions that other tests
//! are pinned to; its estimator needs none of them. So its own modules are imported without what the package's `__init__` takes in besides:
//! plots get names that do nothing, and its telling of its use to a third party is left out. It runs on the pinned numpy, pandas and
//! scikit-learn then. It asks for Python before 3.13; on newer ones it is not installed, and the formulas in `peers` are what is left.

use serde_json::{Value, json};
use tidemill_stats::estimate::{Isotonic, cbpe};
use tidemill_stats::random::Random;

use crate::python::{close_to, python};

const SCRIPT: &str = r"
import importlib.abc, importlib.machinery, importlib.util, pathlib, types

spec = importlib.util.find_spec('nannyml')
if spec is None and sys.version_info < (3, 13):
    raise ModuleNotFoundError('nannyml')

class Pictures(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    '''What draws: each of its names is a class that does nothing.'''
    def find_spec(self, name, path, target=None):
        is_one = name.split('.')[0] in ('plotly', 'matplotlib', 'seaborn', 'statsmodels')
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_one else None
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        def name(name):
            if name.startswith('__'):
                raise AttributeError(name)
            return type(name, (), {})
        module.__getattr__ = name
        return module
    def exec_module(self, module):
        pass

class Events:
    def __getattr__(self, name):
        return name

def package(name, root):
    # Its own modules without what its __init__ takes in: readers of object stores, boosted trees, plots.
    module = types.ModuleType(name)
    module.__path__ = [str(root.joinpath(*name.split('.')[1:]))]
    sys.modules[name] = module

def estimated(case):
    columns = dict(p=case['scores'], pred=[int(said) for said in case['said']])
    reference = pd.DataFrame(dict(p=case['x'], pred=[0] * len(case['x']), y=[int(y) for y in case['y']]))
    reference['pred'] = (reference['p'] >= 0.5).astype(int)
    cbpe = CBPE(metrics=['roc_auc', 'f1', 'accuracy', 'precision', 'recall'], y_pred_proba='p', y_pred='pred', y_true='y',
                problem_type='classification_binary', chunk_number=1)
    cbpe.fit(reference)
    found = cbpe.estimate(pd.DataFrame(columns)).filter(period='analysis').to_df()
    figures = {metric: float(found[(metric, 'value')].iloc[0]) for metric in ['roc_auc', 'f1', 'accuracy', 'precision', 'recall']}
    return dict(figures, calibrated=bool(cbpe.needs_calibration))

answer = None
if spec is not None:
    sys.meta_path.insert(0, Pictures())
    root = pathlib.Path(spec.submodule_search_locations[0])
    package('nannyml', root)
    package('nannyml.performance_estimation', root)
    # It tells a third party of its use; here it tells nobody.
    usage = types.ModuleType('nannyml.usage_logging')
    usage.UsageEvent, usage.log_usage = Events(), lambda *told, **more: lambda function: function
    sys.modules['nannyml.usage_logging'] = usage
    from nannyml.performance_estimation.confidence_based import CBPE
    import pandas as pd
    answer = [estimated(case) for case in data]
";

/// Scores with their labels, then scores of which nothing is known; `sure` above 1 are too sure of themselves.
struct Case {
    scores: Vec<f64>,
    labels: Vec<f64>,
    monitored: Vec<f64>,
    said: Vec<bool>,
}

fn case(sure: f64, seed: u64) -> Case {
    let mut random = Random::new(seed, 0);
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..2_400 {
        let logit = 1.4 * random.normal() - 0.6;
        scores.push(1.0 / (1.0 + (-sure * logit).exp()));
        labels.push(f64::from(u8::from(random.unit() < 1.0 / (1.0 + (-logit).exp()))));
    }
    let monitored = scores.split_off(1_200);
    labels.truncate(1_200);
    let said = monitored.iter().map(|score| *score >= 0.45).collect();
    Case { scores, labels, monitored, said }
}

#[test]
fn estimates_without_labels_are_those_of_nannyml() {
    let cases = [case(1.7, 21), case(0.5, 22), case(1.0, 23)];
    let told: Vec<Value> = cases
        .iter()
        .map(|case| json!({"x": case.scores, "y": case.labels, "scores": case.monitored, "said": case.said}))
        .collect();
    let answer = python(SCRIPT, &json!(told));
    let Value::Array(answers) = answer else {
        println!("NannyML asks for Python before 3.13: nothing is compared");
        return;
    };
    assert_eq!(answers.len(), cases.len());
    let mut calibrated = 0;
    for (case, expected) in cases.iter().zip(&answers) {
        // It calibrates where that made the scores of held-out rows better; we always do, which changes little where it does not.
        let is_calibrated = expected["calibrated"] == json!(true);
        calibrated += u32::from(is_calibrated);
        let chances = if is_calibrated {
            Isotonic::fit(&case.scores, &case.labels, None).unwrap().map(&case.monitored)
        } else {
            case.monitored.clone()
        };
        let found = cbpe(&chances, &case.monitored, &case.said).unwrap();
        for (figure, name) in [
            (Some(found.accuracy), "accuracy"),
            (found.precision, "precision"),
            (found.recall, "recall"),
            (found.f1, "f1"),
            (found.auc, "roc_auc"),
        ] {
            close_to(figure, &expected[name], 1e-6, name);
        }
    }
    assert!(calibrated >= 2, "scores that are too sure, or not sure enough, must be calibrated");
}
