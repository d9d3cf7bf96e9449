//! A model that a command made, on the rows that the project declares: asked as it is served, judged as a training's is.

use std::cell::{OnceCell, RefCell};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tidemill_serve::gateway::plan::Plan;
use tidemill_serve::gateway::signature::{Field, Signature};
use tidemill_serve::gateway::source::ModelBundle;
use tidemill_train::fit::{HeldOut, PREDICTIONS_KEY};

use super::judged::{load, of_folder};
use super::rescore::{Answers, Model};
use super::settle::Unusable;
use super::{Case, Judged};
use crate::output::plural;

/// Where an answer counts as positive if nothing is declared.
pub(crate) const THRESHOLD: f64 = 0.5;
/// How far sums and ends of probabilities may be off: models answer with 32-bit numbers.
const ROUNDING: f64 = 1e-4;

/// What tests know of such a model.
pub(super) struct Made {
    threshold: f64,
    /// Its inputs by name, once it is loaded.
    pub(super) inputs: OnceCell<Vec<String>>,
}

impl Made {
    pub(super) fn new(threshold: Option<f64>) -> Self {
        Self { threshold: threshold.unwrap_or(THRESHOLD), inputs: OnceCell::new() }
    }
}

/// How such models answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Classes; none for regression.
    classes: usize,
    /// Whether probabilities come with the positive class first: in the sorted order of the classes.
    is_turned: bool,
}

impl Shape {
    /// Answers with one number a class, the positive one of two last. One number alone is the probability of the positive class.
    pub(super) fn ask(self, model: &Model, rows: &RecordBatch) -> Result<Answers, String> {
        let answers = match model.answers(rows, self.classes.max(1)) {
            Err(why) if self.classes == 2 => {
                let mut answers = model.answers(rows, 1).map_err(|_| {
                    format!(
                        "{why}; a model of two classes gives a probability for each of them, or one alone"
                    )
                })?;
                for answer in answers.iter_mut().flatten() {
                    answer.insert(0, 1.0 - answer[0]);
                }
                answers
            }
            Err(why) => return Err(why),
            Ok(mut answers) => {
                if self.is_turned {
                    answers.iter_mut().flatten().for_each(|answer| answer.reverse());
                }
                answers
            }
        };
        self.check(&answers)?;
        Ok(answers)
    }

    /// That answers are what metrics can be taken of.
    fn check(self, answers: &Answers) -> Result<(), String> {
        for (row, answer) in answers.iter().enumerate() {
            let Some(answer) = answer else { continue };
            let row = row + 1;
            if answer.iter().any(|number| !number.is_finite()) {
                return Err(format!("it answers held-out row {row} with what is no number"));
            }
            let is_share = |number: &f64| (-ROUNDING..=1.0 + ROUNDING).contains(number);
            if self.classes > 0 && !answer.iter().all(is_share) {
                return Err(format!(
                    "it answers held-out row {row} with a number outside of 0 to 1, and tests of classes need probabilities: export \
                     them instead of scores or labels"
                ));
            }
        }
        Ok(())
    }
}

/// Loads the model, asks it about the declared rows and measures its answers.
///
/// # Errors
/// [`Unusable`] or an error of the trainer's crate where model and rows cannot be judged; others where they cannot be read.
pub(super) fn read(case: &Case<'_>, made: &Made) -> anyhow::Result<Judged> {
    let batches = case.table()?;
    let held = HeldOut::read(&batches, case.training)?;
    let Some(first) = batches.first() else { return Err(Unusable("there are no rows".to_owned()).into()) };
    let rows = concat_batches(&first.schema(), &batches)?;
    let shape = Shape { classes: held.classes(), is_turned: held.is_turned() };
    let unusable = |why: String| Unusable(format!("the exported model cannot be used: {why}"));
    let model = of_folder(case.app, case.folder).and_then(|bundle| open(case, &bundle, &rows));
    let model = model.map_err(unusable)?;
    let inputs = model.plan.inputs.iter().map(|input| input.name.clone()).collect();
    // It is set once, here.
    let _ = made.inputs.set(inputs);
    let answers = shape.ask(&model, &rows).map_err(unusable)?;
    let known: Vec<Vec<f64>> = answers.iter().flatten().cloned().collect();
    if known.len() < answers.len() {
        let refused = plural((answers.len() - known.len()) as u64, "held-out row");
        let why = format!("the exported model refuses {refused}: a value is missing that it has no form for");
        return Err(Unusable(why).into());
    }
    let found = held.evaluate(&known, made.threshold)?;
    let schema = found.predictions.schema();
    let decision = schema.metadata().get(PREDICTIONS_KEY).cloned().unwrap_or_default();
    let task =
        case.training.task.as_ref().ok_or_else(|| anyhow::anyhow!("nothing says what is predicted"))?;
    Ok(Judged {
        metrics: found.metrics,
        task: task.kind,
        target: task.target.clone(),
        decides: shape.classes == 2,
        shape: Some(shape),
        predictions: found.predictions,
        decision,
        held_out: OnceCell::from(rows),
        exported: OnceCell::from(model),
        answers: OnceCell::from(answers),
        others: RefCell::default(),
    })
}

/// Loads a model as it is served. One that takes a single matrix and does not say of which columns takes those of the rows, in their order.
pub(super) fn open(case: &Case<'_>, bundle: &ModelBundle, rows: &RecordBatch) -> Result<Model, String> {
    let mut model = load(case.app, bundle, true)?;
    let [input] = model.plan.inputs.as_slice() else { return Ok(model) };
    if bundle.signature.is_some() || rows.column_by_name(&input.name).is_some() {
        return Ok(model);
    }
    let target = case.training.task.as_ref().map(|task| task.target.as_str());
    let no_input = |name: &str| Some(name) == target || Some(name) == case.training.weight.as_deref();
    let fields = rows
        .schema()
        .fields()
        .iter()
        .filter(|field| !no_input(field.name()))
        .map(|field| Field {
            name: Some(field.name().clone()),
            element: None,
            shape: None,
            is_required: true,
            is_nullable: false,
            categories: Vec::new(),
            range: None,
        })
        .collect();
    let signature = Signature { inputs: fields, outputs: Vec::new() };
    model.plan = Plan::new(&*model.session, Some(&signature)).map_err(|why| {
        format!("{why}; it does not say which columns it takes, so it is given all of the held-out rows but target and weight")
    })?;
    Ok(model)
}
