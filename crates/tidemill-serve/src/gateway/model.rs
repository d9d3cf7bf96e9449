//! A loaded model, and what is checked before it may answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::Value;
use tidemill_runtime::{Session, Slot, Tensor};

use super::batch::{Lane, call};
use super::golden::{Golden, Mismatch, rows_of};
use super::loader::Loader;
use super::metrics::Metrics;
use super::plan::Plan;
use super::signature::Signature;
use super::source::{ModelBundle, ModelFiles};
use crate::{InferError, ModelMetadata, NULLABLE_PROPERTY};

/// A model that answers.
pub struct Loaded {
    /// Different for each load: what was made for one load is not used for another.
    pub serial: u64,
    /// The model.
    pub model: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The digest of its files.
    pub release: Arc<str>,
    /// How requests are laid out.
    pub plan: Plan,
    /// What its trainer said of it.
    pub signature: Option<Signature>,
    /// What callers may know of it.
    pub metadata: ArcSwap<ModelMetadata>,
    /// The way in.
    pub lane: Arc<Lane>,
    /// Bytes that it occupies.
    pub memory: u64,
    /// How long it takes for a row at least, on its golden rows; none where it has none that fit.
    pub row_time: Option<Duration>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("model", &self.model)
            .field("version", &self.version)
            .field("release", &self.release)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Bytes that it occupies by now: the workers of a model of Python grow with what they are asked.
    pub(super) fn memory_now(&self) -> u64 {
        self.lane.session().memory_bytes().max(self.memory)
    }

    /// The versions that can be asked for are others now.
    pub(super) fn set_versions(&self, versions: Vec<String>) {
        self.metadata
            .rcu(|metadata| ModelMetadata { versions: versions.clone(), ..ModelMetadata::clone(metadata) });
    }
}

/// The property that names the columns of a model's one matrix, in order.
const COLUMNS: &str = "columns";

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Prepares a model and checks that it is the one that was trained: its digest, its inputs against the signature, and
/// its answers on the golden rows. Blocks.
///
/// # Errors
///
/// Says which check failed, and of the golden rows which row and column.
pub fn verify(bundle: &ModelBundle, loader: &dyn Loader) -> Result<(Arc<dyn Session>, Plan), String> {
    if let Some(expected) = bundle.expected
        && expected != bundle.digest
    {
        return Err(format!(
            "its files have the digest {} and it was registered with {expected}; they were changed or are damaged",
            bundle.digest
        ));
    }
    let session = loader.load(bundle)?;
    let plan = Plan::new(&*session, bundle.signature.as_ref())?;
    if let Some(golden) = &bundle.golden {
        parity(&*session, &plan, golden, bundle.serving.parity_tolerance)?;
    }
    Ok((session, plan))
}

/// Prepares a model that passes [`verify`] for requests. Blocks.
///
/// # Errors
///
/// As [`verify`].
pub fn load(
    bundle: ModelBundle,
    versions: Vec<String>,
    loader: &dyn Loader,
    metrics: &Metrics,
) -> Result<Loaded, String> {
    let (session, plan) = verify(&bundle, loader)?;
    let (model, version): (Arc<str>, Arc<str>) = (bundle.model.into(), bundle.version.into());
    let memory = session.memory_bytes();
    let row_time = bundle.golden.as_ref().and_then(|golden| row_time(&*session, &plan, golden));
    let meter = metrics.lane(&model, &version);
    meter.memory(memory);
    let mut properties = bundle.properties;
    properties.insert("runtime".to_owned(), session.runtime().to_owned());
    properties.insert("release".to_owned(), bundle.digest.to_string());
    if plan.is_matrix() {
        let columns = plan.inputs.iter().map(|slot| Value::from(slot.name.as_str()));
        properties.insert(COLUMNS.to_owned(), Value::Array(columns.collect()).to_string());
    }
    let nullable: Vec<&str> = bundle.signature.iter().flat_map(Signature::nullable).collect();
    if !nullable.is_empty() {
        properties.insert(NULLABLE_PROPERTY.to_owned(), Value::from(nullable).to_string());
    }
    let metadata = ModelMetadata {
        name: model.to_string(),
        versions,
        platform: match bundle.files {
            ModelFiles::Onnx(_) => "onnx".to_owned(),
            ModelFiles::Folder(_) => "python".to_owned(),
        },
        // Of a matrix callers see what it is; its columns may be given one by one all the same.
        inputs: session.inputs().iter().map(|slot| described(slot, &plan)).collect(),
        outputs: session.outputs().to_vec(),
        is_tabular: plan.is_tabular && !plan.is_matrix(),
        properties,
    };
    Ok(Loaded {
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        release: bundle.digest.to_string().into(),
        lane: Lane::new(session, &bundle.serving, plan.is_joinable, meter),
        model,
        version,
        plan,
        signature: bundle.signature,
        metadata: ArcSwap::from_pointee(metadata),
        memory,
        row_time,
    })
}

/// An input as the session has it, optional where the signature says so.
fn described(slot: &Slot, plan: &Plan) -> Slot {
    let input = plan.inputs.iter().find(|input| input.name == slot.name);
    input.filter(|_| !plan.is_matrix()).unwrap_or(slot).clone()
}

/// The shortest of some calls for one golden row each: what else goes on at the moment makes calls longer, never shorter.
fn row_time(session: &dyn Session, plan: &Plan, golden: &Golden) -> Option<Duration> {
    const CALLS: usize = 20;
    const PATIENCE: Duration = Duration::from_millis(50);
    let begun = Instant::now();
    let mut least: Option<Duration> = None;
    for row in 0..golden.rows().min(CALLS) {
        let Ok(prepared) = plan.prepare(golden.slice(row, row + 1)) else { continue };
        let at = Instant::now();
        if call(session, &prepared.tensors).is_err() {
            continue;
        }
        let took = at.elapsed();
        least = Some(least.map_or(took, |least| least.min(took)));
        if begun.elapsed() > PATIENCE {
            break;
        }
    }
    least
}

/// Scores the golden rows again and compares with the trainer's answers.
fn parity(session: &dyn Session, plan: &Plan, golden: &Golden, tolerance: f64) -> Result<(), String> {
    let compare = |from: usize, to: usize, outputs: &[Tensor]| -> Result<(), String> {
        let at = golden.pick(outputs).ok_or_else(|| {
            let width = golden.answers.first().map_or(0, Vec::len);
            format!("none of the model's outputs has the {width} numbers in a row that the golden rows have")
        })?;
        let name = session.outputs().get(at).map_or("", |slot| slot.name.as_str());
        let got = rows_of(&outputs[at]);
        if got.len() != to - from {
            return Err(format!(
                "output `{name}` has {} rows for the {} golden rows that it was asked for",
                got.len(),
                to - from
            ));
        }
        golden.compare(from, &got, tolerance).map_err(|Mismatch { row, column, expected, got }| {
            format!(
                "golden row {row}, output `{name}`, column {column}: the model says {got} and its trainer said \
                 {expected}, which is over the tolerance of {tolerance}"
            )
        })
    };
    let run = |from: usize, to: usize| -> Result<Vec<Tensor>, Failed> {
        let prepared = plan.prepare(golden.slice(from, to)).map_err(Failed::Layout)?;
        call(session, &prepared.tensors).map_err(Failed::Call)
    };
    if golden.rows() == 0 {
        return Ok(());
    }
    match run(0, golden.rows()) {
        Ok(outputs) => compare(0, golden.rows(), &outputs),
        Err(Failed::Call(error)) => Err(format!("it fails on the golden rows: {error}")),
        // A value is missing that the model has no way to take; the trainer kept such rows all the same.
        Err(Failed::Layout(first)) => {
            let mut compared = 0;
            for row in 0..golden.rows() {
                match run(row, row + 1) {
                    Ok(outputs) => compare(row, row + 1, &outputs)?,
                    Err(Failed::Layout(_)) => continue,
                    Err(Failed::Call(error)) => {
                        return Err(format!("it fails on golden row {}: {error}", row + 1));
                    }
                }
                compared += 1;
            }
            if compared == 0 { Err(format!("the golden rows do not fit it: {first}")) } else { Ok(()) }
        }
    }
}

enum Failed {
    Layout(InferError),
    Call(InferError),
}

#[cfg(test)]
mod tests {
    use tidemill_core::Digest;
    use tidemill_runtime::Values;

    use super::super::testing::{Fake, Loads, Work, bundle};
    use super::*;
    use crate::Named;

    fn check(change: impl FnOnce(&mut ModelBundle)) -> Result<Loaded, String> {
        check_with(Work::Times(2.0), change)
    }

    fn check_with(work: Work, change: impl FnOnce(&mut ModelBundle)) -> Result<Loaded, String> {
        let mut bundle = bundle("m", "1");
        change(&mut bundle);
        let loads = Loads::new(move |_| Ok(Fake { work, ..Fake::quick() }));
        load(bundle, vec!["1".into()], &loads, &Metrics::default())
    }

    fn golden(inputs: &[f64], answers: &[f64]) -> Golden {
        let tensor = Tensor::vector(Values::F64(inputs.to_vec()));
        let inputs = vec![Named { name: "x".to_owned(), tensor }];
        Golden { inputs, answers: answers.iter().map(|answer| vec![*answer]).collect() }
    }

    #[test]
    fn a_model_that_is_as_it_was_loads() {
        let loaded = check(|bundle| {
            bundle.expected = Some(bundle.digest);
            bundle.golden = Some(golden(&[1.0, 2.5], &[2.0, 5.0]));
            let inputs = r#"[{"type": "float", "name": "x"}]"#;
            bundle.signature = Some(Signature::from_mlflow(inputs, None).unwrap());
        })
        .unwrap();
        assert!(loaded.plan.is_tabular && loaded.plan.is_joinable && !loaded.plan.is_matrix());
        let metadata = loaded.metadata.load();
        assert_eq!(metadata.properties["runtime"], "fake");
        assert_eq!(&*loaded.release, metadata.properties["release"]);
    }

    #[test]
    fn each_check_refuses_and_says_why() {
        let columns = |text: &str| Some(Signature::from_mlflow(text, None).unwrap());
        let why = |change: fn(&mut ModelBundle)| check(change).unwrap_err();
        assert!(why(|b| b.expected = Some(Digest::of(b"other"))).contains("changed or are damaged"));
        let parity = why(|b| b.golden = Some(golden(&[1.0, 2.5], &[2.0, 5.1])));
        assert!(
            parity.contains("golden row 2, output `y`, column 0: the model says 5 and its trainer said 5.1"),
            "{parity}"
        );
        let short =
            check_with(Work::First, |b| b.golden = Some(golden(&[1.0, 2.5], &[2.0, 5.0]))).unwrap_err();
        assert!(short.contains("output `y` has 1 rows for the 2 golden rows"), "{short}");
        let wide = why(|b| {
            b.golden = Some(Golden { answers: vec![vec![0.5, 0.5]], ..golden(&[1.0], &[]) });
        });
        assert!(wide.contains("none of the model's outputs has the 2 numbers"), "{wide}");
        for (text, expect) in [
            (
                r#"[{"type": "float", "name": "z"}, {"type": "float", "name": "x"}]"#,
                "has 2 columns and the model's input `x` takes 1",
            ),
            (
                r#"[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]"#,
                "the shape [None, Some(3)]",
            ),
        ] {
            let signature = columns(text);
            let got = check(|bundle| bundle.signature = signature).unwrap_err();
            assert!(got.contains(expect), "{got}");
        }
    }
}
