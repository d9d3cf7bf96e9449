//! Asking exported models again: parity with the trainer, the cost against the champion, and what other tests ask.

use std::path::Path;

use arrow::array::RecordBatch;
use tidemill_serve::gateway::folder::FolderSource;
use tidemill_serve::gateway::model::verify;
use tidemill_serve::gateway::settings::ServingSettings;
use tidemill_serve::gateway::source::{ModelBundle, ModelFiles, ModelSource as _};
use tidemill_train::fit::{compare_costs, with_answers};

use super::made;
use super::rescore::{self, Answers, Model};
use super::rivals::Rival;
use super::settle::{Found, Unusable, settled};
use super::{Case, Judged, TestResult};
use crate::app::App;
use crate::output::{number, plural};
use crate::serving::{Places, registered, runtimes};
use crate::step::train::file;

/// The answers of two models to the same rows.
#[derive(Clone)]
pub(super) struct Both {
    pub(super) new: RecordBatch,
    pub(super) old: RecordBatch,
}

/// Loads a model as the gateway does, golden rows included; one of Python, which takes an environment of its own, where that is meant.
pub(super) fn load(app: &App<'_>, bundle: &ModelBundle, any: bool) -> Result<Model, String> {
    if !any && matches!(bundle.files, ModelFiles::Folder(_)) {
        return Err("it is no ONNX model".to_owned());
    }
    let loader = runtimes(Places {
        python: None,
        onnxruntime: std::env::var_os("TIDEMILL_ONNXRUNTIME").map(Into::into),
        environments: app.inside("environments"),
        call_timeout: None,
    });
    let (session, plan) = verify(bundle, &loader)?;
    Ok(Model { session, plan })
}

/// A model's folder as it lies there.
pub(super) fn of_folder(app: &App<'_>, folder: &Path) -> Result<ModelBundle, String> {
    let models = [("model".to_owned(), folder.to_owned())].into();
    let source = FolderSource::new(models, ServingSettings::default());
    app.block(source.fetch("model", "1")).map_err(|error| error.to_string())
}

impl Judged {
    /// The rows that the predictions are about. Reading them takes the whole table, so tests share them.
    pub(super) fn held_out(&self, case: &Case<'_>) -> anyhow::Result<&RecordBatch> {
        if let Some(rows) = self.held_out.get() {
            return Ok(rows);
        }
        let rows = rescore::held_out(case.app, case.step, case.training, &self.predictions)?;
        Ok(self.held_out.get_or_init(|| rows))
    }

    /// The exported model.
    ///
    /// # Errors
    /// [`Unusable`] where it cannot be loaded.
    pub(super) fn exported(&self, case: &Case<'_>) -> anyhow::Result<&Model> {
        if let Some(model) = self.exported.get() {
            return Ok(model);
        }
        let model = of_folder(case.app, case.folder).and_then(|bundle| load(case.app, &bundle, false));
        let model = model.map_err(|why| Unusable(format!("the exported model cannot be used: {why}")))?;
        Ok(self.exported.get_or_init(|| model))
    }

    /// Numbers of an answer: one, or one a class.
    pub(super) fn width(&self) -> anyhow::Result<usize> {
        let decision: serde_json::Value = serde_json::from_str(&self.decision)?;
        Ok(decision.get("classes").and_then(serde_json::Value::as_array).map_or(1, |all| all.len().max(1)))
    }

    /// What the exported model answers to rows.
    ///
    /// # Errors
    /// [`Unusable`] where it does not.
    pub(super) fn answers_to(&self, case: &Case<'_>, rows: &RecordBatch) -> anyhow::Result<Answers> {
        let model = self.exported(case)?;
        let answers = match self.shape {
            Some(shape) => shape.ask(model, rows),
            None => model.answers(rows, self.width()?),
        };
        Ok(answers.map_err(|why| Unusable(format!("the exported model: {why}")))?)
    }

    /// What the exported model answers to the held-out rows.
    pub(super) fn answers(&self, case: &Case<'_>) -> anyhow::Result<&Answers> {
        if let Some(answers) = self.answers.get() {
            return Ok(answers);
        }
        let answers = self.answers_to(case, self.held_out(case)?)?;
        Ok(self.answers.get_or_init(|| answers))
    }

    /// The exported model's answers to every held-out row against those of the trainer.
    pub(super) fn parity(&self, case: &Case<'_>, max_abs: f64) -> anyhow::Result<TestResult> {
        let test = format!("parity within {}", number(max_abs));
        settled(test, self.difference(case, max_abs))
    }

    fn difference(&self, case: &Case<'_>, max_abs: f64) -> anyhow::Result<Found> {
        let got = self.answers(case)?;
        let expected = rescore::trained(&self.predictions)?;
        let (mut worst, mut compared) = ((0.0_f64, 0_usize), 0_u64);
        for (row, (expected, got)) in expected.iter().zip(got).enumerate() {
            let Some(got) = got else { continue };
            compared += 1;
            for (expected, got) in expected.iter().zip(got) {
                // Two that are both not a number are the same answer.
                let gap = if expected.is_nan() && got.is_nan() { 0.0 } else { (expected - got).abs() };
                if gap > worst.0 || gap.is_nan() {
                    worst = (if gap.is_nan() { f64::INFINITY } else { gap }, row);
                }
            }
        }
        if compared == 0 {
            return Ok(Found::open("there is no held-out row that the exported model takes"));
        }
        let skipped = got.len() as u64 - compared;
        let skipped = match skipped {
            0 => String::new(),
            rows => format!("; {} with values missing that ONNX has no form for", plural(rows, "row")),
        };
        let message = format!(
            "largest difference {} (held-out row {}) on {} by the {} runtime{skipped}",
            number(worst.0),
            worst.1 + 1,
            plural(compared, "row"),
            self.exported(case)?.session.runtime(),
        );
        Ok(Found::new(worst.0 <= max_abs, message).figure("largest_difference", worst.0))
    }

    /// The cost of this model's decisions against the champion's on the same held-out rows.
    pub(super) fn against_champion(
        &self,
        case: &Case<'_>,
        max_regression: f64,
    ) -> anyhow::Result<TestResult> {
        let test = format!("cost: at most {} above the champion", number(max_regression));
        settled(test, self.no_dearer(case, max_regression))
    }

    fn no_dearer(&self, case: &Case<'_>, max_regression: f64) -> anyhow::Result<Found> {
        let champion = match case.rivals.champion() {
            Ok(champion) => champion,
            Err(why) => return Ok(Found::waiting(why)),
        };
        let Some(costs) = case.training.costs.as_ref().filter(|_| self.decides) else {
            return Ok(Found::open("the objective declares no costs of decisions"));
        };
        let both = match self.beside(case, champion)? {
            Ok(both) => both,
            Err(why) => return Ok(Found::open(why)),
        };
        let paired = compare_costs(&both.new, &both.old, costs, case.training.seed)?;
        let unit = costs.currency.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        // The whole interval must be within the margin: "no evidence" is not a pass.
        let margin = max_regression * paired.old;
        let good = paired.upper <= margin;
        let words = if paired.lower == 0.0 && paired.upper == 0.0 {
            "the same"
        } else if paired.upper < 0.0 {
            "cheaper"
        } else if good {
            "no dearer"
        } else if paired.lower > margin {
            "dearer"
        } else {
            "no evidence that it is no dearer"
        };
        let message = format!(
            "{words}: {} against {}{unit} per decision of {}, difference {} ({} to {})",
            number(paired.new),
            number(paired.old),
            champion.name(),
            number(paired.difference),
            number(paired.lower),
            number(paired.upper)
        );
        Ok(Found::new(good, message)
            .figure("new", paired.new)
            .figure("old", paired.old)
            .figure("difference", paired.difference)
            .figure("difference_low", paired.lower)
            .figure("difference_high", paired.upper))
    }

    /// What this model and another version say of the held-out rows, both in their exported form and each decided by
    /// its own threshold; or why they cannot be compared.
    /// Several tests ask for the champion, and for older versions by several metrics, so they share what each answered.
    pub(super) fn beside(&self, case: &Case<'_>, other: &Rival) -> anyhow::Result<Result<Both, String>> {
        if let Some(both) = self.others.borrow().get(&other.version) {
            return Ok(both.clone());
        }
        let rows = self.held_out(case)?;
        let own = self.answers(case)?;
        let both = self.both(case, other, rows, own).map_err(|why| {
            let which = if case.rivals.is_champion(other) { "the champion " } else { "" };
            format!("{which}{} cannot be compared: {why}", other.name())
        });
        self.others.borrow_mut().insert(other.version, both.clone());
        Ok(both)
    }

    fn both(
        &self,
        case: &Case<'_>,
        other: &Rival,
        rows: &RecordBatch,
        own: &Answers,
    ) -> anyhow::Result<Both> {
        let said = |why: String| anyhow::anyhow!(why);
        let app = case.app;
        let source = registered(app, "champion")?;
        let version = other.version.to_string();
        let bundle =
            app.block(source.fetch(&other.model, &version)).map_err(|error| said(error.to_string()))?;
        let decision = app.block(source.file(&other.model, &version, file::DECISION));
        let decision = decision.map_err(|error| said(error.to_string()))?;
        let ours: serde_json::Value = serde_json::from_str(&self.decision)?;
        // A command's model comes without its decisions, and is asked as the one that is tested.
        let shape = self.shape.filter(|_| decision.is_none());
        let theirs: serde_json::Value = match (decision, shape) {
            (Some(decision), _) => serde_json::from_slice(&decision)?,
            (None, Some(_)) => ours.clone(),
            (None, None) => {
                return Err(said(format!("it has no `{}`, so it was not trained here", file::DECISION)));
            }
        };
        anyhow::ensure!(ours.get("classes") == theirs.get("classes"), "it has other classes");
        let all = |answers: Answers| -> anyhow::Result<Vec<Vec<f64>>> {
            let all: Option<Vec<Vec<f64>>> = answers.into_iter().collect();
            all.ok_or_else(|| said("a model does not take every held-out row".to_owned()))
        };
        let answers = match shape {
            Some(shape) => made::open(case, &bundle, rows).and_then(|model| shape.ask(&model, rows)),
            None => {
                load(app, &bundle, false).and_then(|model| model.answers(rows, self.width().unwrap_or(1)))
            }
        };
        let answers = answers.map_err(said)?;
        let threshold = theirs.get("threshold").and_then(serde_json::Value::as_f64);
        Ok(Both {
            new: with_answers(&self.predictions, &all(own.clone())?, None)?,
            old: with_answers(&self.predictions, &all(answers)?, threshold)?,
        })
    }
}
